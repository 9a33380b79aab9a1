"""Levels and noise floors of all lanes at once, and the simplest speech detector made of them."""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import Pcm

Levels: TypeAlias = NDArray[np.float32]
"""Of the samples and of their differences in dB over one squared quantum, shape (n, 2)."""

_FALL: Final = 0.3

_LEAST_DB: Final = 34.0
_SPEECH_DB: Final = 9.0
_SLOPE_DB: Final = 2.0
_LEARN: Final = 0.05
_LEARN_SLOWLY: Final = 0.004


def levels(windows: Pcm) -> Levels:
    """The two levels of `windows`, shape (n, samples).

    The differences hear weak high sounds above a hum; neither hears a constant offset.
    """
    samples = windows.astype(np.float32)
    samples -= samples.mean(axis=1, keepdims=True)
    differences = samples[:, 1:] - samples[:, :-1]
    power = np.empty((len(samples), 2), np.float32)
    np.einsum("ij,ij->i", samples, samples, out=power[:, 0])
    np.einsum("ij,ij->i", differences, differences, out=power[:, 1])
    power /= np.float32(windows.shape[1])
    power += np.float32(1)
    return np.float32(10) * np.log10(power)


class NoiseFloor:
    """The noise levels of `capacity` lanes, never below `least_db`: falling fast, rising as told."""

    def __init__(self, capacity: int, least_db: float) -> None:
        self._least = np.float32(least_db)
        self._floor: Levels = np.zeros((capacity, 2), np.float32)

    def reset(self, row: int) -> None:
        """Nothing is known of the lane: any sound is above its floor."""
        self._floor[row] = 0

    def excess(self, rows: NDArray[np.int64], level: Levels) -> Levels:
        """How far `level` is above the floor of `rows`, in dB."""
        return level - np.maximum(self._floor[rows], self._least)

    def learn(self, rows: NDArray[np.int64], level: Levels, rise: NDArray[np.float32]) -> None:
        """Follow `level`: down by a fixed share of the distance, up by the share `rise`, shape (n,)."""
        floor = self._floor[rows]
        step = np.where(level < floor, np.float32(_FALL), rise[:, None])
        self._floor[rows] = floor + step * (level - floor)


class EnergyDetector:
    """Speech is what rises 9 dB above the noise of the lane."""

    def __init__(self, capacity: int) -> None:
        self._floor = NoiseFloor(capacity, _LEAST_DB)

    def reset(self, row: int) -> None:
        """Forget the lane's noise."""
        self._floor.reset(row)

    def probabilities(self, rows: NDArray[np.int64], windows: Pcm) -> NDArray[np.float32]:
        """The probability of speech in the next window of each of `rows`; `windows` has shape (n, samples)."""
        level = levels(windows)
        excess = self._floor.excess(rows, level)[:, 0] - np.float32(_SPEECH_DB)
        self._floor.learn(rows, level, np.where(excess < 0, np.float32(_LEARN), np.float32(_LEARN_SLOWLY)))
        probabilities: NDArray[np.float32] = 1 / (1 + np.exp(-np.clip(excess / np.float32(_SLOPE_DB), -30, 30)))
        return probabilities
