"""The audio stream that a peer describes, read with what we could do with it in mind."""

import ipaddress
from collections.abc import Collection, Iterable

from active_call.core.digits import is_number
from active_call.core.errors import RemoteProtocolError
from active_call.lanes.messages import RtpFormat
from active_call.sdp.codecs import CODECS, STATIC, format_of, is_audio, name_of, ptimes_ms, rtpmap_of
from active_call.sdp.crypto import CryptoLine, usable_lines
from active_call.sdp.session import Media, SessionDescription

_PLAIN = ("RTP/AVP", "RTP/AVPF")
_ENCRYPTED = ("RTP/SAVP", "RTP/SAVPF")
_HELD_ADDRESSES = ("0.0.0.0", "::")
_MOST_FORMATS = 64


class NoCommonCodec(RemoteProtocolError):
    """Nothing that both sides can do; the text says what each wanted."""

    def __init__(self, theirs: Iterable[str], ours: Iterable[str]) -> None:
        self.theirs, self.ours = tuple(theirs), tuple(ours)
        """What the peer named, and what we could: encodings with their clocks, best first."""
        named = [", ".join(one) or "none" for one in (self.theirs, self.ours)]
        super().__init__(f"no common codec; theirs: {named[0]}; ours: {named[1]}", 488)


class RemoteAudio:
    """One `m=audio` of a peer."""

    def __init__(
        self, session: SessionDescription, media: Media, our_address: str, ours: Iterable[RtpFormat] = ()
    ) -> None:
        """`ours`: what we offered; payload types that an answer does not explain mean what they meant there."""
        self.media = media
        self.profile = media.profile.upper()
        self.address = session.address_of(media)
        self.direction = session.direction_of(media)
        self._reachable = self.address is None or _is_address(self.address, our_address)
        self.keys_by_dtls = session.has(media, "fingerprint")
        self.crypto, self.crypto_problems = usable_lines(media.values("crypto"))
        self.rtcp_mux = session.has(media, "rtcp-mux")
        self._rtpmaps = STATIC | {one.payload_type: rtpmap_of(one) for one in ours}
        for value in media.values("rtpmap"):
            number, _, rtpmap = value.partition(" ")
            if _is_payload_type(number):
                self._rtpmaps[int(number)] = rtpmap.strip()
        numbers = dict.fromkeys(int(one) for one in media.formats if _is_payload_type(one))
        understood = (format_of(number, self._rtpmaps.get(number, "")) for number in numbers)
        self.formats = tuple(one for one in understood if one is not None)[:_MOST_FORMATS]
        """What it names and we understand, in its order."""

    @property
    def named(self) -> list[str]:
        """All that it names, for people."""
        return [
            (_is_payload_type(one) and self._rtpmaps.get(int(one), "")[:40]) or f"payload type {one[:20]}"
            for one in self.media.formats[:_MOST_FORMATS]
        ]

    @property
    def encrypted(self) -> bool:
        """Whether its profile says that RTP is encrypted."""
        return self.profile in _ENCRYPTED

    def audio(self, names: Collection[str]) -> list[RtpFormat]:
        """The formats that are one of our codecs `names`, in the peer's order."""
        return [one for one in self.formats if is_audio(one) and name_of(one) in names]

    @property
    def on_hold(self) -> bool:
        """Whether the peer holds the call: it says so, or gives no address (RFC 3264 §8.4)."""
        return self.parked or self.direction in ("sendonly", "inactive")

    @property
    def parked(self) -> bool:
        """Whether it holds by the address 0.0.0.0, and can't be sent anything."""
        return self.address in _HELD_ADDRESSES

    @property
    def rtp(self) -> tuple[str, int] | None:
        """Where it wants RTP; None for the address 0.0.0.0, and for one of a family that we don't have.

        Telephones with both families name the one they like better; by latching they are heard all the same.
        """
        if self.address is None or self.parked or not self._reachable:
            return None
        return (self.address, self.media.port)

    @property
    def rtcp(self) -> tuple[str, int] | None:
        """Where it wants RTCP unless that is multiplexed: from a=rtcp (RFC 3605), else the port above RTP's."""
        rtp = self.rtp
        if rtp is None:
            return None
        fields = (self.media.attribute("rtcp") or "").split()
        if fields and is_number(fields[0], 5) and 0 < int(fields[0]) < 65536:
            return (
                fields[3] if len(fields) == 4 and _is_address(fields[3], rtp[0]) else rtp[0],
                int(fields[0]),
            )
        return (rtp[0], rtp[1] + 1) if rtp[1] < 65535 else None

    def ptime_ms(self, default: int, sends: RtpFormat) -> int:
        """How long the packets are to be that it gets: what it wants, as far as `sends` can do that."""
        wanted = self._milliseconds("ptime") or default
        most = min(wanted, self._milliseconds("maxptime") or wanted)
        return max((one for one in ptimes_ms(sends) if one <= most), default=default)

    def _milliseconds(self, name: str) -> int:
        text = (self.media.attribute(name) or "").partition(".")[0]
        return int(text) if is_number(text, 5) else 0

    def problem(self, *, plain: str = "") -> str | None:
        """Why it can't be taken, codecs aside; `plain`: why it can't be if it isn't encrypted."""
        if self.profile not in _PLAIN + _ENCRYPTED or (self.encrypted and not self.crypto):
            if "TLS" in self.profile or self.keys_by_dtls:
                return f"{self.media.profile[:40]} with keys by DTLS was offered: WebRTC over SIP comes later"
            if self.encrypted:
                why = "; ".join(self.crypto_problems[:4]) or "there is none"
                return f"{self.media.profile} needs a usable a=crypto line: {why}"
            return f"audio over {self.media.profile[:40]} can't be had; use RTP/AVP or RTP/SAVP"
        if plain and not self.crypto:
            return f"{plain} and {self.media.profile} was offered"
        return self._address_problem()

    def _address_problem(self) -> str | None:
        address = self.address
        if address is None:
            return "SDP has no c= line for its audio"
        if address in _HELD_ADDRESSES:
            return None
        if not _is_address(address):
            # The media plane sends to it each 20 ms, and must never wait for a name server.
            return f'"{address[:40]}" in SDP is no IP address'
        if ipaddress.ip_address(address).is_multicast or address == "255.255.255.255":
            return f"{address} in SDP is no single host's address"
        return None

    def first_key(self) -> CryptoLine | None:
        """The first key that we can use, None if the stream is plain."""
        return self.crypto[0] if self.crypto else None


