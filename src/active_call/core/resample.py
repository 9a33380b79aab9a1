"""Sample rate conversion of one stream, chunk by chunk without seams.

A polyphase windowed sinc: output sample n lies at input position n*M/L (rates reduced to L/M) and is the dot
product of the inputs around it with the filter row of its phase, so any chunking gives the same samples.
"""

from fractions import Fraction
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import SAMPLE_RATE, Pcm

_LOBES = 16
"""Zero crossings of the sinc on each side."""
_BETA = 8.0
"""Kaiser window: stop band about 80 dB down."""
_PASS = 0.93
"""Cut-off as a share of the lower Nyquist frequency."""
_MOST_PHASES = 1000
"""A ratio that needs more is rounded, by 0.05 % at most: the filter of 191,999 Hz would take 600 MB."""
_BLOCK = 8192
"""Output samples per NumPy operation, so that temporaries stay small."""


@lru_cache(maxsize=16)
def _filter(up: int, down: int) -> NDArray[np.float32]:
    """Filter rows by phase, shape (up, taps); each row has unit sum."""
    cutoff = _PASS * min(1.0, up / down)
    half = ceil(_LOBES / cutoff)
    phase = np.arange(up)[:, None] / up
    at = (np.arange(2 * half)[None, :] - (half - 1)) - phase
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (at / half) ** 2, 0, None))) / np.i0(_BETA)
    rows = np.sinc(at * cutoff) * window
    unit: NDArray[np.float32] = (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)
    return unit


class Resampler:
    """Converts int16 samples from `rate` to `to` Hz; output sample 0 is at the time of input sample 0.

    Raises ValueError for rates outside 1,000 to 768,000 Hz.
    """

    def __init__(self, rate: int, to: int = SAMPLE_RATE) -> None:
        if not (1_000 <= rate <= 768_000 and 1_000 <= to <= 768_000):
            raise ValueError(f"can't convert {rate} Hz to {to} Hz")
        self._down, self._up = Fraction(rate, to).limit_denominator(_MOST_PHASES).as_integer_ratio()
        self._same = self._down == self._up
        self._rows = np.ones((1, 2), np.float32) if self._same else _filter(self._up, self._down)
        self._half = self._rows.shape[1] // 2
        self._held: NDArray[np.float32] = np.zeros(self._half - 1, np.float32)
        self._start = 1 - self._half  # input position of _held[0]
        self._taken = 0  # input samples so far
        self._made = 0  # output samples so far

    def process(self, samples: Pcm) -> Pcm:
        """What can be said of the output so far, given the next `samples` of shape (n,); may be empty."""
        self._taken += len(samples)
        if self._same:
            return samples.copy()
        self._held = np.concatenate((self._held, samples.astype(np.float32)))
        # The last output whose window [i - half + 1, i + half] lies within the input, i = n*down // up.
        ready = max(0, ceil((self._taken - self._half) * self._up / self._down))
        return self._make(ready)

    def flush(self) -> Pcm:
        """The rest: input is taken as silent from here on. The total is ceil(n * to / rate) samples."""
        if self._same:
            return np.zeros(0, np.int16)
        self._held = np.concatenate((self._held, np.zeros(self._half + 1, np.float32)))
        return self._make(-(-self._taken * self._up // self._down))

    def _make(self, until: int) -> Pcm:
        if until <= self._made:
            return np.zeros(0, np.int16)
        out = np.empty(until - self._made, np.int16)
        windows = np.lib.stride_tricks.sliding_window_view(self._held, self._rows.shape[1])
        for first in range(self._made, until, _BLOCK):
            at = np.arange(first, min(first + _BLOCK, until), dtype=np.int64) * self._down
            left = at // self._up - (self._half - 1) - self._start
            values = np.einsum("ij,ij->i", windows[left], self._rows[at % self._up])
            out[first - self._made : first - self._made + len(at)] = np.clip(np.rint(values), -32768, 32767)
        self._made = until
        keep = until * self._down // self._up - (self._half - 1)
        drop = min(max(0, keep - self._start), len(self._held))
        self._held = self._held[drop:]
        self._start += drop
        return out


def resample(samples: Pcm, rate: int, to: int = SAMPLE_RATE) -> Pcm:
    """All of `samples`, shape (n,), at once."""
    resampler = Resampler(rate, to)
    return np.concatenate((resampler.process(samples), resampler.flush()))
