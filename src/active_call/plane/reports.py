"""RTCP of all lanes: what we report of each stream, and what the peers report of ours (RFC 3550 §6)."""

from dataclasses import dataclass

from active_call.dsp import rtcp
from active_call.dsp.jitter import JitterBuffer
from active_call.lanes.messages import ConfigureLane
from active_call.lanes.table import Table


@dataclass(slots=True)
class _Stream:
    ssrc: int
    cname: str
    clock_hz: int = 8000
    """Of the RTP timestamps that we send."""
    sent_before: tuple[int, int] = (0, 0)
    """Packets sent when the last two reports were made, the older one first."""
    peer: int = -1
    """SSRC of the stream that the fields below are about."""
    last_sr: int = 0
    """Middle 32 bits of the NTP time of its last sender report."""
    last_sr_ns: int = 0
    """When it arrived (Unix time)."""
    expected_before: int = 0
    lost_before: int = 0
    lost_at_start: int = 0
    """Of earlier streams of the lane."""


class Reports:
    """Builds and reads the reports of the lanes of a table."""

    def __init__(self, table: Table, jitter: JitterBuffer) -> None:
        self._table = table
        self._jitter = jitter
        self._streams: dict[int, _Stream] = {}

    def open(self, row: int, ssrc: int, cname: str) -> None:
        """Begin to report on a lane that sends as `ssrc`."""
        self._streams[row] = _Stream(ssrc, cname)

    def enter(self, row: int) -> None:
        """Begin to receive, or go on after another process."""
        self._streams[row].lost_before = int(self._table.rx_lost[row])

    def configure(self, row: int, message: ConfigureLane) -> None:
        """The clock of the timestamps may have changed."""
        self._streams[row].clock_hz = message.sends.clock_hz

    def close(self, row: int) -> None:
        """Report no more."""
        self._streams.pop(row, None)

    def build(self, row: int, wall_ns: int, rtp_timestamp: int, *, bye: bool = False) -> bytes:
        """The lane's report; `rtp_timestamp` is what its RTP clock shows at `wall_ns`."""
        stream, table = self._streams[row], self._table
        packets = int(table.tx_packets[row])
        before, stream.sent_before = stream.sent_before[0], (stream.sent_before[1], packets)
        return rtcp.build_report(
            ssrc=stream.ssrc,
            cname=stream.cname,
            ntp=rtcp.ntp_time(wall_ns),
            rtp_timestamp=rtp_timestamp & 0xFFFF_FFFF,
            packets=packets,
            octets=int(table.tx_octets[row]),
            sender=packets > before,
            source=self._block(row, stream, wall_ns),
            bye=bye,
        )

    def receive(self, row: int, data: bytes, arrived_ns: int) -> bool:
        """Read the peer's reports, which arrived at that Unix time. Returns whether it said goodbye."""
        stream = self._streams.get(row)
        if stream is None:
            return False
        self._follow(row, stream)
        goodbye = False
        for packet in rtcp.parse(data):
            if isinstance(packet, rtcp.Bye):
                # An earlier stream of the peer may end while it goes on with another.
                goodbye |= stream.peer in packet.ssrcs or stream.peer < 0
                continue
            if isinstance(packet, rtcp.SenderReport) and packet.ssrc == stream.peer:
                stream.last_sr, stream.last_sr_ns = packet.ntp >> 16 & 0xFFFF_FFFF, arrived_ns
            for block in packet.blocks:
                if block.ssrc == stream.ssrc:
                    self._take(row, stream, block, arrived_ns)
        return goodbye

    def _take(self, row: int, stream: _Stream, block: rtcp.ReportBlock, arrived_ns: int) -> None:
        """What the peer says of our stream."""
        table = self._table
        table.remote_lost[row] = block.cumulative_lost
        table.remote_jitter_ms[row] = block.jitter * 1000 / stream.clock_hz
        rtt_ms = rtcp.round_trip_ms(rtcp.ntp_time(arrived_ns) >> 16 & 0xFFFF_FFFF, block)
        if rtt_ms is not None:
            table.rtt_ms[row] = rtt_ms

    def _follow(self, row: int, stream: _Stream) -> tuple[int, int, int, int] | None:
        """The stream that is heard now: SSRC, first and highest sequence number, packets lost on the lane."""
        reception = self._jitter.reception(row)
        if reception is not None and reception[0] != stream.peer:
            if stream.peer >= 0:
                stream.lost_at_start = stream.lost_before
            stream.peer, stream.last_sr, stream.expected_before = reception[0], 0, 0
        return reception

    def _block(self, row: int, stream: _Stream, wall_ns: int) -> rtcp.ReportBlock | None:
        reception = self._follow(row, stream)
        if reception is None:
            return None
        ssrc, base, highest, lost = reception
        expected = highest - base + 1
        interval, missing = expected - stream.expected_before, lost - stream.lost_before
        stream.expected_before, stream.lost_before = expected, lost
        fraction = min(max(missing, 0) * 256 // interval, 255) if interval > 0 else 0
        since = (wall_ns - stream.last_sr_ns) * 65_536 // 1_000_000_000 if stream.last_sr else 0
        jitter = int(self._table.jitter_ms[row] * self._jitter.clock_hz[row] / 1000)
        lost -= stream.lost_at_start
        return rtcp.ReportBlock(ssrc, fraction, lost, highest, jitter, stream.last_sr, max(since, 0))