def pick_audio(
    session: SessionDescription,
    names: Collection[str],
    our_address: str,
    *,
    also: Collection[str] = (),
    plain: str = "",
    ours: Iterable[RtpFormat] = (),
) -> RemoteAudio:
    """The first audio stream that we can take, with one of our codecs `names`, or `also` these.

    `plain` says why one that is not encrypted can't be taken; nothing: it can.
    Raises NoCommonCodec, or RemoteProtocolError (488) if that isn't what stands in the way.
    """
    theirs: list[str] = []
    problem: str | None = None
    for media in session.media:
        if media.kind != "audio" or media.port == 0:
            theirs.append(f"{media.kind} (refused)" if media.port == 0 else media.kind)
            continue
        audio = RemoteAudio(session, media, our_address, ours)
        trouble = audio.problem(plain=plain)
        if trouble is None and audio.audio((*names, *also)):
            return audio
        problem = problem or trouble
        theirs += audio.named
    if problem is not None:
        raise RemoteProtocolError(problem, 488)
    raise NoCommonCodec(theirs, [rtpmap_of(one) for name in names for one in CODECS[name]])


def address_in(sdp: bytes) -> str | None:
    """The address of the first audio stream of a description, if it has a usable one."""
    try:
        session = SessionDescription.parse(sdp)
    except RemoteProtocolError:
        return None
    for media in session.media:
        address = session.address_of(media)
        if media.kind == "audio" and address is not None and _is_address(address):
            return None if address in _HELD_ADDRESSES else address
    return None


def _is_address(text: str, like: str | None = None) -> bool:
    """Whether it is an IP address, and of the same family as `like`."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return like is None or (":" in text) == (":" in like)


def _is_payload_type(text: str) -> bool:
    return is_number(text, 5) and int(text) < 128
