"""From ticks to the windows of a model: the last second of every lane, cut into windows.

A tick (20 ms) and a window (32 ms) are both multiples of 4 ms, so audio is kept in blocks of 4 ms and moved a
block at a time, for all lanes in one operation.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import Pcm, ms_to_samples

_BLOCK_MS: Final = 4
_TICK_BLOCKS: Final = 5
WINDOW_BLOCKS: Final = 8
WINDOW: Final = ms_to_samples(WINDOW_BLOCKS * _BLOCK_MS)
"""Length of a window, 32 ms, in 16 kHz samples."""
_BLOCK: Final = ms_to_samples(_BLOCK_MS)
_KEPT_BLOCKS: Final = 256
"""1 s."""


class Windows:
    """The windows of `capacity` lanes at one rate, 8000 or 16000 Hz, numbered from 0 in each lane."""

    def __init__(self, capacity: int, rate_hz: int) -> None:
        self._samples = np.zeros((capacity, _KEPT_BLOCKS, rate_hz * _BLOCK_MS // 1000), np.int16)
        self._written = np.zeros(capacity, np.int64)  # blocks
        self._origin = np.full(capacity, -1, np.int64)
        self._expected = np.full(capacity, -1, np.int64)

    def reset(self, row: int) -> None:
        """The next audio of the lane starts anew."""
        self._expected[row] = -1

    def continues(self, rows: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where audio at `positions` adjoins what `rows` got before."""
        adjoins: NDArray[np.bool_] = self._expected[rows] == positions
        return adjoins

    def restart(self, rows: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
        """Start `rows` anew at `positions`, preceded by up to 28 ms of silence.

        Lanes that start in the same tick would have their windows ready in the same ticks, five of eight; so
        the silence depends on the row and spreads them evenly.
        """
        lead = rows % WINDOW_BLOCKS
        self._samples[rows] = 0
        self._written[rows] = lead
        self._origin[rows] = positions - lead * _BLOCK
        self._expected[rows] = positions

    def write(self, rows: NDArray[np.int64], audio: Pcm) -> NDArray[np.bool_]:
        """Append one tick, shape (n, samples), to each of `rows`. Returns which completed a window."""
        written = self._written[rows]
        blocks = (written[:, None] + np.arange(_TICK_BLOCKS)) % _KEPT_BLOCKS
        self._samples[rows[:, None], blocks] = audio.reshape(len(rows), _TICK_BLOCKS, self._samples.shape[2])
        self._written[rows] = written + _TICK_BLOCKS
        self._expected[rows] += _TICK_BLOCKS * _BLOCK
        return (written + _TICK_BLOCKS) // WINDOW_BLOCKS > written // WINDOW_BLOCKS

    def complete(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many windows of each of `rows` are complete."""
        return self._written[rows] // WINDOW_BLOCKS

    def starts(self, rows: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Lane positions at which the windows with these numbers start."""
        return self._origin[rows] + numbers * WINDOW

    def read(self, rows: NDArray[np.int64], numbers: NDArray[np.int64], context: int = 0) -> Pcm:
        """One window of each of `rows`, with `context` blocks before it: shape (n, samples).

        Of the last second; before a lane's first sample is silence.
        """
        first = numbers[:, None] * WINDOW_BLOCKS - context
        blocks = (first + np.arange(context + WINDOW_BLOCKS)) % _KEPT_BLOCKS
        samples: Pcm = self._samples[rows[:, None], blocks]
        return samples.reshape(len(rows), -1)
