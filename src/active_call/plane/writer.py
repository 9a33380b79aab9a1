"""Recording: a thread that copies what lanes receive and send from the table's rings into stereo files.

It lags 300 ms behind the tick and takes up to a second at a time, lanes spread evenly over the ticks. The rings
hold 2 s: audio that it could not fetch in time becomes silence, so a file never gets shorter than the call.
"""

import logging
import threading
from collections import deque
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final, TypeAlias

import numpy as np

from active_call.core.audio import SAMPLE_RATE, TICK_MS, TICK_SAMPLES, Pcm, ms_to_samples, samples_to_ms
from active_call.dsp.rate import RateConverter
from active_call.lanes.messages import RecordingClosed
from active_call.lanes.ring import ring_read
from active_call.lanes.table import HEARD_SAMPLES, Table
from active_call.plane.priority import leave_real_time
from active_call.plane.wav import StereoWav

_log = logging.getLogger(__name__)

LAG_SAMPLES: Final = ms_to_samples(300)
_REACH: Final = HEARD_SAMPLES - TICK_SAMPLES  # the oldest tick is the one that is overwritten next
_WAKE_TICKS: Final = 5
_LEAST_CHUNK_MS: Final = 200
_MOST_CHUNK_MS: Final = 1000
_LEAST_RATE: Final = 8000
_MOST_RATE: Final = 48_000
_RATE_STEP: Final = 25
"""Hz; the matrix of a converter to 47,999 Hz would take 6 GB."""


@dataclass(frozen=True, slots=True)
class _Start:
    row: int
    generation: int
    path: str
    rate_hz: int
    flush_ms: int
    position: int
    resume: bool


@dataclass(frozen=True, slots=True)
class _Stop:
    """The end of a recording, with a copy of what the rings held: the row may be another lane's soon."""

    row: int
    position: int
    said: Pcm
    sent: Pcm


_Item: TypeAlias = _Start | _Stop | int | None


class Recorder:
    """Records lanes of `table` into files.

    With `threaded` False everything happens within the calls, for tests.
    """

    def __init__(self, table: Table, *, threaded: bool = True) -> None:
        self._table = table
        self._writer = _Writer(table)
        self._items: SimpleQueue[_Item] = SimpleQueue()
        self._generation: dict[int, int] = {}
        self._next_wake = 0
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True) if threaded else None
        if self._thread:
            self._thread.start()

    def start(self, row: int, generation: int, path: str, rate_hz: int, flush_ms: int, position: int) -> None:
        """Record the lane from lane `position` on.

        If the table says that the lane has been recorded from just there, another process has: its file is
        continued. What can't be done is told by RecordingClosed.
        """
        if row in self._generation:
            self.stop(row, position)
        resume = int(self._table.record_from[row]) == position
        self._table.record_from[row] = position
        self._generation[row] = generation
        self._put(_Start(row, generation, path, rate_hz, flush_ms, position, resume))

    def stop(self, row: int, position: int) -> None:
        """End the lane's file before lane `position`, which the tick has reached. Nothing if none is open."""
        if self._generation.pop(row, None) is None:
            return
        self._table.record_from[row] = -1
        self._put(_Stop(row, position, _said(self._table, row).copy(), self._table.sent[row].copy()))

    def advance(self, tick: int) -> None:
        """Let the thread work from time to time. Call it once per tick."""
        if tick >= self._next_wake and self._generation:
            self._next_wake = tick + _WAKE_TICKS
            if self._items.empty():
                self._put(tick)

    def collect(self, tick: int) -> list[RecordingClosed]:
        """The files closed since the last call, told as of `tick`."""
        told = []
        for _ in range(len(self._writer.closed)):
            start, frames, error = self._writer.closed.popleft()
            if self._generation.get(start.row) == start.generation and error:
                del self._generation[start.row]
                self._table.record_from[start.row] = -1
            told.append(RecordingClosed(start.row, start.generation, tick, start.path, frames, error))
        return told

    def close(self) -> None:
        """Finish all files and stop the thread."""
        for row in list(self._generation):
            self.stop(row, int(self._table.position[row]))
        if self._thread:
            self._items.put(None)
            self._thread.join()
            self._thread = None

    def _put(self, item: _Start | _Stop | int) -> None:
        if self._thread:
            self._items.put(item)
        else:
            self._writer.take(item)

    def _work(self) -> None:
        leave_real_time()
        while (item := self._items.get()) is not None:
            try:
                self._writer.take(item)
            except Exception:  # a fault in one recording must not end all others
                _log.exception("recording failed")


@dataclass(slots=True)
class _Recording:
    start: _Start
    file: StereoWav
    converter: RateConverter | None
    next: int
    """Lane position of the next sample to fetch."""
    due_tick: int
    chunk_ticks: int


