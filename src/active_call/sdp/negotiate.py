"""Offer and answer for one audio stream (RFC 3264)."""

import ipaddress
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass

from active_call.core.errors import RemoteProtocolError
from active_call.sdp.session import Attribute, Media, Origin, SessionDescription

_PROFILES = ("RTP/AVP", "RTP/AVPF")
_PTIMES_MS = (10, 20, 30, 40, 60)
_HELD_ADDRESSES = ("0.0.0.0", "::")
_DTMF_PAYLOAD_TYPE = 101
_DTMF_EVENTS = "0-15"
_MIRRORED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


@dataclass(frozen=True, slots=True)
class Codec:
    """How a codec is called in SDP (RFC 3551)."""

    encoding: str
    clock_hz: int
    payload_type: int
    channels: int = 1

    @property
    def rtpmap(self) -> str:
        """`PCMU/8000`."""
        return f"{self.encoding}/{self.clock_hz}" + (f"/{self.channels}" if self.channels > 1 else "")


CODECS = {
    "pcmu": Codec("PCMU", 8000, 0),
    "pcma": Codec("PCMA", 8000, 8),
    "g722": Codec("G722", 8000, 9),
    "opus": Codec("opus", 48000, 111, 2),
}
"""All codecs that can be named in `LocalMedia.codecs`, with the payload types that we offer."""

_STATIC = {
    "0": "PCMU/8000",
    "3": "GSM/8000",
    "4": "G723/8000",
    "8": "PCMA/8000",
    "9": "G722/8000",
    "10": "L16/44100/2",
    "11": "L16/44100",
    "13": "CN/8000",
    "15": "G728/8000",
    "18": "G729/8000",
}
"""Payload types that need no rtpmap (RFC 3551 §6)."""


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """Our side of the stream."""

    address: str
    port: int
    codecs: tuple[str, ...]
    """Keys of CODECS, the best first."""
    _: KW_ONLY
    dtmf: bool = True
    """Whether we take telephone-event (RFC 4733)."""
    session_id: int
    version: int = 1
    """Of the description: to be raised with each new one."""
    ptime_ms: int = 20


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both sides agreed on."""

    codec: str
    """A key of CODECS."""
    payload_type: int
    """For both directions."""
    dtmf_payload_type: int | None
    remote: tuple[str, int] | None
    """Where the peer wants RTP; None while it is on hold with the address 0.0.0.0."""
    remote_rtcp: tuple[str, int] | None
    ptime_ms: int
    """Of the packets that we send."""
    sending: bool
    """Whether we may send."""
    receiving: bool
    """Whether the peer may send."""
    held: bool
    """Whether the peer put us on hold."""


class NoCommonCodec(RemoteProtocolError):
    """Nothing that both sides can do; the text says what each wanted."""

    def __init__(self, theirs: Iterable[str], ours: Iterable[str]) -> None:
        super().__init__(
            f"no common codec; theirs: {', '.join(theirs) or 'none'}; ours: {', '.join(ours) or 'none'}", 488
        )


def make_offer(local: LocalMedia) -> bytes:
    """A description that offers `local`'s codecs in its order."""
    formats = [(str(CODECS[name].payload_type), CODECS[name].rtpmap) for name in local.codecs]
    dtmf = None
    if local.dtmf and formats:
        clock = CODECS[local.codecs[0]].clock_hz
        dtmf = (str(_DTMF_PAYLOAD_TYPE), f"telephone-event/{clock}")
    return bytes(_describe(local, (_audio(local, formats, dtmf, local.ptime_ms, "sendrecv"),)))


def answer_offer(offer: bytes, local: LocalMedia, *, hold: bool = False) -> tuple[bytes, Negotiated]:
    """Our answer to `offer`, and what it means. `hold` asks the peer to be quiet.

    The answer names one codec, the offer's first that we have: the peer may send whatever is named. Media other
    than one audio stream are refused in it. Raises NoCommonCodec (488), or RemoteProtocolError: 400 for a
    malformed offer, 488 for one without an IP address.
    """
    session = SessionDescription.parse(offer)
    stream = _pick(session, local.codecs)
    formats, dtmf = stream.common(local)
    chosen = formats[0]
    direction = _MIRRORED[stream.direction]
    if hold:
        direction = {"sendrecv": "sendonly", "recvonly": "inactive"}.get(direction, direction)
    negotiated = stream.negotiated(chosen, dtmf, direction, local.ptime_ms)
    audio = _audio(
        local,
        [(chosen[0], stream.rtpmap(chosen[0]))],
        (dtmf, stream.rtpmap(dtmf)) if dtmf is not None else None,
        negotiated.ptime_ms,
        direction,
        profile=stream.media.profile,
    )
    media = tuple(audio if one is stream.media else _refused(one) for one in session.media)
    return bytes(_describe(local, media)), negotiated


def accept_answer(answer: bytes, local: LocalMedia) -> Negotiated:
    """What the peer's `answer` to our offer means: the first of our codecs that it took.

    Raises NoCommonCodec (488), or RemoteProtocolError: 400 for a malformed answer, 488 without an IP address.
    """
    session = SessionDescription.parse(answer)
    stream = _pick(session, local.codecs)
    formats, dtmf = stream.common(local)
    by_name = {name: payload_type for payload_type, name in reversed(formats)}
    name = next(name for name in local.codecs if name in by_name)
    return stream.negotiated((by_name[name], name), dtmf, _MIRRORED[stream.direction], local.ptime_ms)


