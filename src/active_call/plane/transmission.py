"""From what is played to packets: the sending half of the tick."""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.dsp.dtmf import DigitSender
from active_call.dsp.g711 import G711, SILENCE
from active_call.dsp.resample import Downsampler
from active_call.dsp.rtp import FRAME, MAX_SENT_FRAMES, SendMatrix, packet
from active_call.lanes.messages import AdjustLane, ConfigureLane, Flushed, MarkPlayed, SendDigits
from active_call.lanes.table import Table
from active_call.plane.background import Background
from active_call.plane.peers import Peers
from active_call.plane.playback import Playback

Int64: TypeAlias = NDArray[np.int64]

_NO_TYPE: Final = 255
_PTIMES: Final = (20, 40, 60)


class Transmission:
    """Sends for all lanes of a table. Packets of 20, 40 or 60 ms; other durations are sent as 20 ms."""

    def __init__(self, table: Table, peers: Peers, lanes: int) -> None:
        capacity = table.capacity
        self.packets = SendMatrix(capacity)
        self.playback = Playback(table)
        self.background = Background(table)
        self.playing = np.zeros((capacity, TICK_SAMPLES), np.int16)
        """16 kHz audio of the tick, a row per lane in the tick."""
        self.rows: list[int] = []
        """Lanes that send a packet this tick, once filled."""
        self.views: dict[int, memoryview | bytes] = {}
        """Their packets, where it isn't the plain one of `packets.views`."""
        self._table = table
        self._peers = peers
        self._sending = np.zeros(capacity, np.bool_)
        self._event_type = np.full(capacity, _NO_TYPE, np.int64)
        self._frames_per_packet = np.ones(capacity, np.int64)
        self._ssrc = np.zeros(capacity, np.int64)
        self._first_timestamp = np.zeros(capacity, np.int64)
        self._opened_tick = np.zeros(capacity, np.int64)
        self._played_before = np.zeros(capacity, np.bool_)
        self._gain = np.ones(capacity, np.float32)
        self._shaping = False
        """Whether any lane's gain is not 1."""
        self._digits = DigitSender(capacity)
        self._g711 = G711(lanes, FRAME)
        self._downsampler = Downsampler(capacity, lanes)
        self._narrow = np.zeros((lanes, FRAME), np.int16)
        self._codes = np.zeros((capacity, FRAME), np.uint8)
        self._sent: Int64 = np.zeros(0, np.int64)
        self._sent_octets: Int64 = np.zeros(0, np.int64)

    # --- control --------------------------------------------------------------------------------------

    def open(self, row: int, ssrc: int = 0, first_timestamp: int = 0) -> None:
        """A fresh lane sends no packets until it is configured; an external one never does."""
        self._ssrc[row], self._first_timestamp[row] = ssrc, first_timestamp
        self._sending[row] = False
        self._event_type[row] = _NO_TYPE
        self._frames_per_packet[row] = 1
        self.playback.open(row)
        self._digits.reset(row)
        self._set_gain(row, 1.0)

    def enter(self, row: int) -> None:
        """Begin to send, or go on after another process."""
        self._opened_tick[row] = self._table.opened_tick[row]
        self._downsampler.clear(np.array([row]))
        self._played_before[row] = False

    def close(self, row: int) -> None:
        """Drop what the lane had still to do."""
        self.playback.open(row)
        self.background.remove(row)
        self._digits.reset(row)

    def configure(self, message: ConfigureLane) -> None:
        """Apply a session."""
        row = message.row
        self._sending[row] = message.sending
        self._event_type[row] = message.sends_events.payload_type if message.sends_events else _NO_TYPE
        self._frames_per_packet[row] = message.ptime_ms // 20 if message.ptime_ms in _PTIMES else 1
        self.packets.set_stream(row, int(self._ssrc[row]), message.sends.payload_type)

    def adjust(self, message: AdjustLane) -> None:
        """Pause, mute and gain."""
        self.playback.paused[message.row] = message.paused
        self._set_gain(message.row, 0.0 if message.mute_sent else message.gain)

    def _set_gain(self, row: int, gain: float) -> None:
        self._gain[row] = gain
        self._shaping = bool((self._gain != 1.0).any())

    def send_digits(self, message: SendDigits) -> None:
        """Queue keys to be pressed."""
        self._digits.start(message.row, message.digits, message.duration_ms, message.gap_ms)

    def timestamp(self, row: int, tick: int) -> int:
        """What the lane's RTP clock shows at `tick`."""
        return int(self._first_timestamp[row]) + FRAME * (tick - int(self._opened_tick[row]))

    # --- the tick -------------------------------------------------------------------------------------

    def play(self, rows: Int64, block: slice) -> NDArray[np.bool_]:
        """Fill `block` of `playing` with what `rows` (n,) are to hear. Returns which of them hear anything."""
        playing = self.playback.prepare(rows, self.playing[block])
        playing = self.background.mix(rows, playing, self.playing[block])
        if self._shaping:
            self._shape(rows, self.playing[block])
        return playing

    def encode(self, rows: Int64, laws: Int64, block: slice, playing: NDArray[np.bool_]) -> None:
        """Make codes of `block` of `playing`, for lanes with sockets; silent ones need no work."""
        # A lane that fell silent is filtered for one tick more.
        self._encode(rows, laws, block, playing | self._played_before[rows])
        self._played_before[rows] = playing

    def settle(self, tick: int, lanes: Int64, laws: Int64) -> list[Flushed | MarkPlayed]:
        """Let flushes of the last moment take effect, then fill the packets. Returns what the tick plays.

        The first of `lanes`, as many as there are `laws`, have sockets.
        """
        for i in self.playback.flushed_since(lanes).tolist():
            one = slice(i, i + 1)
            heard = self.playback.flush(int(lanes[i]), self.playing[i])
            self.background.mix(lanes[one], np.array([heard]), self.playing[one])
            if self._shaping:
                self._shape(lanes[one], self.playing[one])
            if i < len(laws):
                self._encode(lanes[one], laws[one], one, np.ones(1, np.bool_))
        self._fill_packets(tick, lanes[: len(laws)])
        return self.playback.commit(tick, lanes, self._table.generation)

    def commit(self, lanes: Int64, with_sockets: int) -> None:
        """Store what is sent in the table's columns. The first of `lanes`, so many, have sockets."""
        table = self._table
        self._downsampler.advance(lanes[:with_sockets], self.playing[:with_sockets])
        table.tx_packets[self._sent] += 1
        table.tx_octets[self._sent] += self._sent_octets
        table.tx_sequence[self._sent] += 1
        self.playback.store(lanes)
        self.background.advance(lanes)

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

    def _fill_packets(self, tick: int, lanes: Int64) -> None:
        """Put headers and payloads together, and decide which lanes send."""
        sequence = self._table.tx_sequence[lanes]
        sending = self._sending[lanes] & self._peers.reachable[lanes]
        frames = self._frames_per_packet[lanes]
        age = tick - self._opened_tick[lanes]
        part = age % frames
        now = self._first_timestamp[lanes] + FRAME * age
        complete = sending & (part == frames - 1)
        octets = frames * FRAME
        self.views = {}
        if frames.max(initial=1) == 1:
            self.packets.set_frames(lanes, self._codes[: len(lanes)])
        else:
            for number in range(MAX_SENT_FRAMES):
                which = np.flatnonzero(part == number)
                self.packets.set_frames(lanes[which], self._codes[which], number)
            several = complete & (frames > 1)
            for row, count in zip(lanes[several].tolist(), frames[several].tolist(), strict=True):
                self.views[row] = self.packets.view(row, count)
        self.packets.set_numbers(lanes, sequence, now - FRAME * part)
        for row in self._digits.rows().tolist():
            i = int(np.searchsorted(lanes, row))
            data = self._digit_packet(row, int(sequence[i]), int(now[i]))
            if data is not None and sending[i]:
                self.views[row] = data
                complete[i], octets[i] = True, len(data) - 12
        self._sent, self._sent_octets = lanes[complete], octets[complete]
        self.rows = self._sent.tolist()

    def _digit_packet(self, row: int, sequence: int, timestamp: int) -> bytes | None:
        event = self._digits.next(row, timestamp & 0xFFFF_FFFF)
        event_type = int(self._event_type[row])
        if event is None or event_type == _NO_TYPE:
            return None
        payload, marker, stamp = event
        return packet(event_type, sequence, stamp, int(self._ssrc[row]), payload, marker=marker)
