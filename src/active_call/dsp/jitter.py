"""The jitter buffer of all lanes: packets go to the slot of the tick that plays them.

Slot = playout tick modulo the number of slots, so a tick reads one contiguous block. One integer per lane, the
*offset*, maps RTP time to playout time (both in 8 kHz samples; playout time 0 is tick 0); late, early,
reordered and duplicate packets are comparisons with it for all lanes at once. A packet's *margin* is the number
of ticks it waits; the greatest margin of late is the delay the buffer adds, the spread between greatest and
smallest is what the network needs.

Delay is added at once when a late packet finds an empty buffer (everything is behind it), and otherwise, like
all that is taken away, one frame at a time when the lane is silent or a frame is missing anyway. A lost packet
has no margin, so loss never adds delay. Clock drift shows as a slowly moving margin and is corrected likewise.

What is kept are G.711 codes, 160 per tick. Packets of other codecs stay elsewhere (see dsp.unpacking), and
each 10 ms of them is here as 80 bytes of which the first eight are a *handle*, a number other than 0. So there
is one idea of time for all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from active_call.dsp.g711 import G711, SILENCE
from active_call.dsp.rtp import FRAME, HALF_FRAME, PacketMatrix

Int64 = NDArray[np.int64]
Flags = NDArray[np.bool_]

SLOTS: Final = 32
MAX_DELAY: Final = 5
"""Ticks: 100 ms."""
_EARLIEST = 16
"""A packet that would wait longer (ticks) is a jump of the peer's timestamps."""
_LATEST = -50
_WINDOW = 64
"""Margins are judged over two windows of so many ticks; each tick judges the lanes whose turn it is."""
_MAX_DROPOUT, _MAX_MISORDER = 3_000, 100
"""RFC 3550 §A.1."""
_LATE_RUN, _LATE_TICKS = 5, 10
"""So many late packets in a row over so many ticks: the stream has moved for good."""
_STRAGGLER_TICKS = 50
_LONGEST = 800
"""Codes of a packet that are heard: 100 ms."""
SILENT_LEVEL: Final = 256
"""No sample of a silent frame is louder."""
_FRAME_ITEM = np.dtype((np.void, FRAME))
_NONE = 1_000


@dataclass(slots=True)
class Accepted:
    """What `receive` made of n packets; each field has shape (n,)."""

    duplicate: Flags
    late: Flags
    new_ssrc: Flags
    """The first packet of another stream than before (not of the lane's first)."""
    lost: Int64
    """Packets missing since the lane's first packet (RFC 3550 §A.3)."""


