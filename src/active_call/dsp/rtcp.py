"""RTCP reports (RFC 3550 §6): what the two ends of an RTP stream tell each other about it."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

_SR: Final = 200
_RR: Final = 201
_SDES: Final = 202
_BYE: Final = 203
_VERSION: Final = 2
_CNAME: Final = 1
_NTP_EPOCH: Final = 2_208_988_800
"""Seconds from 1900 (NTP) to 1970 (Unix)."""

_BLOCK = struct.Struct("!IIIIII")
_SENDER = struct.Struct("!IQIII")


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """How well one stream is received (§6.4.1)."""

    ssrc: int
    """The stream reported on."""
    fraction_lost: int
    """Share lost since the last report, in 1/256."""
    cumulative_lost: int
    """Packets lost since the beginning; negative with duplicates. Signed, 24 bits."""
    highest_sequence: int
    """Extended highest sequence number received."""
    jitter: int
    """Interarrival jitter in timestamp units."""
    last_sr: int = 0
    """Middle 32 bits of the NTP time in the last sender report received; 0 = none yet."""
    delay_since_last_sr: int = 0
    """In 1/65536 s."""

    def __bytes__(self) -> bytes:
        lost = min(max(self.cumulative_lost, -0x80_0000), 0x7F_FFFF) & 0xFF_FFFF
        return _BLOCK.pack(
            self.ssrc & 0xFFFF_FFFF,
            (self.fraction_lost & 0xFF) << 24 | lost,
            self.highest_sequence & 0xFFFF_FFFF,
            self.jitter & 0xFFFF_FFFF,
            self.last_sr & 0xFFFF_FFFF,
            min(self.delay_since_last_sr, 0xFFFF_FFFF),
        )


@dataclass(frozen=True, slots=True)
class SenderReport:
    """§6.4.1: what `ssrc` has sent, and at which wall clock time its RTP clock stood where."""

    ssrc: int
    ntp: int
    """64-bit NTP time."""
    rtp_timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """§6.4.2: from a participant that sends nothing."""

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class Bye:
    """§6.6: these sources have left."""

    ssrcs: tuple[int, ...]
    reason: str = ""


RtcpPacket: TypeAlias = SenderReport | ReceiverReport | Bye


def is_rtcp(second_byte: int) -> bool:
    """Whether a packet at a port for both is RTCP rather than RTP (RFC 5761 §4)."""
    return 192 <= second_byte <= 223


def ntp_time(unix_ns: int) -> int:
    """The 64-bit NTP time of a Unix time in nanoseconds (§4); its middle 32 bits are `>> 16`."""
    seconds, rest = divmod(unix_ns, 1_000_000_000)
    return ((seconds + _NTP_EPOCH) & 0xFFFF_FFFF) << 32 | (rest << 32) // 1_000_000_000


def round_trip_ms(now_ntp_mid32: int, block: ReportBlock) -> float | None:
    """Round-trip time by a report on our own stream (§6.4.1), in ms; None before the peer saw our report."""
    if block.last_sr == 0:
        return None
    elapsed = (now_ntp_mid32 - block.last_sr - block.delay_since_last_sr) & 0xFFFF_FFFF
    if elapsed >= 0x8000_0000:  # the peer's clock rounded its delay up
        return 0.0
    return elapsed * 1000 / 65536


def build_report(
    *,
    ssrc: int,
    cname: str,
    ntp: int,
    rtp_timestamp: int,
    packets: int,
    octets: int,
    source: ReportBlock | None,
    sender: bool = True,
    bye: bool = False,
) -> bytes:
    """A compound packet (§6.1): SR (RR if nothing was sent lately), SDES with the CNAME and, if `bye`, BYE."""
    blocks = bytes(source) if source else b""
    count = 1 if source else 0
    if packets and sender:
        sent = (rtp_timestamp & 0xFFFF_FFFF, packets & 0xFFFF_FFFF, octets & 0xFFFF_FFFF)
        report = _packet(_SR, count, _SENDER.pack(ssrc, ntp, *sent) + blocks)
    else:
        report = _packet(_RR, count, struct.pack("!I", ssrc) + blocks)
    name = cname.encode()[:255]
    chunk = struct.pack("!IBB", ssrc, _CNAME, len(name)) + name
    chunk += bytes(4 - len(chunk) % 4)  # a null item ends the list, at least one byte (§6.5)
    compound = report + _packet(_SDES, 1, chunk)
    if bye:
        compound += _packet(_BYE, 1, struct.pack("!I", ssrc))
    return compound


def parse(data: bytes) -> list[RtcpPacket]:
    """The reports and goodbyes of a compound packet, others skipped. Stops at the first that makes no sense."""
    packets: list[RtcpPacket] = []
    for kind, count, body in _split(data):
        if kind == _SR and len(body) >= _SENDER.size + count * _BLOCK.size:
            blocks = _parse_blocks(body[_SENDER.size :], count)
            ssrc, ntp, timestamp, sent, octets = _SENDER.unpack_from(body)
            packets.append(SenderReport(ssrc, ntp, timestamp, sent, octets, blocks))
        elif kind == _RR and len(body) >= 4 + count * _BLOCK.size:
            packets.append(ReceiverReport(int.from_bytes(body[:4], "big"), _parse_blocks(body[4:], count)))
        elif kind == _BYE and len(body) >= 4 * count:
            rest = body[4 * count :]
            reason = rest[1 : 1 + rest[0]].decode(errors="replace") if rest else ""
            packets.append(Bye(struct.unpack_from(f"!{count}I", body), reason))
        elif kind in (_SR, _RR, _BYE):
            break
    return packets


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", _VERSION << 6 | count, kind, len(body) // 4) + body


def _split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Packet type, count and body (padding removed) of each packet that is complete."""
    while len(data) >= 4 and data[0] >> 6 == _VERSION:
        first, kind, words = struct.unpack_from("!BBH", data)
        size = 4 + 4 * words
        if size > len(data):
            return
        body = data[4:size]
        if first & 0x20:
            if not body or not 0 < body[-1] <= len(body):
                return
            body = body[: -body[-1]]
        yield kind, first & 0x1F, body
        data = data[size:]


def _parse_blocks(data: bytes, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for ssrc, lost, sequence, jitter, last_sr, delay in _BLOCK.iter_unpack(data[: count * _BLOCK.size]):
        cumulative = lost & 0xFF_FFFF
        if cumulative & 0x80_0000:
            cumulative -= 0x100_0000
        blocks.append(ReportBlock(ssrc, lost >> 24, cumulative, sequence, jitter, last_sr, delay))
    return tuple(blocks)
