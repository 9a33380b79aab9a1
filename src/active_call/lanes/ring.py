"""Reading and writing one lane's ring by absolute position."""

import numpy as np

from active_call.core.audio import Pcm


def ring_write(ring: Pcm, position: int, samples: Pcm) -> None:
    """Copy `samples` into `ring` (shape (size,)) at absolute `position`, wrapping. At most size samples."""
    size = len(ring)
    if len(samples) > size:
        raise ValueError(f"{len(samples)} samples do not fit into a ring of {size}")
    start = position % size
    first = min(len(samples), size - start)
    ring[start : start + first] = samples[:first]
    if first < len(samples):
        ring[: len(samples) - first] = samples[first:]


def ring_read(ring: Pcm, position: int, count: int) -> Pcm:
    """A copy of `count` samples of `ring` from absolute `position`, wrapping."""
    size = len(ring)
    start = position % size
    first = min(count, size - start)
    if first == count:
        return ring[start : start + count].copy()
    return np.concatenate((ring[start:], ring[: count - first]))
