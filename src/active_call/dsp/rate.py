"""From 16 kHz to any other rate, in blocks of any size, without delay, drift or clicks at the seams."""

from functools import cache
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import SAMPLE_RATE, Pcm

_LEAST_BLOCK: Final = 64
_ZERO_CROSSINGS: Final = 12
_ROLL_OFF: Final = 0.94
"""Where the pass band ends, as a share of half the lower rate."""
_KAISER_BETA: Final = 8.0  # 80 dB


class RateConverter:
    """Band-limited interpolation (Kaiser-windowed sinc) of `channels` streams, 16 kHz to `rate_hz`.

    Output sample k is the input at time k / rate_hz: `block` input samples become exactly `block_out`, by one
    matrix product, and n input samples become ceil(n * rate_hz / 16000).
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        divisor = gcd(rate_hz, SAMPLE_RATE)
        repeat = -(-_LEAST_BLOCK * divisor // SAMPLE_RATE)
        self.block = SAMPLE_RATE // divisor * repeat
        self.block_out = rate_hz // divisor * repeat
        self._matrix, self._reach = _interpolation(rate_hz, self.block, self.block_out)
        self._rest: Pcm = np.zeros((channels, self._reach), np.int16)  # silence before the first sample
        self._taken = 0
        self._given = 0

    def convert(self, samples: Pcm, *, last: bool = False) -> Pcm:
        """The output that `samples`, shape (channels, n), makes possible; all that is left with the `last`."""
        self._taken += samples.shape[1]
        parts = [self._rest, samples]
        if last:
            parts.append(np.zeros((len(samples), self.block + 2 * self._reach), np.int16))
        data = np.concatenate(parts, axis=1)
        blocks = max((data.shape[1] - 2 * self._reach) // self.block, 0)
        self._rest = data[:, blocks * self.block :].copy()
        output = self._blocks(data, blocks)
        self._given += output.shape[1]
        if last:
            total = -(-self._taken * self.block_out // self.block)
            output = output[:, : output.shape[1] - (self._given - total)]
        return output

    def _blocks(self, data: Pcm, blocks: int) -> Pcm:
        if not blocks:
            return np.empty((len(data), 0), np.int16)
        width = self.block + 2 * self._reach
        windows = np.lib.stride_tricks.sliding_window_view(data, width, axis=1)[:, :: self.block][:, :blocks]
        output = windows.astype(np.float32) @ self._matrix
        samples: Pcm = np.rint(output).clip(-32768, 32767).astype(np.int16)
        return samples.reshape(len(data), -1)


@cache
def _interpolation(rate_hz: int, block: int, block_out: int) -> tuple[NDArray[np.float32], int]:
    """The matrix (block + 2 * reach, block_out) and the reach of the filter in input samples."""
    cutoff = min(1.0, rate_hz / SAMPLE_RATE) * _ROLL_OFF
    reach = int(_ZERO_CROSSINGS / cutoff) + 1
    times = np.arange(block_out) * (block / block_out)
    distance = np.arange(-reach, block + reach)[:, None] - times
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (distance / reach) ** 2, 0, None))) / np.i0(_KAISER_BETA)
    matrix = np.sinc(distance * cutoff) * cutoff * np.where(np.abs(distance) <= reach, window, 0)
    return matrix.astype(np.float32), reach
