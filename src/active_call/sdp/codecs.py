"""How codecs are called in SDP: rtpmap, fmtp and payload types (RFC 3551, RFC 7587, RFC 4733, RFC 3389)."""

from collections.abc import Iterable

from active_call.lanes.messages import PCMA, PCMU, RtpCodec, RtpFormat

CODECS: dict[str, tuple[RtpFormat, ...]] = {
    "pcmu": (PCMU,),
    "pcma": (PCMA,),
    "g722": (RtpFormat(9, "g722"),),
    "opus": (RtpFormat(111, "opus", 48000),),
    "g729": (RtpFormat(18, "g729"),),
    "pcm": (RtpFormat(96, "l16", 16000), RtpFormat(97, "l16", 8000)),
}
"""All audio codecs that can be named, and what each is offered as."""

ACCEPTED_UNNAMED = ("pcm",)
"""Taken when a peer offers it, though nobody named it."""

_ENCODINGS: dict[RtpCodec, str] = {
    "pcmu": "PCMU",
    "pcma": "PCMA",
    "g722": "G722",
    "opus": "opus",
    "g729": "G729",
    "l16": "L16",
    "telephone-event": "telephone-event",
    "cn": "CN",
}
_PARAMETERS: dict[RtpCodec, str] = {
    "opus": "useinbandfec=1;stereo=0",
    "g729": "annexb=no",
    "telephone-event": "0-15",
}
_EVENT_TYPES = {8000: 101, 16000: 102, 48000: 110}
_CLOCKS: dict[RtpCodec, tuple[int, ...]] = {
    "opus": (48000,),
    "l16": (8000, 16000),
    "telephone-event": (8000, 16000, 48000),
    "cn": (8000, 16000),
}
_ALIASES: dict[str, RtpCodec] = {"g729a": "g729"}
_CODINGS: dict[str, RtpCodec] = {name.lower(): coding for coding, name in _ENCODINGS.items()} | _ALIASES
_DYNAMIC = range(96, 128)

STATIC = {
    0: "PCMU/8000",
    3: "GSM/8000",
    4: "G723/8000",
    8: "PCMA/8000",
    9: "G722/8000",
    10: "L16/44100/2",
    11: "L16/44100",
    13: "CN/8000",
    15: "G728/8000",
    18: "G729/8000",
}
"""Payload types that need no rtpmap (RFC 3551 §6)."""


def name_of(coding: RtpFormat) -> str:
    """The key of CODECS that a format belongs to."""
    return "pcm" if coding.codec == "l16" else coding.codec


def is_audio(coding: RtpFormat) -> bool:
    """Whether it carries speech: neither keys nor comfort noise."""
    return coding.codec not in ("telephone-event", "cn")


def rtpmap_of(coding: RtpFormat) -> str:
    """`opus/48000/2`."""
    return f"{_ENCODINGS[coding.codec]}/{coding.clock_hz}" + ("/2" if coding.codec == "opus" else "")


def fmtp_of(coding: RtpFormat) -> str | None:
    """What we say about a format beyond its rtpmap."""
    return _PARAMETERS.get(coding.codec)


def ptimes_ms(coding: RtpFormat) -> tuple[int, ...]:
    """How long packets may be, ascending. 60 ms of L16 at 16 kHz don't fit into one that all networks take."""
    if coding.codec == "opus":
        return (10, 20, 40, 60)
    return (10, 20, 30, 40) if (coding.codec, coding.clock_hz) == ("l16", 16_000) else (10, 20, 30, 40, 60)


def format_of(payload_type: int, rtpmap: str) -> RtpFormat | None:
    """What a peer's rtpmap means; None for what no codec here can be."""
    encoding, _, rest = rtpmap.strip().partition("/")
    clock, _, channels = rest.partition("/")
    codec = _CODINGS.get(encoding.strip().lower())
    if codec is None or channels.strip() not in (("", "1", "2") if codec == "opus" else ("", "1")):
        return None
    if codec == "g722" and clock.strip() == "16000":
        clock = "8000"  # what G.722 samples at; its RTP clock is 8000 all the same (RFC 3551 §4.5.2)
    if clock.strip() not in map(str, _CLOCKS.get(codec, (8000,))):
        return None
    return RtpFormat(payload_type, codec, int(clock))


def formats_to_offer(names: Iterable[str], *, dtmf: bool, before: Iterable[RtpFormat]) -> tuple[RtpFormat, ...]:
    """The codecs in their order, then telephone-event with the clock of each.

    Payload types that were in use `before` in the session keep their meaning (RFC 3264 §8.3.2).
    """
    audio = [one for name in names for one in CODECS[name]]
    clocks = dict.fromkeys(one.clock_hz for one in audio) if dtmf else {}
    wanted = [*audio, *(RtpFormat(_EVENT_TYPES[clock], "telephone-event", clock) for clock in clocks)]
    numbers: dict[tuple[str, int], int] = {}
    for one in before:
        numbers.setdefault((one.codec, one.clock_hz), one.payload_type)
    taken = {one.payload_type for one in before}
    offered = []
    for one in wanted:
        number = numbers.get((one.codec, one.clock_hz))
        if number is None:
            free = (one.payload_type, *_DYNAMIC)
            number = next((choice for choice in free if choice not in taken), None)
        if number is not None:
            taken.add(number)
            offered.append(RtpFormat(number, one.codec, one.clock_hz))
    return tuple(offered)
