"""What is heard in place of lost audio, where the codec has no better idea: the last of what came, fading."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import Pcm
from active_call.dsp.rtp import FRAME

Int64 = NDArray[np.int64]
Flags = NDArray[np.bool_]

_LEVELS: Final = (1.0, 0.6, 0.25, 0.0)
"""Every 20 ms."""


class Concealment:
    """Fills missing frames with the lane's last one, back and forth and fading (three frames at most)."""

    def __init__(self, capacity: int, samples: int = FRAME) -> None:
        self._last = np.zeros((capacity, samples), np.int16)
        self._run = np.full(capacity, len(_LEVELS), np.int64)

    def silence(self, rows: Int64) -> None:
        """Don't conceal what follows: the peer does not send audio on purpose."""
        self._run[rows] = len(_LEVELS)

    def fill(self, rows: Int64, samples: NDArray[np.int16], present: Flags) -> Int64:
        """Complete `samples` (n, samples) where nothing is `present`. Returns the indices concealed."""
        if present.all():
            self._last[rows] = samples
            self._run[rows] = 0
            return np.zeros(0, np.int64)
        here = rows[present]
        self._last[here] = samples[present]
        self._run[here] = 0
        missing = np.flatnonzero(~present)
        samples[missing] = 0
        run = self._run[rows[missing]]
        self._run[rows[missing]] = np.minimum(run + 1, len(_LEVELS))
        concealed = missing[run < len(_LEVELS) - 1]
        for index in concealed:
            row = rows[index]
            turn = int(self._run[row])
            last = self._last[row] if turn % 2 == 0 else self._last[row, ::-1]
            samples[index] = last * np.linspace(_LEVELS[turn - 1], _LEVELS[turn], len(last))
        return concealed


class Echo:
    """What was heard last, back and forth and fading: conceals the loss of up to 60 ms at `rate_hz`."""

    def __init__(self, rate_hz: int) -> None:
        self._length = rate_hz // 50
        self._last = np.zeros(self._length, np.int16)
        self._missing = 0

    def hear(self, samples: Pcm) -> None:
        """`samples` (n,) arrived."""
        self._missing = 0
        self._last = np.concatenate((self._last, samples))[-self._length :]

    def fill(self, count: int) -> Pcm:
        """`count` samples that did not."""
        length = self._length
        time = self._missing + np.arange(count)
        self._missing += count
        # 0 is the last sample heard; from the oldest one it goes forth again.
        place = time % (2 * length)
        samples = self._last[np.where(place < length, length - 1 - place, place - length)]
        levels = np.interp(time / length, range(len(_LEVELS)), _LEVELS)
        filled: Pcm = (samples * levels).astype(np.int16)
        return filled
