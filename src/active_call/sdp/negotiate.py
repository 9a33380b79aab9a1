"""Offer and answer for one audio stream (RFC 3264).

Codecs are in `codecs`, keys in `crypto`, what the peer says in `remote`; here the two sides meet.
"""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, TypeAlias

from active_call.core.errors import RemoteProtocolError
from active_call.lanes.messages import RtpFormat, SrtpKeys, SrtpSuite
from active_call.sdp.codecs import (
    ACCEPTED_UNNAMED,
    fmtp_of,
    formats_to_offer,
    is_audio,
    name_of,
    ptimes_ms,
    rtpmap_of,
)
from active_call.sdp.crypto import CryptoLine, attributes, crypto_value, fresh_keys
from active_call.sdp.remote import NoCommonCodec, RemoteAudio, pick_audio
from active_call.sdp.session import Attribute, Media, Origin, SessionDescription

__all__ = ["LocalMedia", "Negotiated", "NoCommonCodec", "Srtp", "accept_answer", "answer_offer", "make_offer"]

Srtp: TypeAlias = bool | Literal["require"]
"""Whether we offer encrypted audio, and whether we take no other."""

_MIRRORED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
_HOLDING = {"sendrecv": "sendonly", "recvonly": "inactive"}


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
    """Of the description: to be raised with each different one."""
    ptime_ms: int = 20
    hold: bool = False
    """Ask the peer to be quiet."""
    srtp: Srtp = False
    keys: dict[SrtpSuite, bytes] = field(default_factory=fresh_keys, repr=False, compare=False)
    """What we encrypt with, whichever suite is chosen; the same for the life of the session."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both sides agreed on."""

    sends: RtpFormat
    """How we code our audio, with the peer's payload type."""
    receives: tuple[RtpFormat, ...]
    """All that the peer may send, with our payload types."""
    sends_events: RtpFormat | None
    """Telephone-event for our keys, with the peer's payload type."""
    remote: tuple[str, int] | None
    """Where the peer wants RTP; None for the address 0.0.0.0, and for one that we can't reach."""
    remote_rtcp: tuple[str, int] | None
    rtcp_mux: bool
    ptime_ms: int
    """Of the packets that we send."""
    sending: bool
    """Whether we may send."""
    receiving: bool
    """Whether the peer may send."""
    held: bool
    """Whether the peer put us on hold."""
    srtp: SrtpKeys | None
    profile: str
    """`RTP/AVP` and the like."""
    layout: tuple[Media | None, ...]
    """All media of the session in order, refused but for one: None is our audio (RFC 3264 §8)."""

    @property
    def codec(self) -> str:
        """The key of CODECS that we send."""
        return name_of(self.sends)


def make_offer(local: LocalMedia, before: Negotiated | None = None) -> bytes:
    """A description that offers `local`'s codecs in its order; `before` is what the session has agreed on."""
    formats = formats_to_offer(local.codecs, dtmf=local.dtmf, before=before.receives if before else ())
    keys: Iterable[str] = ()
    if _offers_keys(local, before):
        keys = attributes(local.keys, before.srtp.suite if before and before.srtp else None)
    audio = _audio(
        local,
        formats,
        "sendonly" if local.hold else "sendrecv",
        profile=before.profile if before else ("RTP/SAVP" if local.srtp else "RTP/AVP"),
        ptime_ms=min((local.ptime_ms, *(ptimes_ms(one)[-1] for one in formats if is_audio(one)))),
        rtcp_mux=True,
        crypto=keys,
    )
    return _describe(local, before.layout if before else (None,), audio)