class _Writer:
    """All that the thread owns; `closed` is what the tick takes away."""

    def __init__(self, table: Table) -> None:
        self.closed: deque[tuple[_Start, int, str]] = deque()
        self.lost_samples = 0
        """What was no longer in the rings when it was fetched, in all recordings; the first time is logged."""
        self._table = table
        self._recordings: dict[int, _Recording] = {}

    def take(self, item: _Start | _Stop | int) -> None:
        if isinstance(item, _Start):
            self._start(item)
        elif isinstance(item, _Stop):
            self._stop(item)
        else:
            for recording in [due for due in self._recordings.values() if item >= due.due_tick]:
                self._fetch(recording, item)

    def _start(self, start: _Start) -> None:
        try:
            recording = _open(start, self._table.get("tick"))
        except (OSError, ValueError) as error:
            self.closed.append((start, 0, str(error)))
        else:
            self._recordings[start.row] = recording

    def _fetch(self, recording: _Recording, tick: int) -> None:
        recording.due_tick = tick + recording.chunk_ticks
        row = recording.start.row
        until = int(self._table.position[row]) - LAG_SAMPLES
        if until <= recording.next:
            return
        first = max(recording.next, until + LAG_SAMPLES - _REACH)
        audio = _interleave(_said(self._table, row), self._table.sent[row], first, until)
        position = int(self._table.position[row])
        if position < until:  # the lane was closed meanwhile: its end is on the queue
            return
        audio[: max(position - _REACH - first, 0)] = 0  # overwritten while it was copied
        try:
            self._append(recording, first, audio)
        except OSError as error:
            self._close(recording, error)

    def _stop(self, stop: _Stop) -> None:
        recording = self._recordings.get(stop.row)
        if recording is None:
            return
        first = min(max(recording.next, stop.position - HEARD_SAMPLES), stop.position)
        audio = _interleave(stop.said, stop.sent, first, stop.position)
        try:
            self._append(recording, first, audio, last=True)
        except OSError as error:
            self._close(recording, error)
        else:
            self._close(recording)

    def _append(self, recording: _Recording, first: int, audio: Pcm, *, last: bool = False) -> None:
        """Write `audio`, shape (n, 2), that begins at lane position `first`; silence up to there."""
        lost = first - recording.next
        if lost > 0:
            if not self.lost_samples:
                _log.warning(
                    "%s: %d ms came too late and are silent", recording.start.path, samples_to_ms(lost)
                )
            self.lost_samples += lost
            audio = np.concatenate((np.zeros((lost, 2), np.int16), audio))
        recording.next = first + len(audio) - max(lost, 0)
        if recording.converter:
            audio = np.ascontiguousarray(recording.converter.convert(audio.T, last=last).T)
        recording.file.append(audio)

    def _close(self, recording: _Recording, error: OSError | None = None) -> None:
        del self._recordings[recording.start.row]
        try:
            recording.file.close()
        except OSError as failed:
            error = error or failed
        self.closed.append((recording.start, recording.file.frames, str(error) if error else ""))


def _open(start: _Start, tick: int) -> _Recording:
    """Raises OSError, and ValueError for a rate that isn't supported."""
    if not _LEAST_RATE <= start.rate_hz <= _MOST_RATE or start.rate_hz % _RATE_STEP:
        raise ValueError(
            f"{start.rate_hz} Hz: recordings have {_LEAST_RATE} to {_MOST_RATE}, in steps of {_RATE_STEP}"
        )
    file = StereoWav(start.path, start.rate_hz, resume=start.resume)
    converter = None
    have = file.frames
    if start.rate_hz != SAMPLE_RATE:
        converter = RateConverter(start.rate_hz, 2)
        blocks = file.frames // converter.block_out
        have = blocks * converter.block
        file.truncate(blocks * converter.block_out)
    chunk_ticks = min(max(start.flush_ms, _LEAST_CHUNK_MS), _MOST_CHUNK_MS) // TICK_MS
    return _Recording(
        start, file, converter, start.position + have, tick + start.row % chunk_ticks, chunk_ticks
    )


def _said(table: Table, row: int) -> Pcm:
    """The ring that has what the lane's peer said, with its noise."""
    ring: Pcm = (table.original if table.original_kept[row] else table.received)[row]
    return ring


def _interleave(said: Pcm, sent: Pcm, first: int, until: int) -> Pcm:
    """What two rings hold between two lane positions, shape (n, 2): left and right."""
    frames = np.empty((until - first, 2), np.int16)
    frames[:, 0] = ring_read(said, first, until - first)
    frames[:, 1] = ring_read(sent, first, until - first)
    return frames