class JitterBuffer:
    """Jitter buffers of `capacity` lanes at 20 ms per tick."""

    def __init__(self, capacity: int) -> None:
        self._codes = np.zeros((SLOTS, capacity, FRAME), np.uint8)
        self._frames: NDArray[np.void] = self._codes.view(_FRAME_ITEM)[..., 0]
        self._handles: NDArray[np.uint64] = self._codes.view(np.uint64)[..., :: HALF_FRAME // 8]
        self._filled = np.zeros((SLOTS, capacity), np.int16)
        self._silence = np.zeros((capacity, FRAME), np.uint8)
        self._silent_frames: NDArray[np.void] = self._silence.view(_FRAME_ITEM)[:, 0]
        self._judge = G711(capacity, FRAME)
        self._has_handles = np.zeros(capacity, np.bool_)
        self.quiet = np.zeros(capacity, np.bool_)
        """Lanes with handles that are silent now, as far as whoever decodes them has heard."""

        def column(initial: int = 0) -> Int64:
            return np.full(capacity, initial, np.int64)

        self._started = np.zeros(capacity, np.bool_)
        self._ssrc, self._old_ssrc = column(-1), column(-1)
        self._changed_tick, self._begun_tick = column(), column(-1)
        self._base, self.highest = column(), column()
        self._bad_next = column(-1)
        self._seen = np.zeros(capacity, np.uint64)
        self._received, self._lost_before = column(), column()
        self._stamp, self._offset, self._end = column(), column(), column()
        self._minimum = column(2)
        self.delay = column(2)
        """Ticks that the earliest packets wait."""
        self.clock_hz = column(8000)
        """Of the peer's timestamps, before they became those of 8 kHz."""
        self._want = column()
        self._most, self._least = column(-_NONE), column(_NONE)
        self._most_before, self._least_before = column(-_NONE), column(_NONE)
        self._late_run, self._late_since, self._late_sequence = column(), column(), column()

    def open(self, row: int, *, law: int | None, delay_ms: int, lost: int = 0) -> None:
        """Empty the lane's buffer; `lost` is where its count of lost packets goes on from."""
        self._started[row] = False
        self.clock_hz[row] = 8000
        self._ssrc[row] = self._old_ssrc[row] = -1
        self._lost_before[row] = lost
        self.configure(row, law=law, delay_ms=delay_ms)
        self.delay[row] = self._minimum[row]
        self._wipe(np.array([row]))

    def configure(self, row: int, *, law: int | None, delay_ms: int) -> None:
        """Set the lane's companding law, None for handles, and its smallest delay (20 to 100 ms)."""
        self._minimum[row] = min(max(-(-delay_ms // 20), 1), MAX_DELAY)
        silence = 0 if law is None else SILENCE[law]
        if self._silence[row, 0] != silence:
            self._silence[row] = silence
            self._has_handles[row] = law is None
            self.clock_hz[row] = 8000
            self._wipe(np.array([row]))

    def to_handles(self, row: int, keep: Callable[[bytes], Int64]) -> None:
        """From now on the lane has handles. `keep` gets the codes of each tick still queued and names them."""
        queued = {int(slot): self._codes[slot, row].tobytes() for slot in np.flatnonzero(self._filled[:, row])}
        self._silence[row] = 0
        self._has_handles[row] = True
        self._frames[:, row] = self._silent_frames[row]
        for slot, codes in queued.items():
            self._handles[slot, row] = keep(codes)

    def following(self, tick: int, row: int) -> int:
        """The handle of what plays first after `tick`; 0 if it isn't there."""
        return int(self._handles[(tick + 1) % SLOTS, row, 0])

    def restart(self, tick: int, row: int, timestamp: int) -> None:
        """The peer's clock changed: what it stamps `timestamp` is to follow what is queued."""
        self._stamp[row] = timestamp
        self._anchor(tick, np.array([row]), np.array([timestamp]))

    def pause(self, rows: Int64, tick: int) -> None:
        """Drop what is queued for later than `tick`."""
        self._wipe(rows)
        self._end[rows] = tick * FRAME

    def receive(
        self,
        tick: int,
        rows: Int64,
        sequence: Int64,
        timestamp: Int64,
        ssrc: Int64,
        audio: Flags,
        length: Int64,
        matrix: PacketMatrix,
        index: Int64,
    ) -> Accepted:
        """Take one packet of each of `rows` (n,), all different; `tick` is the next to be played.

        `length` (n,) bytes of payload stand at `index` (n,) of `matrix`. Packets that aren't `audio` (events,
        comfort noise) are only counted.
        """
        started = self._started[rows]
        new_ssrc = started & (ssrc != self._ssrc[rows])
        ignored = None
        if not started.all() or new_ssrc.any():
            ignored = new_ssrc & (ssrc == self._old_ssrc[rows])
            ignored &= tick - self._changed_tick[rows] < _STRAGGLER_TICKS
            new_ssrc &= ~ignored
            self._begin(tick, rows, sequence, timestamp, ssrc, ~started, new_ssrc)
        step = _signed(sequence - self.highest[rows], 16)
        jump = (step >= _MAX_DROPOUT) | (step <= -_MAX_MISORDER)
        if jump.any():
            if ignored is not None:
                jump &= ~ignored
            sure = jump & (sequence == self._bad_next[rows])
            self._bad_next[rows[jump]] = (sequence[jump] + 1) & 0xFFFF
            none = np.zeros(len(rows), np.bool_)
            self._begin(tick, rows, sequence, timestamp, ssrc, none, sure)
            step[sure] = 1
            unsure = jump & ~sure
            ignored = unsure if ignored is None else ignored | unsure
        newer = step > 0
        duplicate = self._count(rows, step, newer, ignored)
        if ignored is not None:
            audio = audio & ~ignored
            newer &= ~ignored
        late = self._place(tick, rows, timestamp, newer, audio & ~duplicate, length, matrix, index)
        if ignored is not None:
            late |= ignored
        lost = self._lost_before[rows] + self.highest[rows] - self._base[rows] + 1 - self._received[rows]
        return Accepted(duplicate, late, new_ssrc, lost)

    def playout(self, tick: int, rows: Int64, laws: NDArray[Any], out: NDArray[np.uint8]) -> Flags:
        """The codes that `rows` (n,) play at `tick` into `out` (n, 160). Returns which lanes have any."""
        slot = tick % SLOTS
        want = self._want[rows]
        if want.any():
            self._adapt(tick, slot, rows[want != 0], laws[want != 0])
        out.view(_FRAME_ITEM)[:, 0] = self._frames[slot, rows]
        present: Flags = self._filled[slot, rows] != 0
        self._frames[slot, rows] = self._silent_frames[rows]
        self._filled[slot, rows] = 0
        return present

    def judge(self, tick: int) -> None:
        """Once per tick: compare delay and need of the lanes whose turn it is."""
        turn = slice(tick % _WINDOW, None, _WINDOW)
        most, least = self._most[turn], self._least[turn]
        heard = most > -_NONE
        both = heard & (self._most_before[turn] > -_NONE)
        greatest = np.maximum(most, self._most_before[turn])
        spread = greatest - np.minimum(least, self._least_before[turn])
        target = np.clip(spread, self._minimum[turn], MAX_DELAY)
        standing = np.minimum(most, self._most_before[turn])
        change = np.where(standing > target, target - standing, np.maximum(target - greatest, 0))
        self._want[turn] = np.where(both, change, 0)
        self.delay[turn] = np.where(heard, np.maximum(most, 0), self.delay[turn])
        self._most_before[turn], self._least_before[turn] = most, least
        self._most[turn], self._least[turn] = -_NONE, _NONE

    def reception(self, row: int) -> tuple[int, int, int, int] | None:
        """SSRC, first and highest extended sequence number, packets lost: for RTCP. None before any packet."""
        if not self._started[row]:
            return None
        base, highest = int(self._base[row]), int(self.highest[row])
        lost = int(self._lost_before[row]) + highest - base + 1 - int(self._received[row])
        return int(self._ssrc[row]), base, highest, lost

    def _begin(
        self,
        tick: int,
        rows: Int64,
        sequence: Int64,
        timestamp: Int64,
        ssrc: Int64,
        first: Flags,
        again: Flags,
    ) -> None:
        """Set streams up so that their present packet is the next in order."""
        if again.any():
            at = rows[again]
            self._lost_before[at] += self.highest[at] - self._base[at] + 1 - self._received[at]
            switched = ssrc[again] != self._ssrc[at]
            self._old_ssrc[at[switched]] = self._ssrc[at[switched]]
            self._changed_tick[at] = tick
        which = first | again
        at = rows[which]
        self._started[at] = True
        self._begun_tick[at] = tick
        self._ssrc[at] = ssrc[which]
        self._base[at] = sequence[which]
        self.highest[at] = sequence[which] - 1
        self._bad_next[at] = -1
        self._seen[at] = 0
        self._received[at] = 0
        self._stamp[at] = timestamp[which]
        self._anchor(tick, at, timestamp[which])

    def _anchor(self, tick: int, rows: Int64, stamp: Int64) -> None:
        """Play RTP time `stamp` after the lane's delay, or after what is queued if that is little more."""
        delay = np.minimum(self.delay[rows], MAX_DELAY)
        queued = np.clip(-(-self._end[rows] // FRAME) - tick, delay, MAX_DELAY)
        self._offset[rows] = (tick + queued) * FRAME - stamp
        self._late_run[rows] = 0
        self._want[rows] = 0
        self._most[rows] = self._most_before[rows] = -_NONE
        self._least[rows] = self._least_before[rows] = _NONE

    def _count(self, rows: Int64, step: Int64, newer: Flags, ignored: Flags | None) -> Flags:
        """Advance the highest sequence numbers and the bitmap of the 64 last seen. Returns the duplicates."""
        seen = self._seen[rows]
        distance = np.minimum(np.abs(step), 63).astype(np.uint64)
        one = np.uint64(1)
        bit = np.where(newer, one, one << distance)
        duplicate: Flags = ~newer & ((seen & bit) != 0)
        moved = np.where(newer, np.where(step > 63, np.uint64(0), seen << distance), seen) | bit
        highest = np.where(newer, self.highest[rows] + step, self.highest[rows])
        if ignored is None:
            self._seen[rows], self.highest[rows] = moved, highest
            self._received[rows] += ~duplicate
        else:
            duplicate &= ~ignored
            at = rows[~ignored]
            self._seen[at], self.highest[at] = moved[~ignored], highest[~ignored]
            self._received[at] += ~duplicate[~ignored]
        return duplicate

    def _place(
        self,
        tick: int,
        rows: Int64,
        timestamp: Int64,
        newer: Flags,
        audio: Flags,
        length: Int64,
        matrix: PacketMatrix,
        index: Int64,
    ) -> Flags:
        """Put audio into its slots. Returns which packets came late."""
        before = self._stamp[rows]
        stamp = before + _signed(timestamp - before, 32)
        self._stamp[rows] = np.where(newer & audio, stamp, before)
        start = stamp + self._offset[rows]
        margin = start // FRAME - tick
        late = (margin < 0) & audio
        if ((margin > self.delay[rows]) | late).any():
            margin = self._realign(tick, rows, stamp, margin, newer, audio)
            start = stamp + self._offset[rows]
            late &= margin < 0
        if audio.all():
            self._most[rows] = np.maximum(self._most[rows], margin)
            self._least[rows] = np.minimum(self._least[rows], margin)
        else:
            at = rows[audio]
            self._most[at] = np.maximum(self._most[at], margin[audio])
            self._least[at] = np.minimum(self._least[at], margin[audio])
        plain = audio & (margin >= 0) & (length == FRAME) & (start % FRAME == 0)
        slot = start // FRAME % SLOTS
        if plain.all():
            self._frames[slot, rows] = matrix.frames[index]
            self._filled[slot, rows] = FRAME
            self._end[rows] = np.maximum(self._end[rows], start + FRAME)
            return late
        at = rows[plain]
        self._frames[slot[plain], at] = matrix.frames[index[plain]]
        self._filled[slot[plain], at] = FRAME
        self._end[at] = np.maximum(self._end[at], start[plain] + FRAME)
        odd = audio & ~plain & (start + length > tick * FRAME) & (margin <= _EARLIEST)
        if odd.any():
            self._scatter(tick, rows[odd], start[odd], length[odd], matrix.payload[index[odd]])
        return late

    def _scatter(self, tick: int, rows: Int64, start: Int64, length: Int64, payload: NDArray[np.uint8]) -> None:
        """Put packets of any length at any place, sample by sample."""
        column, length = np.arange(_LONGEST), np.minimum(length, _LONGEST)
        time = start[:, None] + column
        packet, source = np.nonzero((column < length[:, None]) & (time >= tick * FRAME))
        time = time[packet, source]
        slot, row = time // FRAME % SLOTS, rows[packet]
        self._codes[slot, row, time % FRAME] = payload[packet, source]
        np.add.at(self._filled, (slot, row), np.int16(1))
        self._end[rows] = np.maximum(self._end[rows], start + length)

    def _realign(
        self, tick: int, rows: Int64, stamp: Int64, margin: Int64, newer: Flags, audio: Flags
    ) -> Int64:
        """Move the offsets of lanes whose packets are late or far off. Returns the new margins."""
        late = audio & newer & (margin < 0)
        following = self.highest[rows] - 1 == self._late_sequence[rows]
        run = np.where(late & following, self._late_run[rows] + 1, late.astype(np.int64))
        self._late_run[rows] = run
        self._late_sequence[rows[late]] = self.highest[rows[late]]
        self._late_since[rows[late & (run == 1)]] = tick
        empty = self._end[rows] <= tick * FRAME
        stuck = late & empty & (run >= _LATE_RUN) & (tick - self._late_since[rows] >= _LATE_TICKS)
        far = audio & ((margin > _EARLIEST) | (newer & (margin < _LATEST)))
        # What had piled up before the stream could be heard would stand in the buffer for ever: keep the last.
        piled = audio & newer & (margin > self.delay[rows]) & (self._begun_tick[rows] == tick)
        if piled.any():
            self._wipe(rows[piled])
        jumped = far | stuck | piled
        if jumped.any():
            self._anchor(tick, rows[jumped], stamp[jumped])
        behind = late & empty & ~jumped & (-margin <= MAX_DELAY - self.delay[rows])
        if behind.any():
            self._shift_margins(rows[behind], -margin[behind])
        return (stamp + self._offset[rows]) // FRAME - tick

    def _shift_margins(self, rows: Int64, ticks: Int64) -> None:
        """Play everything of `rows` later by `ticks`."""
        self._offset[rows] += ticks * FRAME
        self._end[rows] += ticks * FRAME
        for column in (self.delay, self._most, self._least, self._most_before, self._least_before):
            column[rows] += np.where(np.abs(column[rows]) == _NONE, 0, ticks)

    def _adapt(self, tick: int, slot: int, rows: Int64, laws: NDArray[Any]) -> None:
        """Add or drop one frame on those lanes that may do so unnoticed."""
        samples = np.empty((len(rows), FRAME), np.int16)
        self._judge.decode(self._codes[slot, rows], laws, samples)
        quiet = np.abs(samples).max(axis=1) <= SILENT_LEVEL
        quiet = np.where(self._has_handles[rows], self.quiet[rows], quiet) | (self._filled[slot, rows] == 0)
        adding, dropping = quiet & (self._want[rows] > 0), quiet & (self._want[rows] < 0)
        for which, step in ((adding, 1), (dropping, -1)):
            at = rows[which]
            if not len(at):
                continue
            moved = (slot + np.arange(SLOTS - 1)) % SLOTS
            source, target = (moved, (moved + 1) % SLOTS) if step > 0 else ((moved + 1) % SLOTS, moved)
            self._frames[target[:, None], at] = self._frames[source[:, None], at]
            self._filled[target[:, None], at] = self._filled[source[:, None], at]
            # An added frame is what the slot had: silence, or nothing, which is then concealed.
            freed = slot if step > 0 else (slot - 1) % SLOTS
            self._frames[freed, at] = self._silent_frames[at]
            if step < 0:
                self._filled[freed, at] = 0
            self._want[at] -= step
            self._shift_margins(at, np.full(len(at), step))

    def _wipe(self, rows: Int64) -> None:
        self._frames[:, rows] = self._silent_frames[rows]
        self._filled[:, rows] = 0
        self._end[rows] = 0


def _signed(difference: Int64, bits: int) -> Int64:
    """The difference of two numbers of so many bits, as the nearest signed value."""
    half, mask = 1 << (bits - 1), (1 << bits) - 1
    return ((difference + half) & mask) - half
