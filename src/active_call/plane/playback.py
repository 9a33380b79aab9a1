"""What the lanes play: the playback ring, flushes with their fades, and marks."""

from bisect import insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.dsp.mix import RingWindow, fade_out
from active_call.lanes.messages import Flushed, MarkPlayed
from active_call.lanes.ring import ring_read
from active_call.lanes.table import Table

Int64 = NDArray[np.int64]

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class _Flush:
    """A flush under way: heard from `start`, ever quieter, to `end`; then playback goes on at `target`."""

    start: int
    end: int
    target: int


class Playback:
    """Prepares a tick's playback of many lanes, and commits it, without touching the table in between."""

    def __init__(self, table: Table) -> None:
        self.paused = np.zeros(table.capacity, np.bool_)
        """Lanes whose playback stands still."""
        self.held = np.zeros(table.capacity, np.bool_)
        """Lanes whose playback waits until the keys that we press have sounded."""
        self._table = table
        self._window = RingWindow(table.playback, TICK_SAMPLES)
        self._next_read = np.zeros(table.capacity, np.int64)
        self._flush_seen = np.zeros(table.capacity, np.int64)
        self._flushing: dict[int, _Flush] = {}
        self._prepared: dict[int, _Flush | None] = {}
        self._told: list[tuple[int, _Flush]] = []
        self._marks: dict[int, list[tuple[int, int]]] = {}
        self._next_mark = np.full(table.capacity, _NEVER, np.int64)
        self._skipped: dict[int, _Flush] = {}

    def open(self, row: int) -> None:
        """Forget what the row's former lane played."""
        self.paused[row] = self.held[row] = False
        self._flushing.pop(row, None)
        self._skipped.pop(row, None)
        self._marks.pop(row, None)
        self._next_mark[row] = _NEVER

    def put_mark(self, row: int, mark: int, position: int) -> None:
        """Tell when `position` has been played; not at all if it was flushed."""
        skipped = self._skipped.get(row)
        if skipped and skipped.end < position <= skipped.target:
            return
        marks = self._marks.setdefault(row, [])
        # A spare never plays its marks. What was played seconds ago has been told.
        horizon = int(self._table.play_read[row]) - self._table.playback.shape[1] // 2
        while marks and marks[0][0] < horizon and len(marks) > 1:
            marks.pop(0)
        insort(marks, (position, mark))
        self._next_mark[row] = marks[0][0]

    def prepare(self, rows: Int64, out: Pcm) -> NDArray[np.bool_]:
        """The next 20 ms of `rows` (n,) into `out` (n, 320). Returns which of them play anything."""
        table = self._table
        read, flush = table.play_read[rows], table.play_flush[rows]
        available = np.clip(table.play_write[rows] - read, 0, TICK_SAMPLES)
        available[self.paused[rows] | self.held[rows]] = 0
        playing: NDArray[np.bool_] = available > 0
        if playing.all():
            out[:] = self._window.read(rows, read)
        else:
            out[:] = 0
            out[playing] = self._window.read(rows[playing], read[playing])
        for index in np.flatnonzero(playing & (available < TICK_SAMPLES)):
            out[index, available[index] :] = 0
        self._next_read[rows] = read + available
        self._flush_seen[rows] = flush
        for index in np.flatnonzero(flush > read):
            self._flush(int(rows[index]), out[index])
        return playing

    def flushed_since(self, rows: Int64) -> Int64:
        """The indices (in n) of those `rows` (n,) that were flushed after they were prepared."""
        flush = self._table.play_flush[rows]
        return np.flatnonzero((flush != self._flush_seen[rows]) & (flush > self._table.play_read[rows]))

    def flush(self, row: int, out: Pcm) -> bool:
        """Prepare the row again into `out` (320,), with the flush. Returns whether anything is heard of it."""
        self._flush_seen[row] = self._table.play_flush[row]
        return self._flush(row, out)

    def commit(self, tick: int, rows: Int64, generations: Int64) -> list[Flushed | MarkPlayed]:
        """Make what was prepared of `rows` (n,) final, but for the table. Returns what happened."""
        events: list[Flushed | MarkPlayed] = []
        for row, flush in self._told:
            events.append(Flushed(row, int(generations[row]), tick, flush.end, flush.target))
            self._skip_marks(row, flush)
        self._told.clear()
        for row, remaining in self._prepared.items():
            if remaining is None:
                self._flushing.pop(row, None)
            else:
                self._flushing[row] = remaining
        self._prepared.clear()
        for index in np.flatnonzero(self._next_mark[rows] <= self._next_read[rows]):
            row = int(rows[index])
            events += self._due_marks(tick, row, int(generations[row]))
        return events

    def store(self, rows: Int64) -> None:
        """Write the new read positions of `rows` (n,) to the table."""
        self._table.play_read[rows] = self._next_read[rows]

    def _flush(self, row: int, out: Pcm) -> bool:
        read, target = int(self._table.play_read[row]), int(self._table.play_flush[row])
        flush = self._flushing.get(row)
        if flush is None or flush.target != target:
            fade = max(0, min(int(self._table.flush_fade[row]), target - read))
            if self.paused[row] or self.held[row]:  # nothing is heard that could fade
                fade = 0
            if flush is None:
                flush = _Flush(read, read + fade, target)
            else:  # more was queued and flushed while the fade went on
                flush = _Flush(flush.start, flush.end, target)
            self._told = [(told, other) for told, other in self._told if told != row]
            self._told.append((row, flush))
        heard = min(TICK_SAMPLES, flush.end - read)
        out[:] = 0
        if heard > 0:
            samples = ring_read(self._table.playback[row], read, heard)
            out[:heard] = fade_out(samples, read - flush.start, flush.end - flush.start)
        done = read + heard >= flush.end
        self._prepared[row] = None if done else flush
        self._next_read[row] = target if done else read + heard
        return heard > 0

    def _skip_marks(self, row: int, flush: _Flush) -> None:
        self._skipped[row] = flush
        marks = self._marks.get(row)
        if marks:
            marks[:] = [mark for mark in marks if not flush.end < mark[0] <= flush.target]
            self._next_mark[row] = marks[0][0] if marks else _NEVER

    def _due_marks(self, tick: int, row: int, generation: int) -> list[MarkPlayed]:
        marks = self._marks[row]
        count = sum(position <= self._next_read[row] for position, _ in marks)
        due = [MarkPlayed(row, generation, tick, mark, position) for position, mark in marks[:count]]
        del marks[:count]
        self._next_mark[row] = marks[0][0] if marks else _NEVER
        return due
