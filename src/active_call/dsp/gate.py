"""Which lanes are surely silent: an energy gate that spares the speech model.

The gate is conservative: a rise of 3 dB above the lane's noise opens it at once, and it closes only after 0.4 s
in which neither energy nor model noticed anything. While it is open, the noise floor rises only by windows in
which the model hears no speech: steady noise is learnt, a long utterance is not.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import Pcm, ms_to_samples
from active_call.dsp.energy import Levels, NoiseFloor, levels

_QUIET_DB: Final = 24.0  # -66 dBFS: the idle noise of G.711
_MARGIN_DB: Final = 3.0
_CLOSE_AFTER: Final = ms_to_samples(400)
_NO_SPEECH: Final = 0.05
_LEARN: Final = np.float32(0.05)
_KEEP: Final = np.float32(0)


class EnergyGate:
    """Open or closed, for `capacity` lanes."""

    def __init__(self, capacity: int) -> None:
        self._floor = NoiseFloor(capacity, _QUIET_DB)
        self._level: Levels = np.zeros((capacity, 2), np.float32)
        self._quiet = np.zeros(capacity, np.int64)  # 16 kHz samples since anything was noticed
        self._open = np.ones(capacity, np.bool_)

    def reset(self, row: int) -> None:
        """Start open, with no noise known."""
        self._floor.reset(row)
        self._quiet[row] = 0
        self._open[row] = True

    def listen(self, rows: NDArray[np.int64], windows: Pcm) -> NDArray[np.bool_]:
        """Take the newest window of each of `rows`, shape (n, samples). Returns which lanes are open."""
        level = levels(windows)
        self._level[rows] = level
        loud = (self._floor.excess(rows, level) > _MARGIN_DB).any(axis=1)
        is_open = self._open[rows] | loud
        self._open[rows] = is_open
        self._quiet[rows[loud]] = 0
        self._floor.learn(rows, level, np.where(is_open, _KEEP, _LEARN))
        return is_open

    def judge(
        self,
        rows: NDArray[np.int64],
        probabilities: NDArray[np.float32],
        speaking: NDArray[np.bool_],
        window: int,
    ) -> None:
        """Take the model's opinion of the newest window of open lanes; close those with nothing to hear."""
        noise = (probabilities < _NO_SPEECH) & ~speaking
        self._floor.learn(rows, self._level[rows], np.where(noise, _LEARN, _KEEP))
        self._quiet[rows] = np.where(noise, self._quiet[rows] + window, 0)
        self._open[rows[self._quiet[rows] >= _CLOSE_AFTER]] = False