class _Stream:
    """The peer's audio stream."""

    def __init__(self, session: SessionDescription, media: Media) -> None:
        self.media = media
        self.address = session.address_of(media)
        self.direction = session.direction_of(media)
        self._maps = dict(_STATIC)
        for value in media.values("rtpmap"):
            payload_type, _, encoding = value.partition(" ")
            self._maps[payload_type] = encoding.strip()

    def rtpmap(self, payload_type: str) -> str:
        """`PCMU/8000`, empty if the peer never said."""
        return self._maps.get(payload_type, "")

    def codecs(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Payload type and our name of each format that is one of `names`, in the peer's order."""
        known = {_normal(CODECS[name].rtpmap): name for name in names}
        found = (
            (one, known.get(_normal(self.rtpmap(one)))) for one in self.media.formats if _is_payload_type(one)
        )
        return [(payload_type, name) for payload_type, name in found if name is not None]

    def common(self, local: LocalMedia) -> tuple[list[tuple[str, str]], str | None]:
        """The common codecs, and the payload type of telephone-event, best with the first one's clock."""
        formats = self.codecs(local.codecs)
        events = [
            one
            for one in self.media.formats
            if _is_payload_type(one) and self.rtpmap(one).lower().startswith("telephone-event/")
        ]
        if not local.dtmf or not events:
            return formats, None
        wanted = f"telephone-event/{CODECS[formats[0][1]].clock_hz}"
        return formats, next((one for one in events if _normal(self.rtpmap(one)) == wanted), events[0])

    def negotiated(
        self, chosen: tuple[str, str], dtmf: str | None, direction: str, ptime_ms: int
    ) -> Negotiated:
        """The outcome; `direction` is ours."""
        off = self.address is None or self.address in _HELD_ADDRESSES
        remote = None if off or self.address is None else (self.address, self.media.port)
        return Negotiated(
            codec=chosen[1],
            payload_type=int(chosen[0]),
            dtmf_payload_type=int(dtmf) if dtmf is not None else None,
            remote=remote,
            remote_rtcp=self._rtcp(remote),
            ptime_ms=self._ptime_ms(ptime_ms),
            sending=direction in ("sendrecv", "sendonly") and not off,
            receiving=direction in ("sendrecv", "recvonly"),
            held=off or self.direction in ("sendonly", "inactive"),
        )

    def _rtcp(self, remote: tuple[str, int] | None) -> tuple[str, int] | None:
        """From a=rtcp (RFC 3605), else the port above RTP's."""
        if remote is None:
            return None
        fields = (self.media.attribute("rtcp") or "").split()
        if fields and _is_number(fields[0]) and 0 < int(fields[0]) < 65536:
            return (fields[3] if len(fields) == 4 and _is_ip(fields[3]) else remote[0], int(fields[0]))
        return (remote[0], remote[1] + 1) if remote[1] < 65535 else None

    def _ptime_ms(self, default: int) -> int:
        wanted = self._milliseconds("ptime") or default
        longest = self._milliseconds("maxptime") or _PTIMES_MS[-1]
        return max((one for one in _PTIMES_MS if one <= min(wanted, longest)), default=default)

    def _milliseconds(self, name: str) -> int:
        text = (self.media.attribute(name) or "").partition(".")[0]
        return int(text) if _is_number(text) else 0


def _pick(session: SessionDescription, names: tuple[str, ...]) -> _Stream:
    """The first audio stream that we can take. Raises NoCommonCodec."""
    theirs: list[str] = []
    for media in session.media:
        if media.kind != "audio" or media.port == 0:
            theirs.append(f"{media.kind} (refused)" if media.port == 0 else media.kind)
            continue
        if media.profile.upper() not in _PROFILES:
            theirs.append(f"audio over {media.profile}")
            continue
        stream = _Stream(session, media)
        if stream.codecs(names):
            if stream.address is None:
                raise RemoteProtocolError("SDP has no c= line for its audio", 488)
            if not _is_ip(stream.address):
                # The media plane sends to it each 20 ms, and must never wait for a name server.
                raise RemoteProtocolError(f'"{stream.address[:40]}" in SDP is no IP address', 488)
            return stream
        theirs += [stream.rtpmap(one) or f"payload type {one}" for one in media.formats]
    raise NoCommonCodec(theirs, (CODECS[name].rtpmap for name in names))


def _describe(local: LocalMedia, media: tuple[Media, ...]) -> SessionDescription:
    origin = Origin("-", str(local.session_id), str(local.version), local.address)
    return SessionDescription(origin, media, local.address)


def _audio(
    local: LocalMedia,
    formats: list[tuple[str, str]],
    dtmf: tuple[str, str] | None,
    ptime_ms: int,
    direction: str,
    *,
    profile: str = "RTP/AVP",
) -> Media:
    listed = [*formats, dtmf] if dtmf is not None else formats
    attributes = [Attribute("rtpmap", f"{payload_type} {rtpmap}") for payload_type, rtpmap in listed]
    if dtmf is not None:
        attributes.append(Attribute("fmtp", f"{dtmf[0]} {_DTMF_EVENTS}"))
    attributes += [Attribute("ptime", str(ptime_ms)), Attribute(direction)]
    return Media("audio", local.port, profile, tuple(one for one, _ in listed), attributes=tuple(attributes))


def _refused(media: Media) -> Media:
    return Media(media.kind, 0, media.profile, media.formats)


def _normal(rtpmap: str) -> str:
    """For comparison: encodings in any case, one channel unsaid."""
    return rtpmap.strip().lower().removesuffix("/1")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6


def _is_payload_type(text: str) -> bool:
    return _is_number(text) and int(text) < 128
