"""24 and 48 kHz <-> 16 kHz for many lanes at once: a windowed sinc as matrix products, with a history per lane.

A tick is cut into twenty pieces of 1 ms. The outputs of a piece are one matrix product of the inputs of that
piece and some before it; the matrix holds the filter, sampled where each output lies between the inputs.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from active_call.core.audio import TICK_MS

_LOBES: Final = 16
"""Zero crossings on each side: the delay is so many samples of the lower rate, 1 ms at 16 kHz."""
_BETA: Final = 7.0
"""Kaiser window: stop band 70 dB down."""
_PASS: Final = 0.91
"""Cut-off as a share of half the lower rate: flat to 6.4 kHz, gone above 8.2"""


@cache
def _matrix(rate_in: int, rate_out: int) -> NDArray[np.float32]:
    """Shape (history + inputs of a piece, outputs of a piece)."""
    lower = min(rate_in, rate_out)
    reach = _LOBES * rate_in // lower  # inputs on each side of an output
    inputs, outputs = rate_in // 1000, rate_out // 1000
    # Output k of the piece is at the time of input k * inputs / outputs, `reach` inputs late.
    centre = np.arange(outputs) * inputs / outputs
    distance = np.arange(-2 * reach, inputs)[:, None] - (centre[None, :] - reach)
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (distance / reach) ** 2, 0, None))) / np.i0(_BETA)
    taps = np.where(np.abs(distance) < reach, np.sinc(distance * _PASS * lower / rate_in) * window, 0.0)
    normalised: NDArray[np.float32] = (taps / taps.sum(axis=0)).astype(np.float32)
    return normalised


class Polyphase:
    """`rate_in` to `rate_out` (multiples of 8 kHz), 1 ms late. Blocks of up to `lanes` of `capacity` rows."""

    def __init__(self, capacity: int, lanes: int, rate_in: int, rate_out: int) -> None:
        self._matrix = _matrix(rate_in, rate_out)
        window, outputs = self._matrix.shape
        inputs = rate_in // 1000
        self._past = window - inputs
        self._samples_in = inputs * TICK_MS
        self._history = np.zeros((capacity, self._past), np.int16)
        self._work = np.zeros((lanes, self._past + self._samples_in), np.float32)
        self._result = np.zeros((lanes, outputs * TICK_MS), np.float32)
        row, item = self._work.strides
        self._windows = as_strided(self._work, (TICK_MS, lanes, window), (inputs * item, row, item))
        row, item = self._result.strides
        self._pieces = as_strided(self._result, (TICK_MS, lanes, outputs), (outputs * item, row, item))

    def reset(self, row: int) -> None:
        """Forget what went through the row."""
        self._history[row] = 0

    def run(self, rows: NDArray[np.int64], samples: NDArray[np.int16], out: NDArray[np.int16]) -> None:
        """One tick of `rows` (n,): samples (n, rate_in / 50) to `out` (n, rate_out / 50)."""
        count = len(rows)
        work, result = self._work[:count], self._result[:count]
        work[:, : self._past] = self._history[rows]
        work[:, self._past :] = samples
        np.matmul(self._windows[:, :count], self._matrix, out=self._pieces[:, :count])
        self._history[rows] = samples[:, self._samples_in - self._past :]
        np.rint(result, out=result)
        np.clip(result, -32_768, 32_767, out=result)
        np.copyto(out, result, casting="unsafe")
