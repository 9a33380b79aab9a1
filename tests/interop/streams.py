"""RTP streams and RTCP reports as Wireshark reads them."""

from collections import defaultdict
from dataclasses import dataclass

from tests.interop.wireshark import Dissection, Frame

_HEADERS = 8 + 12
"""Bytes of UDP and RTP."""


@dataclass(frozen=True)
class RtpPacket:
    """One packet; `event` is the key (RFC 4733), -1 if it is audio."""

    time: float
    source: tuple[str, int]
    destination: tuple[str, int]
    ssrc: int
    payload_type: int
    sequence: int
    timestamp: int
    marker: bool
    octets: int
    event: int
    end: bool
    duration: int


@dataclass(frozen=True)
class Report:
    """A compound packet with what one participant sent; what there is not of is None or empty."""

    frame: Frame

    @property
    def kinds(self) -> list[int]:
        return [int(kind) for kind in self.frame.all("rtcp.pt")]

    @property
    def ssrc(self) -> int:
        return self.frame.number("rtcp.senderssrc")

    @property
    def ntp_seconds(self) -> float:
        """Of a sender report."""
        return self.frame.number("rtcp.timestamp.ntp.msw") + self.frame.number("rtcp.timestamp.ntp.lsw") / 2**32

    def number(self, name: str) -> int:
        """A field of the sender's part or of the first block."""
        return self.frame.number(f"rtcp.{name}")

    def has(self, name: str) -> bool:
        return bool(self.frame.all(f"rtcp.{name}"))


def rtp_streams(capture: Dissection) -> dict[int, list[RtpPacket]]:
    """All packets in the order of capture, by SSRC."""
    streams: dict[int, list[RtpPacket]] = defaultdict(list)
    fields = [f"rtp.{name}" for name in ("ssrc", "p_type", "seq", "timestamp", "marker")]
    fields += [f"rtpevent.{name}" for name in ("event_id", "end_of_event", "duration")]
    for frame in capture.frames("rtp && !icmp", "udp.length", *fields):
        is_event = bool(frame.all("rtpevent.event_id"))
        packet = RtpPacket(
            time=frame.time,
            source=frame.source,
            destination=frame.destination,
            ssrc=frame.number("rtp.ssrc"),
            payload_type=frame.number("rtp.p_type"),
            sequence=frame.number("rtp.seq"),
            timestamp=frame.number("rtp.timestamp"),
            marker=frame.text("rtp.marker") in ("1", "True"),
            octets=frame.number("udp.length") - _HEADERS,
            event=frame.number("rtpevent.event_id") if is_event else -1,
            end=frame.text("rtpevent.end_of_event") in ("1", "True"),
            duration=frame.number("rtpevent.duration") if is_event else 0,
        )
        streams[packet.ssrc].append(packet)
    return streams


def reports(capture: Dissection) -> list[Report]:
    """The sender and receiver reports that are not encrypted, in the order of capture."""
    names = "pt senderssrc timestamp.ntp.msw timestamp.ntp.lsw timestamp.rtp sender.packetcount"
    names += " sender.octetcount ssrc.identifier ssrc.fraction ssrc.cum_nr ssrc.ext_high ssrc.jitter ssrc.lsr"
    names += " ssrc.dlsr sdes.text"
    wanted = "rtcp.senderssrc && !rtcp.encrypted && !icmp"
    return [Report(frame) for frame in capture.frames(wanted, *(f"rtcp.{name}" for name in names.split()))]


def events(stream: list[RtpPacket]) -> list[list[RtpPacket]]:
    """The packets of each key."""
    keys: list[list[RtpPacket]] = []
    for packet in stream:
        if packet.event >= 0:
            if not keys or keys[-1][0].timestamp != packet.timestamp:
                keys.append([])
            keys[-1].append(packet)
    return keys