def answer_offer(offer: bytes, local: LocalMedia, before: Negotiated | None = None) -> tuple[bytes, Negotiated]:
    """Our answer to `offer`, and what it means; `before` is what the session has agreed on.

    The answer names all common codecs in the offer's order; we send the first of ours. Media other than one
    audio stream are refused in it. Raises NoCommonCodec (488), or RemoteProtocolError: 400 for a malformed
    offer, 488 for one that can't be taken for another reason.
    """
    session = SessionDescription.parse(offer)
    names = (*local.codecs, *(name for name in ACCEPTED_UNNAMED if name not in local.codecs))
    theirs = pick_audio(
        session, local.codecs, local.address, also=ACCEPTED_UNNAMED, plain=_why_not_plain(local, before)
    )
    common = theirs.audio(names)
    sends = _first(names, common)
    extra = _keys_and_noise(theirs, common, dtmf=local.dtmf)
    formats = tuple(one for one in theirs.formats if one in common or one in extra)
    direction = _MIRRORED[theirs.direction]
    if local.hold:
        direction = _HOLDING.get(direction, direction)
    line = theirs.first_key()
    negotiated = _negotiated(
        theirs,
        sends,
        receives=formats,
        events=[one for one in extra if one.codec == "telephone-event"],
        direction=direction,
        local=local,
        srtp=_srtp(local, line),
        layout=tuple(None if one is theirs.media else _refused(one) for one in session.media),
    )
    audio = _audio(
        local,
        formats,
        direction,
        profile=theirs.media.profile,
        ptime_ms=negotiated.ptime_ms,
        rtcp_mux=theirs.rtcp_mux,
        crypto=[crypto_value(line.tag, line.suite, local.keys[line.suite])] if line else (),
    )
    return _describe(local, negotiated.layout, audio, timing=session.timing), negotiated


def accept_answer(answer: bytes, local: LocalMedia, before: Negotiated | None = None) -> Negotiated:
    """What the peer's `answer` to `make_offer(local, before)` means: we send the first of our codecs it took.

    Raises NoCommonCodec (488), or RemoteProtocolError: 400 for a malformed answer, 488 for one that can't be
    taken for another reason.
    """
    session = SessionDescription.parse(answer)
    ours = formats_to_offer(local.codecs, dtmf=local.dtmf, before=before.receives if before else ())
    encrypts = _offers_keys(local, before)
    theirs = pick_audio(session, local.codecs, local.address, ours=ours)
    if encrypts and not theirs.crypto:
        raise RemoteProtocolError(
            f"encryption was offered, and {theirs.media.profile} answered without a key", 488
        )
    if theirs.encrypted and not encrypts:
        raise RemoteProtocolError(f"{theirs.media.profile} was answered, and plain RTP offered", 488)
    offered = {(one.codec, one.clock_hz) for one in ours}
    taken = [one for one in theirs.formats if (one.codec, one.clock_hz) in offered]
    audio = [one for one in taken if is_audio(one)]
    if not audio:
        raise NoCommonCodec(theirs.named, [rtpmap_of(one) for one in ours if is_audio(one)])
    kinds = {(one.codec, one.clock_hz) for one in taken}
    receives = [one for one in ours if (one.codec, one.clock_hz) in kinds]
    numbers = {one.payload_type for one in ours}
    # It should send with our numbers (RFC 3264 §5.1); those who use their own are understood all the same.
    receives += [one for one in taken if one.payload_type not in numbers]
    line = theirs.first_key() if encrypts else None
    direction = _MIRRORED[theirs.direction]
    if local.hold:
        direction = _HOLDING.get(direction, direction)
    return _negotiated(
        theirs,
        _first(local.codecs, audio),
        receives=tuple(receives),
        events=[one for one in taken if one.codec == "telephone-event"],
        direction=direction,
        local=local,
        srtp=_srtp(local, line),
        layout=before.layout if before else (None,),
    )


def _srtp(local: LocalMedia, line: CryptoLine | None) -> SrtpKeys | None:
    if line is None:
        return None
    return SrtpKeys(line.suite, local.keys[line.suite], line.key, receive_mki=line.mki_bytes)


def _offers_keys(local: LocalMedia, before: Negotiated | None) -> bool:
    """A session stays as encrypted as it is."""
    return before.srtp is not None if before else bool(local.srtp)


