"""Moving a tick of audio of many lanes in and out of their rings, and fading it."""

import numpy as np
from numpy.typing import NDArray

from active_call.lanes.ring import ring_read, ring_write


class RingWindow:
    """Reads and writes `samples` consecutive samples per lane at any position of its ring.

    The ring is viewed as overlapping items of `samples` samples, one starting at each sample, so NumPy moves
    each lane's part as one item. The few lanes whose part wraps around the ring's end are done one by one.
    """

    def __init__(self, ring: NDArray[np.int16], samples: int) -> None:
        self._ring = ring
        self._samples = samples
        self._size = ring.shape[1]
        self._last_start = self._size - samples
        self._item = np.dtype((np.void, 2 * samples))
        self._items: NDArray[np.void] = np.ndarray(
            (ring.shape[0], self._last_start + 1), self._item, ring.data, strides=ring.strides
        )

    def read(self, rows: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int16]:
        """A copy, shape (n, samples), of the rings of `rows` (n,) from absolute `positions` (n,)."""
        starts = positions % self._size
        wrapping = starts > self._last_start
        if not wrapping.any():
            return self._fetch(rows, starts)
        starts[wrapping] = 0
        out = self._fetch(rows, starts)
        for index in np.flatnonzero(wrapping):
            out[index] = ring_read(self._ring[rows[index]], int(positions[index]), self._samples)
        return out

    def _fetch(self, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int16]:
        samples: NDArray[np.int16] = self._items[rows, starts].view(np.int16)
        return samples.reshape(len(rows), self._samples)

    def write(self, rows: NDArray[np.int64], positions: NDArray[np.int64], samples: NDArray[np.int16]) -> None:
        """Copy `samples` (n, samples), contiguous, into the rings of `rows` (n,) at `positions` (n,)."""
        starts = positions % self._size
        items = samples.view(self._item)[:, 0]
        wrapping = starts > self._last_start
        if not wrapping.any():
            self._items[rows, starts] = items
            return
        whole = ~wrapping
        self._items[rows[whole], starts[whole]] = items[whole]
        for index in np.flatnonzero(wrapping):
            ring_write(self._ring[rows[index]], int(positions[index]), samples[index])


def fade_out(samples: NDArray[np.int16], done: int, length: int) -> NDArray[np.int16]:
    """Samples (n,) on a straight line down to nothing after `length` samples, `done` of which are past."""
    line = 1.0 - (done + 1 + np.arange(len(samples))) / max(length, 1)
    faded: NDArray[np.int16] = (samples * np.maximum(line, 0.0)).astype(np.int16)
    return faded
