"""From packets to what is heard: the receiving half of the tick."""

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_SAMPLES
from active_call.dsp.dtmf import DigitReceiver
from active_call.dsp.g711 import G711
from active_call.dsp.jitter import Concealment, JitterBuffer
from active_call.dsp.resample import Upsampler
from active_call.dsp.rtp import FRAME, PacketMatrix, Packets
from active_call.lanes.messages import (
    ConfigureLane,
    DigitReceived,
    Latched,
    MediaStarted,
    PlaneEvent,
    SsrcChanged,
)
from active_call.lanes.table import Table
from active_call.plane.peers import Address, Peers

Int64: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

_COMFORT_NOISE: Final = 13
_NO_TYPE: Final = 255
_MOST_DEVIATION_MS: Final = 1_000.0


class Reception:
    """Receives for all lanes of a table. Events go to `tell`."""

    def __init__(self, table: Table, peers: Peers, lanes: int, tell: Callable[[PlaneEvent], None]) -> None:
        capacity = table.capacity
        self.incoming = PacketMatrix(capacity)
        self.jitter = JitterBuffer(capacity)
        self.narrow = np.zeros((capacity, FRAME), np.int16)
        """8 kHz audio of the tick, a row per lane in the tick."""
        self.heard = np.zeros((capacity, TICK_SAMPLES), np.int16)
        """The same at 16 kHz."""
        self._table = table
        self._peers = peers
        self._tell = tell
        self._payload_type = np.full(capacity, _NO_TYPE, np.int64)
        self._event_type = np.full(capacity, _NO_TYPE, np.int64)
        self._receiving = np.zeros(capacity, np.bool_)
        self._delay_ms = np.full(capacity, 40, np.int64)
        self._opened_tick = np.zeros(capacity, np.int64)
        self._arrival_ns = np.zeros(capacity, np.int64)
        self._arrival_stamp = np.zeros(capacity, np.int64)
        self._digits = DigitReceiver(capacity)
        self._concealment = Concealment(capacity)
        self._g711 = G711(lanes, FRAME)
        self._upsampler = Upsampler(capacity, lanes)
        self._codes = np.zeros((capacity, FRAME), np.uint8)

    # --- control --------------------------------------------------------------------------------------

    def open(self, row: int) -> None:
        """A fresh lane hears nothing until it is configured."""
        self._payload_type[row] = self._event_type[row] = _NO_TYPE
        self._receiving[row] = False
        self._delay_ms[row] = 40

    def enter(self, row: int, law: int) -> None:
        """Begin to receive, or go on after another process."""
        self._opened_tick[row] = self._table.opened_tick[row]
        self.jitter.open(row, law=law, delay_ms=int(self._delay_ms[row]), lost=int(self._table.rx_lost[row]))
        self._concealment.silence(np.array([row]))
        self._upsampler.reset(row)
        self._digits.reset(row)
        self._arrival_ns[row] = 0

    def configure(self, message: ConfigureLane, law: int, tick: int) -> None:
        """Apply a session from `tick` on."""
        row = message.row
        types = {one.codec: one.payload_type for one in reversed(message.receives)}
        self._payload_type[row] = types.get(message.sends.codec, _NO_TYPE)
        self._event_type[row] = types.get("telephone-event", _NO_TYPE)
        self._receiving[row] = message.receiving
        self._delay_ms[row] = message.jitter_ms
        self.jitter.configure(row, law=law, delay_ms=message.jitter_ms)
        if not message.receiving:
            self.jitter.pause(np.array([row]), tick)
            self._concealment.silence(np.array([row]))

    # --- packets --------------------------------------------------------------------------------------

    def receive(
        self,
        tick: int,
        rows: Int64,
        lengths: Int64,
        sources: dict[int, Address],
        arrived_ns: Int64 | None = None,
    ) -> list[tuple[int, bytes]]:
        """Take the first n packets of `incoming`, before `tick` is prepared.

        `rows` (n,) are all different; `lengths` (n,) in bytes, -1 where receiving was refused (ICMP).
        `sources` has the index of each packet from an unconnected socket; `arrived_ns` (n,) are kernel
        times, 0 where unknown. Returns RTCP that came to the RTP sockets, as (row, data).
        """
        table = self._table
        packets = self.incoming.parse(lengths)
        audio = packets.valid & (packets.payload_type == self._payload_type[rows])
        event = packets.valid & (packets.payload_type == self._event_type[rows])
        accepted = audio | event | (packets.valid & (packets.payload_type == _COMFORT_NOISE))
        muxed: list[tuple[int, bytes]] = []
        if not accepted.all():
            refused = lengths < 0
            table.tx_errors[rows[refused]] += 1
            table.rx_invalid[rows[~accepted & ~refused & ~packets.rtcp]] += 1
            muxed = self._find_rtcp(rows, lengths, packets, sources)
        for i, source in sources.items():
            row = int(rows[i])
            if accepted[i] and not self._peers.admit(row, source, int(packets.sequence[i])):
                accepted[i] = False
                table.rx_stranger[row] += 1
        index = np.flatnonzero(accepted)
        if not len(index):
            return muxed
        at = rows[index]
        first = table.rx_packets[at] == 0
        if first.any() or sources:
            self._tell_sources(tick, at, index, first, sources)
        table.rx_packets[at] += 1
        table.rx_octets[at] += packets.length[index]
        table.rx_tick[at] = tick
        self._buffer(tick, at, index, packets, audio[index])
        if not audio.all():
            self._concealment.silence(at[~audio[index]])
            for i in np.flatnonzero(event & accepted).tolist():
                self._receive_digit(tick, int(rows[i]), int(packets.timestamp[i]), i, int(packets.length[i]))
        if arrived_ns is not None:
            self._measure_jitter(at, packets.timestamp[index], arrived_ns[index], audio[index])
        return muxed

    def _find_rtcp(
        self, rows: Int64, lengths: Int64, packets: Packets, sources: dict[int, Address]
    ) -> list[tuple[int, bytes]]:
        return [
            (int(rows[i]), bytes(self.incoming.views[i][: lengths[i]]))
            for i in np.flatnonzero(packets.rtcp).tolist()
            if i not in sources or sources[i] == self._peers.address[rows[i]]
        ]

    def _buffer(self, tick: int, rows: Int64, index: Int64, packets: Packets, audio: Flags) -> None:
        table = self._table
        ssrc = packets.ssrc[index]
        result = self.jitter.receive(
            tick,
            rows,
            packets.sequence[index],
            packets.timestamp[index],
            ssrc,
            audio & self._receiving[rows],
            packets.length[index],
            self.incoming,
            index,
        )
        table.rx_lost[rows] = result.lost
        table.rx_late[rows] += result.late
        table.rx_duplicate[rows] += result.duplicate
        for i in np.flatnonzero(result.new_ssrc).tolist():
            row = int(rows[i])
            self._tell(SsrcChanged(row, self._generation(row), tick, int(ssrc[i])))
            self._digits.reset(row)
            self._arrival_ns[row] = 0

    def _tell_sources(
        self, tick: int, rows: Int64, index: Int64, first: Flags, sources: dict[int, Address]
    ) -> None:
        for i, row in enumerate(rows.tolist()):
            source = sources.get(int(index[i]), self._peers.address[row])
            if source is None:
                continue
            if first[i]:
                self._tell(MediaStarted(row, self._generation(row), tick, source[0], source[1]))
            if self._peers.latched[row] and self._peers.is_news(row):
                self._tell(Latched(row, self._generation(row), tick, source[0], source[1]))

    def _receive_digit(self, tick: int, row: int, timestamp: int, index: int, length: int) -> None:
        digit = self._digits.receive(row, timestamp, self.incoming.payload[index, :length].tobytes())
        if digit is not None:
            position = max(0, (tick - int(self._opened_tick[row])) * TICK_SAMPLES)
            self._tell(DigitReceived(row, self._generation(row), tick, digit, position))

    def _measure_jitter(self, rows: Int64, timestamp: Int64, arrived_ns: Int64, audio: Flags) -> None:
        """RFC 3550 §A.8, in milliseconds, over consecutive packets whose arrival is known."""
        known = (arrived_ns > 0) & audio
        measured = known & (self._arrival_ns[rows] > 0)
        at = rows[measured]
        elapsed_ms = (arrived_ns[measured] - self._arrival_ns[at]) / 1e6
        stamps = (timestamp[measured] - self._arrival_stamp[at] + (1 << 31) & 0xFFFF_FFFF) - (1 << 31)
        deviation = np.minimum(np.abs(elapsed_ms - stamps / 8), _MOST_DEVIATION_MS)
        self._table.jitter_ms[at] += (deviation - self._table.jitter_ms[at]) / 16
        self._arrival_ns[rows] = np.where(known, arrived_ns, 0)
        self._arrival_stamp[rows] = timestamp

    def _generation(self, row: int) -> int:
        return int(self._table.generation[row])

    # --- the tick -------------------------------------------------------------------------------------

    def hear(self, tick: int, rows: Int64, laws: Int64, block: slice) -> Int64:
        """Fill `block` of `narrow` and `heard` with what `rows` (n,) hear. Returns the rows concealed."""
        codes, narrow = self._codes[block], self.narrow[block]
        present = self.jitter.playout(tick, rows, laws, codes)
        self._g711.decode(codes, laws, narrow)
        concealed = self._concealment.fill(rows, narrow, present)
        self._upsampler.run(rows, narrow, self.heard[block])
        return rows[concealed]
