"""From packets to what is heard: the receiving half of the tick."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.dsp.coders import LAWS
from active_call.dsp.concealment import Concealment
from active_call.dsp.dtmf import DigitReceiver
from active_call.dsp.g711 import G711, MU_LAW, recode
from active_call.dsp.jitter import JitterBuffer
from active_call.dsp.resample import Downsampler, Upsampler
from active_call.dsp.rtp import FRAME, HALF_FRAME, PacketMatrix, Packets
from active_call.dsp.unpacking import Unpacker
from active_call.lanes.messages import (
    PCMA,
    PCMU,
    ConfigureLane,
    DigitReceived,
    Latched,
    MediaStarted,
    PlaneEvent,
    SsrcChanged,
)
from active_call.lanes.table import Table
from active_call.plane.payloads import CODES, EVENT, OTHER_CODES, PayloadTypes
from active_call.plane.peers import Address, Peers

Int64: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Codes: TypeAlias = NDArray[np.uint8]

_CODES_ONLY: Final = frozenset(("pcmu", "pcma", "telephone-event", "cn"))
LONG_AGO: Final = -(1 << 40)
"""The tick of what never happened."""
_MOST_DEVIATION_MS: Final = 1_000.0


@dataclass(slots=True)
class _Unpacked:
    """What was decoded packet by packet, by places in the block."""

    wide: Int64
    """Lanes whose codec has 16 kHz; `audio` (n, 320) is theirs."""
    audio: Pcm
    concealed: Int64


class Reception:
    """Receives for all lanes of a table. Events go to `tell`."""

    def __init__(self, table: Table, peers: Peers, lanes: int, tell: Callable[[PlaneEvent], None]) -> None:
        capacity = table.capacity
        self.incoming = PacketMatrix(capacity)
        self.jitter = JitterBuffer(capacity)
        self.unpacker = Unpacker(capacity, self.jitter)
        self.narrow = np.zeros((capacity, FRAME), np.int16)
        """8 kHz audio of the tick, a row per lane in the tick."""
        self.heard = np.zeros((capacity, TICK_SAMPLES), np.int16)
        """The same at 16 kHz."""
        self.event_tick = np.full(capacity, LONG_AGO)
        """Tick of the last telephone-event of each lane."""
        self._table = table
        self._peers = peers
        self._tell = tell
        self._types = PayloadTypes(capacity)
        self._law = np.zeros(capacity, np.int64)
        self._receiving = np.zeros(capacity, np.bool_)
        self._paused = np.zeros(capacity, np.bool_)
        """The last packet said that no audio is to come: a key, or comfort noise. Or we don't want any."""
        self._any_paused = False
        self._delay_ms = np.full(capacity, 40, np.int64)
        self._opened_tick = np.zeros(capacity, np.int64)
        self._arrival_ns = np.zeros(capacity, np.int64)
        self._arrival_stamp = np.zeros(capacity, np.int64)
        self._digits = DigitReceiver(capacity)
        self._concealment = Concealment(capacity)
        self._g711 = G711(lanes, FRAME)
        self._upsampler = Upsampler(capacity, lanes)
        self._downsampler = Downsampler(capacity, lanes)
        self._codes = np.zeros((capacity, FRAME), np.uint8)

    # --- control --------------------------------------------------------------------------------------

    def open(self, row: int) -> None:
        """A fresh lane hears nothing until it is configured."""
        self._types.open(row)
        self.unpacker.close(row)
        self._receiving[row] = self._paused[row] = False
        self._delay_ms[row] = 40
        self.event_tick[row] = LONG_AGO

    close = open

    def enter(self, row: int, law: int) -> None:
        """Begin to receive, or go on after another process."""
        self._opened_tick[row] = self._table.opened_tick[row]
        kept = bool(self.unpacker.rows[row])
        if kept:
            self.unpacker.open(row)
        lost = int(self._table.rx_lost[row])
        self.jitter.open(row, law=None if kept else law, delay_ms=int(self._delay_ms[row]), lost=lost)
        self._concealment.silence(np.array([row]))
        self._upsampler.reset(row)
        self._downsampler.clear(np.array([row]))
        self._paused[row] = not self._receiving[row]
        self._any_paused |= bool(self._paused[row])
        self._digits.reset(row)
        self.event_tick[row] = LONG_AGO
        self._arrival_ns[row] = 0

    def configure(self, message: ConfigureLane, law: int, tick: int) -> None:
        """Apply a session from `tick` on."""
        row = message.row
        others = any(form.codec not in _CODES_ONLY for form in message.receives)
        kept = bool(self.unpacker.rows[row])
        if message.sends.codec not in LAWS or (kept and others):
            if not kept:
                self._keep_packets(row)
            self._types.configure(row, message.receives, None)
        else:
            self._types.configure(row, message.receives, law)
            self.unpacker.close(row)
        self._law[row] = law
        self._receiving[row] = message.receiving
        self._delay_ms[row] = message.jitter_ms
        self.jitter.configure(row, law=None if self.unpacker.rows[row] else law, delay_ms=message.jitter_ms)
        if not message.receiving:
            self.jitter.pause(np.array([row]), tick)
            self._paused[row] = self._any_paused = True

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

        `rows` (n,) are all different; `lengths` (n,) in bytes, -1 where receiving was refused (ICMP), -2 for
        packets that have been counted and are nothing to us.
        `sources` has the index of each packet from an unconnected socket; `arrived_ns` (n,) are kernel
        times, 0 where unknown. Returns RTCP that came to the RTP sockets, as (row, data).
        """
        table = self._table
        packets = self.incoming.parse(lengths)
        kinds = self._types.kinds(rows, packets.payload_type)
        accepted = packets.valid & (kinds > 0)
        muxed: list[tuple[int, bytes]] = []
        if not accepted.all():
            refused = lengths <= 0  # an empty one keeps a NAT awake
            table.tx_errors[rows[lengths == -1]] += 1
            table.rx_invalid[rows[~accepted & ~refused & ~packets.rtcp]] += 1
            muxed = self._find_rtcp(rows, lengths, packets, sources)
        for i, source in sources.items():
            row = int(rows[i])
            sequence, ssrc = int(packets.sequence[i]), int(packets.ssrc[i])
            if accepted[i] and not self._peers.admit(row, source, sequence, ssrc, tick):
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
        kinds, timestamp = kinds[index], packets.timestamp[index]
        audio = kinds >= CODES
        if self._any_paused or not audio.all():
            self._paused[at] = ~(audio & self._receiving[at])
            self._any_paused = bool(self._paused.any())
        self._buffer(tick, at, index, packets, kinds, timestamp)
        if not audio.all():
            for i in index[kinds == EVENT].tolist():
                self._receive_digit(tick, int(rows[i]), int(packets.timestamp[i]), i, int(packets.length[i]))
        if arrived_ns is not None:
            self._measure_jitter(at, timestamp, arrived_ns[index], audio)
        return muxed

    def _find_rtcp(
        self, rows: Int64, lengths: Int64, packets: Packets, sources: dict[int, Address]
    ) -> list[tuple[int, bytes]]:
        return [
            (int(rows[i]), bytes(self.incoming.views[i][: lengths[i]]))
            for i in np.flatnonzero(packets.rtcp).tolist()
            if i not in sources or sources[i] == self._peers.address[rows[i]]
        ]

    def _buffer(
        self,
        tick: int,
        rows: Int64,
        index: Int64,
        packets: Packets,
        kinds: NDArray[np.uint8],
        timestamp: Int64,
    ) -> None:
        """Put audio into the jitter buffer; timestamps of clocks other than 8 kHz become such."""
        table = self._table
        ssrc, length = packets.ssrc[index], packets.length[index]
        for i in np.flatnonzero(kinds > CODES).tolist():
            row, place = int(rows[i]), int(index[i])
            payload = self.incoming.payload[place]
            if kinds[i] == OTHER_CODES:
                payload[: length[i]] = recode(payload[: length[i]], int(self._law[row]))
                continue
            form = self._types.form(row, int(packets.payload_type[place]))
            if not self.unpacker.rows[row]:
                self._keep_packets(row)
            data = payload[: length[i]].tobytes()
            timestamp[i], handles = self.unpacker.keep(tick, row, form, int(ssrc[i]), int(timestamp[i]), data)
            self.incoming.handles[place, : len(handles)] = handles
            length[i] = len(handles) * HALF_FRAME
        result = self.jitter.receive(
            tick,
            rows,
            packets.sequence[index],
            timestamp,
            ssrc,
            (kinds >= CODES) & self._receiving[rows],
            length,
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

    def _keep_packets(self, row: int) -> None:
        """The peer sends other codecs than G.711: take its packets one by one from now on."""
        queued = PCMU if self._law[row] == MU_LAW else PCMA
        self.unpacker.open(row, queued)
        self._types.configure(row, self._types.formats(row), None)

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
        self.event_tick[row] = tick
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
        codes, narrow, heard = self._codes[block], self.narrow[block], self.heard[block]
        present = self.jitter.playout(tick, rows, laws, codes)
        self._g711.decode(codes, laws, narrow)
        unpacked = None if self.unpacker.idle else self._unpack(tick, rows, codes, narrow, present)
        if not present.all():
            self._concealment.silence(rows[~present & self._paused[rows]])
        concealed = self._concealment.fill(rows, narrow, present)
        self._upsampler.run(rows, narrow, heard)
        if unpacked is None:
            return rows[concealed]
        heard[unpacked.wide] = unpacked.audio
        return rows[np.concatenate((concealed, unpacked.concealed))]

    def _unpack(self, tick: int, rows: Int64, codes: Codes, narrow: Pcm, present: Flags) -> "_Unpacked":
        """Decode the packets that are not codes into `narrow`, and those of 16 kHz not only there."""
        places = np.flatnonzero(self.unpacker.rows[rows])
        present[places] = True  # whatever is missing is concealed by the decoder
        handles = codes.view(np.uint64)[places, :: HALF_FRAME // 8].tolist()
        wide: list[int] = []
        audio: list[Pcm] = []
        concealed: list[int] = []
        for place, row, (first, second) in zip(places.tolist(), rows[places].tolist(), handles, strict=True):
            paused = bool(self._paused[row])
            samples, any_concealed = self.unpacker.play(tick, row, (first, second), paused=paused)
            if any_concealed:
                concealed.append(place)
            if len(samples) == FRAME:
                narrow[place] = samples
            else:
                wide.append(place)
                audio.append(samples)
        at, stacked = np.array(wide, np.int64), np.array(audio, np.int16).reshape(-1, TICK_SAMPLES)
        if wide:
            halved = np.empty((len(at), FRAME), np.int16)
            self._downsampler.run(rows[at], stacked, halved)
            self._downsampler.advance(rows[at], stacked)
            narrow[at] = halved
        return _Unpacked(at, stacked, np.array(concealed, np.int64))
