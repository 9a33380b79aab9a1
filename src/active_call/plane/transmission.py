"""From what is played to packets: the sending half of the tick."""

import logging
from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.core.errors import MediaError
from active_call.dsp.coders import LAWS
from active_call.dsp.dtmf import DigitSender
from active_call.dsp.g711 import G711, SILENCE
from active_call.dsp.packing import Cutter, Packed, Packer
from active_call.dsp.resample import Downsampler
from active_call.dsp.rtp import FRAME, HEADER, SendMatrix, packet
from active_call.dsp.tones import ToneSender
from active_call.lanes.messages import AdjustLane, ConfigureLane, Flushed, MarkPlayed, RtpFormat, SendDigits
from active_call.lanes.table import Table
from active_call.plane.background import Background
from active_call.plane.mixing import Mixing
from active_call.plane.peers import Peers
from active_call.plane.playback import Playback

_log = logging.getLogger(__name__)

Int64: TypeAlias = NDArray[np.int64]

_CLOCK_HZ: Final = 8000
_OTHER_PTIMES_MS: Final = (10, 30, 40, 50, 60)
"""Of G.711, besides 20 ms, which is also taken for what is none of these."""


class Transmission:
    """Sends for all lanes of a table.

    G.711 is encoded for all lanes at once; other codecs lane by lane. Their encoders have a memory, so a tick
    of theirs is encoded only once: a flush of the last moment, after that, takes effect with the next tick.
    """

    def __init__(self, table: Table, peers: Peers, lanes: int) -> None:
        capacity = table.capacity
        self.packets = SendMatrix(capacity)
        self.playback = Playback(table)
        self.background = Background(table)
        self.mixing = Mixing(table)
        self.playing = np.zeros((capacity, TICK_SAMPLES), np.int16)
        """16 kHz audio of the tick, a row per lane in the tick."""
        self.rows: list[int] = []
        """Lanes that send a packet this tick, once filled."""
        self.views: dict[int, bytes] = {}
        """Their packets, where it isn't the plain one of `packets.views`."""
        self.more: list[tuple[int, bytes]] = []
        """Second packets of lanes in this tick, to be sent after all others."""
        self._table = table
        self._peers = peers
        self._sending = np.zeros(capacity, np.bool_)
        self._formats: dict[int, RtpFormat] = {}
        self._events: dict[int, RtpFormat] = {}
        self._ssrc = np.zeros(capacity, np.int64)
        self._opened_tick = np.zeros(capacity, np.int64)
        self._played_before = np.zeros(capacity, np.bool_)
        self._fresh = np.zeros(capacity, np.bool_)
        """The next packet is the first, or the first after a pause: it has the marker bit (RFC 3551 §4.1)."""
        self._gain = np.ones(capacity, np.float32)
        self._shaping = False
        """Whether any lane's gain is not 1."""
        self.tones = ToneSender()
        self._digits = DigitSender(capacity)
        self._packer = Packer(capacity)
        self._cutter = Cutter(capacity)
        self._g711 = G711(lanes, FRAME)
        self._downsampler = Downsampler(capacity, lanes)
        self._narrow = np.zeros((lanes, FRAME), np.int16)
        self._codes = np.zeros((capacity, FRAME), np.uint8)
        self._sent: Int64 = np.zeros(0, np.int64)
        self._sent_packets: Int64 = np.zeros(0, np.int64)
        self._sent_octets: Int64 = np.zeros(0, np.int64)

    # --- control --------------------------------------------------------------------------------------

    def open(self, row: int, ssrc: int = 0) -> None:
        """A fresh lane sends no packets until it is configured; an external one never does."""
        self._ssrc[row] = ssrc
        self._sending[row] = False
        self._formats.pop(row, None)
        self._events.pop(row, None)
        self._packer.close(row)
        self._cutter.close(row)
        self.playback.open(row)
        self._digits.reset(row)
        self.tones.reset(row)
        self._set_gain(row, 1.0)

    def enter(self, row: int) -> None:
        """Begin to send, or go on after another process."""
        self._opened_tick[row] = self._table.opened_tick[row]
        self._downsampler.clear(np.array([row]))
        self._played_before[row] = False
        self._fresh[row] = self._table.tx_packets[row] == 0
        self._packer.restart(row)

    def close(self, row: int) -> None:
        """Drop what the lane had still to do."""
        self._packer.close(row)
        self._cutter.close(row)
        self.playback.open(row)
        self.background.remove(row)
        self.mixing.remove(row)
        self._digits.reset(row)
        self.tones.reset(row)

    def configure(self, message: ConfigureLane, tick: int | None) -> None:
        """Apply a session from `tick` on; None: in a spare, which leaves the table alone."""
        row = message.row
        now = self.timestamp(row, tick) if tick is not None and row in self._formats else None
        self._sending[row] = message.sending
        self._formats[row] = message.sends
        if tick is not None and now is not None:  # the timestamps go on, be it by another clock
            self._table.tx_timestamp[row] += now - self.timestamp(row, tick)
        if message.sends_events is None:
            self._events.pop(row, None)
        else:
            self._events[row] = message.sends_events
        self.packets.set_stream(row, int(self._ssrc[row]), message.sends.payload_type)
        if message.sends.codec in LAWS:
            self._packer.close(row)
            if message.ptime_ms in _OTHER_PTIMES_MS:
                self._cutter.open(row, message.sends.codec, message.ptime_ms)
            else:
                self._cutter.close(row)
            return
        self._cutter.close(row)
        try:
            self._packer.open(row, message.sends, message.ptime_ms)
        except MediaError as error:
            _log.error("%s; the lane sends nothing", error)
            self._sending[row] = False

    def adjust(self, message: AdjustLane) -> None:
        """Pause, mute and gain."""
        self.playback.paused[message.row] = message.paused
        self._set_gain(message.row, 0.0 if message.mute_sent else message.gain)

    def _set_gain(self, row: int, gain: float) -> None:
        self._gain[row] = gain
        self._shaping = bool((self._gain != 1.0).any())

    def send_digits(self, message: SendDigits) -> None:
        """Queue keys to be pressed. While tones sound, playback waits."""
        if message.tones:
            self.tones.start(message.row, message.digits, message.duration_ms, message.gap_ms)
            self.playback.held[message.row] = self.tones.busy(message.row)
            return
        self._digits.start(message.row, message.digits, message.duration_ms, message.gap_ms)

    def timestamp(self, row: int, tick: int) -> int:
        """What the lane's RTP clock shows at `tick`."""
        form = self._formats.get(row)
        time = FRAME * (tick - int(self._opened_tick[row]))
        return self._stamp(row, time, form.clock_hz if form else _CLOCK_HZ)

    def _stamp(self, row: int, time: int, clock_hz: int) -> int:
        """The timestamp at `time` (8 kHz since the lane opened) of a clock."""
        return int(self._table.tx_timestamp[row]) + time * clock_hz // _CLOCK_HZ

    # --- the tick -------------------------------------------------------------------------------------

    def play(self, rows: Int64, block: slice) -> NDArray[np.bool_]:
        """Fill `block` of `playing` with what `rows` (n,) are to hear. Returns which of them hear anything."""
        return self._add(rows, self.playback.prepare(rows, self.playing[block]), self.playing[block])

    def encode(self, tick: int, rows: Int64, laws: Int64, block: slice, playing: NDArray[np.bool_]) -> None:
        """Make codes of `block` of `playing`, for lanes with sockets; silent ones need no work."""
        # A lane that fell silent is filtered for one tick more.
        busy = playing | self._played_before[rows]
        if not self._packer.idle:
            packed = self._packer.rows[rows]
            self._pack(tick, rows, block, packed, busy)
            busy &= ~packed
        self._encode(rows, laws, block, busy)
        self._played_before[rows] = playing

    def settle(self, tick: int, lanes: Int64, laws: Int64) -> list[Flushed | MarkPlayed]:
        """Let flushes of the last moment take effect, then fill the packets. Returns what the tick plays.

        The first of `lanes`, as many as there are `laws`, have sockets.
        """
        flushed = self.playback.flushed_since(lanes)
        for i in flushed[~self._packer.rows[lanes[flushed]]].tolist():
            one = slice(i, i + 1)
            heard = self.playback.flush(int(lanes[i]), self.playing[i])
            self._add(lanes[one], np.array([heard]), self.playing[one])
            if i < len(laws):
                self._encode(lanes[one], laws[one], one, np.ones(1, np.bool_))
        self._fill_packets(tick, lanes[: len(laws)])
        return self.playback.commit(tick, lanes, self._table.generation)

    def commit(self, lanes: Int64, with_sockets: int) -> None:
        """Store what is sent in the table's columns. The first of `lanes`, so many, have sockets."""
        table = self._table
        self._downsampler.advance(lanes[:with_sockets], self.playing[:with_sockets])
        table.tx_packets[self._sent] += self._sent_packets
        table.tx_octets[self._sent] += self._sent_octets
        table.tx_sequence[self._sent] += self._sent_packets
        self.playback.store(lanes)
        self.background.advance(lanes)
        for row in self.tones.advance():
            self.playback.held[row] = False

    def _add(self, rows: Int64, playing: NDArray[np.bool_], out: Pcm) -> NDArray[np.bool_]:
        """Add to `out` (n, 320), what is played to `rows` (n,), all else that they hear. Returns which hear."""
        playing = self.background.mix(rows, playing, out)
        playing = self.mixing.mix(rows, playing, out)
        if self._shaping:
            self._shape(rows, out)
        for row in self.tones.rows:
            mine = rows == row
            if mine.any() and not self._waits(row):
                out[mine] = self.tones.tick(row)
                playing = playing | mine
        return playing

    def _waits(self, row: int) -> bool:
        """Whether keys that are pressed by events are still to be sent before tones."""
        return not self.tones.sounding(row) and row in self._digits.rows()

    def _shape(self, rows: Int64, playing: Pcm) -> None:
        """Apply the gains of `rows` (n,) to what they hear (n, 320)."""
        shaped = np.flatnonzero(self._gain[rows] != 1.0)
        if len(shaped):
            loud = playing[shaped] * self._gain[rows[shaped], None]
            playing[shaped] = np.clip(np.rint(loud), -32_768, 32_767).astype(np.int16)

    def _encode(self, rows: Int64, laws: Int64, block: slice, busy: NDArray[np.bool_]) -> None:
        codes = self._codes[block]
        if busy.all():
            narrow = self._narrow[: len(rows)]
            self._downsampler.run(rows, self.playing[block], narrow)
            self._g711.encode(narrow, laws, codes)
            return
        codes[:] = SILENCE[laws][:, None]
        index = np.flatnonzero(busy)
        if len(index):
            narrow, part = self._narrow[: len(index)], np.empty((len(index), FRAME), np.uint8)
            self._downsampler.run(rows[index], self.playing[block][index], narrow)
            codes[index] = self._g711.encode(narrow, laws[index], part)

    def _pack(
        self, tick: int, rows: Int64, block: slice, packed: NDArray[np.bool_], busy: NDArray[np.bool_]
    ) -> None:
        """Encode `block` of `playing` for those lanes that are `packed` (n,) one by one, and send."""
        places = np.flatnonzero(packed & self._sending[rows] & self._peers.reachable[rows])
        playing, packer = self.playing[block], self._packer
        wide = np.fromiter((packer.is_wide(row) for row in rows[places].tolist()), np.bool_, len(places))
        narrow = np.zeros((len(places), FRAME), np.int16)
        halved = np.flatnonzero(~wide & busy[places])
        if len(halved):
            at, part = places[halved], self._narrow[: len(halved)]
            self._downsampler.run(rows[at], playing[at], part)
            narrow[halved] = part
        for i, place in enumerate(places.tolist()):
            row = int(rows[place])
            time = FRAME * (tick - int(self._opened_tick[row]))
            packer.add(row, playing[place] if wide[i] else narrow[i], time)

    def _fill_packets(self, tick: int, lanes: Int64) -> None:
        """Put headers and payloads together, and decide which lanes send."""
        sequence = self._table.tx_sequence[lanes]
        sending = self._sending[lanes] & self._peers.reachable[lanes]
        time = FRAME * (tick - self._opened_tick[lanes])
        fresh = self._fresh[lanes]
        self.packets.set_frames(lanes, self._codes[: len(lanes)])
        self.packets.set_numbers(lanes, sequence, self._table.tx_timestamp[lanes] + time, fresh)
        count, octets = sending.astype(np.int64), np.full(len(lanes), FRAME)
        self.views, self.more = {}, []
        for i, packed in self._packed(lanes, time, sending):
            count[i], octets[i] = self._add_packets(int(lanes[i]), int(sequence[i]), packed)
        for row in self._digits.rows().tolist():
            if self.tones.sounding(row):
                continue
            i = int(np.searchsorted(lanes, row))
            data = self._digit_packet(row, int(sequence[i]), int(time[i]))
            if data is not None and sending[i]:
                self.views[row] = data
                self.more = [one for one in self.more if one[0] != row]
                count[i], octets[i] = 1, len(data) - HEADER
        complete = count > 0
        self._fresh[lanes] = ~sending | (fresh & ~complete)
        self._sent, self._sent_packets, self._sent_octets = lanes[complete], count[complete], octets[complete]
        self.rows = self._sent.tolist()

    def _packed(
        self, lanes: Int64, time: Int64, sending: NDArray[np.bool_]
    ) -> Iterator[tuple[int, list[Packed]]]:
        """What those of `lanes` (n,) send that don't have a packet of 20 ms of G.711, by their places."""
        if not self._packer.idle:
            for i in np.flatnonzero(self._packer.rows[lanes] & sending).tolist():
                yield i, self._packer.take(int(lanes[i]))
        if not self._cutter.idle:
            places = np.flatnonzero(self._cutter.rows[lanes] & sending)
            codes = self._codes[places].tobytes()
            for number, i in enumerate(places.tolist()):
                part = codes[number * FRAME : (number + 1) * FRAME]
                yield i, self._cutter.cut(int(lanes[i]), part, int(time[i]))

    def _add_packets(self, row: int, sequence: int, packed: list[Packed]) -> tuple[int, int]:
        """Let these be sent. Returns how many there are, and their octets."""
        if not packed:
            return 0, 0
        form, ssrc = self._formats[row], int(self._ssrc[row])
        for number, one in enumerate(packed):
            stamp = self._stamp(row, one.time, form.clock_hz)
            marker = number == 0 and bool(self._fresh[row])
            data = packet(form.payload_type, sequence + number, stamp, ssrc, one.payload, marker=marker)
            if number == 0:
                self.views[row] = data
            else:
                self.more.append((row, data))
        return len(packed), sum(len(one.payload) for one in packed)

    def _digit_packet(self, row: int, sequence: int, time: int) -> bytes | None:
        """A stream has one timestamp clock, the codec's; only the key's duration is by the event's own."""
        audio, form = self._formats.get(row), self._events.get(row)
        stamp = self._stamp(row, time, audio.clock_hz if audio else _CLOCK_HZ) & 0xFFFF_FFFF
        event = self._digits.next(row, stamp, form.clock_hz if form else _CLOCK_HZ)
        if event is None or form is None:
            return None
        payload, marker, stamp = event
        return packet(form.payload_type, sequence, stamp, int(self._ssrc[row]), payload, marker=marker)
