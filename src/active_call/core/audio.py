"""The one audio format inside: 16-bit PCM, mono, 16 kHz, in ticks of 20 ms."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Samples per second of all audio between the planes."""

TICK_MS = 20
TICK_SECONDS = TICK_MS / 1000
TICK_NS = TICK_MS * 1_000_000
TICK_SAMPLES = SAMPLE_RATE * TICK_MS // 1000
"""Samples of one lane in one tick: 320."""

Pcm: TypeAlias = NDArray[np.int16]
"""Samples of one stream, shape (samples,), or of many lanes, shape (lanes, samples)."""


def samples_to_ms(samples: int) -> int:
    """Duration of `samples` at 16 kHz in whole milliseconds."""
    return samples * 1000 // SAMPLE_RATE


def ms_to_samples(ms: float) -> int:
    """Number of 16 kHz samples in `ms` milliseconds."""
    return int(ms * SAMPLE_RATE / 1000)