def _why_not_plain(local: LocalMedia, before: Negotiated | None) -> str:
    """Why audio that isn't encrypted can't be offered to us; nothing: it can.

    What began encrypted stays so: whoever gets between the two of us would ask for plain RTP first.
    """
    if local.srtp == "require":
        return "encryption is required here (enable_srtp = require)"
    if local.srtp and before is not None and before.srtp is not None:
        return "the audio of this call must stay encrypted"
    return ""


def _first(names: Iterable[str], formats: list[RtpFormat]) -> RtpFormat:
    """The first of our codecs that is among `formats`, which is never empty."""
    by_name = {name_of(one): one for one in reversed(formats)}
    return next(by_name[name] for name in names if name in by_name)


def _keys_and_noise(theirs: RemoteAudio, audio: list[RtpFormat], *, dtmf: bool) -> list[RtpFormat]:
    """Telephone-event and comfort noise with the clock of some codec; the first event of all if none has."""
    clocks = {one.clock_hz for one in audio}
    events = [one for one in theirs.formats if one.codec == "telephone-event"] if dtmf else []
    fitting = [one for one in events if one.clock_hz in clocks] or events[:1]
    return fitting + [one for one in theirs.formats if one.codec == "cn" and one.clock_hz in clocks]


def _negotiated(
    theirs: RemoteAudio,
    sends: RtpFormat,
    *,
    receives: tuple[RtpFormat, ...],
    events: list[RtpFormat],
    direction: str,
    local: LocalMedia,
    srtp: SrtpKeys | None,
    layout: tuple[Media | None, ...],
) -> Negotiated:
    """The outcome; `direction` is ours."""
    fitting = (one for one in events if one.clock_hz == sends.clock_hz)
    return Negotiated(
        sends=sends,
        receives=receives,
        sends_events=next(fitting, events[0] if events else None),
        remote=theirs.rtp,
        remote_rtcp=theirs.rtp if theirs.rtcp_mux else theirs.rtcp,
        rtcp_mux=theirs.rtcp_mux,
        ptime_ms=theirs.ptime_ms(local.ptime_ms, sends),
        sending=direction in ("sendrecv", "sendonly") and not theirs.parked,
        receiving=direction in ("sendrecv", "recvonly"),
        held=theirs.on_hold,
        srtp=srtp,
        profile=theirs.media.profile,
        layout=layout,
    )


def _describe(
    local: LocalMedia, layout: tuple[Media | None, ...], audio: Media, *, timing: str = "0 0"
) -> bytes:
    """The description; the `timing` of an answer is that of the offer (RFC 3264 §6)."""
    origin = Origin("-", str(local.session_id), str(local.version), local.address)
    media = tuple(audio if one is None else one for one in layout)
    return bytes(SessionDescription(origin, media, local.address, timing=timing))


def _audio(
    local: LocalMedia,
    formats: Iterable[RtpFormat],
    direction: str,
    *,
    profile: str,
    ptime_ms: int,
    rtcp_mux: bool,
    crypto: Iterable[str],
) -> Media:
    listed = tuple(formats)
    said: list[Attribute] = []
    for one in listed:
        said.append(Attribute("rtpmap", f"{one.payload_type} {rtpmap_of(one)}"))
        fmtp = fmtp_of(one)
        if fmtp is not None:
            said.append(Attribute("fmtp", f"{one.payload_type} {fmtp}"))
    said += [Attribute("crypto", value) for value in crypto]
    if rtcp_mux:
        said.append(Attribute("rtcp-mux"))
    said += [Attribute("ptime", str(ptime_ms)), Attribute(direction)]
    return Media(
        "audio", local.port, profile, tuple(str(one.payload_type) for one in listed), attributes=tuple(said)
    )


def _refused(media: Media) -> Media:
    return Media(media.kind, 0, media.profile, media.formats or ("0",))
