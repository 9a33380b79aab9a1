"""DTMF by its tones in the audio (ITU-T Q.24), for many lanes at once.

Every 10 ms the last 20 ms are compared with each pair of frequencies: two sinusoids of free amplitude and phase
are fitted to them, which is the Goertzel filter for all frequencies at once, as one matrix product. The share
of the energy that the best pair explains, its *purity*, is what tells keys from speech: harmonics, other tones
and noise all count against it, so no check of single harmonics is needed. Each frequency is tried 1 % lower and
higher too, since telephones may be off by 1.5 %.

A key is told by two such windows in a row: tones of 40 ms always have them, tones of 23 ms never. It is over
after five windows without it: a pause of 40 ms always has them, one lost packet never.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import SAMPLE_RATE, TICK_SAMPLES, Pcm
from active_call.dsp.tones import HIGH_HZ, KEYPAD, LOW_HZ

Flags: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float32]
Int64: TypeAlias = NDArray[np.int64]

_WINDOW: Final = TICK_SAMPLES
_HOP: Final = TICK_SAMPLES // 2
_OFFSETS: Final = (0.99, 1.0, 1.01)
_TRIED: Final = 4 * len(_OFFSETS)
"""Frequencies tried for the low tone, and as many for the high one."""
_PURE: Final = 0.85
"""Of a key; noise 8 dB below it leaves so much."""
_SUSPECT: Final = 0.5
"""Of what may be the beginning of one; recorded speech hardly ever comes so far."""
_FULL_ENERGY: Final = _WINDOW * 32_768**2 / 2
_LEAST_ENERGY: Final = _FULL_ENERGY * 10 ** (-40 / 10)
"""Of a key: -40 dBFS."""
_FAINT_ENERGY: Final = _FULL_ENERGY * 10 ** (-55 / 10)
"""What is less is silence."""
_TWIST: Final = 10 ** (9 / 20)
"""Most that one tone may be louder than the other."""
_BLOCK: Final = 256
"""Lanes at a time, so that temporaries stay in cache."""
_HITS: Final = 2
_MISSES: Final = 5


def _sinusoids() -> Floats:
    """Shape (_WINDOW, 4 * _TRIED): cosines of the low frequencies and of the high ones, then their sines."""
    time = np.arange(_WINDOW) / SAMPLE_RATE
    angles = [2 * np.pi * hz * offset * time for hz in LOW_HZ + HIGH_HZ for offset in _OFFSETS]
    return np.stack([wave(angle) for wave in (np.cos, np.sin) for angle in angles], axis=1).astype(np.float32)


def _inverses(sinusoids: Floats) -> Floats:
    """Shape (_TRIED, _TRIED, 4, 4): of the products of the four sinusoids of each pair of frequencies."""
    inverses = np.empty((_TRIED, _TRIED, 4, 4), np.float32)
    for low in range(_TRIED):
        for high in range(_TRIED):
            four = sinusoids[:, [low, _TRIED + high, 2 * _TRIED + low, 3 * _TRIED + high]]
            inverses[low, high] = np.linalg.inv((four.T @ four).astype(np.float64))
    return inverses


_SINUSOIDS: Final = _sinusoids()
_INVERSES: Final = _inverses(_SINUSOIDS)
_WIDTH: Final = _SINUSOIDS.shape[1]
_HALVES: Final = np.concatenate((_SINUSOIDS[:_HOP], _SINUSOIDS[_HOP:]), axis=1)
"""Shape (_HOP, 2 * _WIDTH): for samples in the first half of a window, and in the second."""


def _fit(products: Floats, energy: Floats) -> tuple[Int64, Floats]:
    """The key that fits each of n windows best, as an index of KEYPAD, and its purity.

    `products` (n, _WIDTH) are a window's with the sinusoids; `energy` (n,) is that of its samples.
    """
    power = np.square(products)
    power = power[:, : 2 * _TRIED] + power[:, 2 * _TRIED :]
    low, high = power[:, :_TRIED].argmax(axis=1), power[:, _TRIED:].argmax(axis=1)
    each = np.arange(len(products))[:, None]
    four = products[each, np.stack((low, _TRIED + high, 2 * _TRIED + low, 3 * _TRIED + high), axis=1)]
    fitted = np.einsum("nij,nj->ni", _INVERSES[low, high], four)
    explained = (fitted * four).sum(axis=1)
    loudness = np.hypot(fitted[:, :2], fitted[:, 2:])
    balanced = loudness.max(axis=1) <= _TWIST * loudness.min(axis=1)
    key = low // len(_OFFSETS) * 4 + high // len(_OFFSETS)
    return key, np.where(balanced, explained / energy, 0.0).astype(np.float32)


class Press(NamedTuple):
    """A key that was pressed on a lane, given by its place among those heard."""

    lane: int
    key: str
    onset: int
    """Samples by which the tick began after the tone, within 10 ms."""


@dataclass(slots=True)
class _Lane:
    """What the last windows of a lane were."""

    candidate: int = -1
    hits: int = 0
    held: int = -1
    """The key that is pressed."""
    misses: int = 0

    def take(self, key: int) -> bool:
        """The next window has this key, or -1. Whether it is now pressed."""
        self.hits = self.hits + 1 if key == self.candidate else 1
        self.candidate = key
        if key == self.held:
            self.misses = 0
            return False
        self.misses += 1
        if self.misses >= _MISSES:
            self.held = -1
        if key < 0 or self.hits < _HITS:
            return False
        self.held, self.misses = key, 0
        return True

    @property
    def idle(self) -> bool:
        return self.candidate < 0 and self.held < 0


class ToneDetector:
    """Finds keys in the 16 kHz audio of up to `capacity` lanes, a tick at a time."""

    def __init__(self, capacity: int) -> None:
        # Of the second half of the last tick, as the first half of a window.
        self._past_products = np.zeros((capacity, _WIDTH), np.float32)
        self._past_energy = np.zeros(capacity, np.float32)
        self._lanes: dict[int, _Lane] = {}

    def reset(self, row: int) -> None:
        """Forget what the row heard."""
        self._past_products[row] = self._past_energy[row] = 0
        self._lanes.pop(row, None)

    def hear(self, rows: Int64, audio: Pcm) -> tuple[list[Press], Flags]:
        """The next tick, `audio` (n, 320), of `rows` (n,).

        Returns the keys pressed in it, and which lanes may be hearing a key: they do from the first 10 ms of a
        clean tone on, which is sooner than a key can be told.
        """
        keys = np.full((len(rows), 2), -1)
        suspect = np.zeros(len(rows), np.bool_)
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            self._compare(rows[block], audio[block], keys[block], suspect[block])
        return self._follow(rows, keys), suspect

    def _compare(self, rows: Int64, audio: Pcm, keys: Int64, suspect: Flags) -> None:
        """Find the keys (n, 2) of the two windows that end in the tick. A quiet tick counts as silence."""
        halves = audio.reshape(-1, _HOP).astype(np.float32)
        energy = np.einsum("ij,ij->i", halves, halves).reshape(-1, 2)
        loud = np.flatnonzero(energy.max(axis=1) >= _FAINT_ENERGY / 2)
        past_products, past_energy = self._past_products[rows[loud]], self._past_energy[rows[loud]]
        self._past_products[rows] = self._past_energy[rows] = 0
        if not len(loud):
            return
        products = (halves.reshape(-1, 2, _HOP)[loud].reshape(-1, _HOP) @ _HALVES).reshape(-1, 2, 2, _WIDTH)
        self._past_products[rows[loud]], self._past_energy[rows[loud]] = products[:, 1, 0], energy[loud, 1]
        early, late = past_products + products[:, 0, 1], products[:, 0, 0] + products[:, 1, 1]
        for number, (product, total) in enumerate(
            ((early, past_energy + energy[loud, 0]), (late, energy[loud].sum(axis=1)))
        ):
            key, purity = _fit(product, np.maximum(total, 1.0))
            purity[total < _FAINT_ENERGY] = 0.0
            keys[loud, number] = np.where((purity >= _PURE) & (total >= _LEAST_ENERGY), key, -1)
            suspect[loud] |= purity >= _SUSPECT

    def _follow(self, rows: Int64, keys: Int64) -> list[Press]:
        """Two windows more of `rows` (n,), which have these keys (n, 2)."""
        pressed: list[Press] = []
        begun = np.any(keys >= 0, axis=1)
        for index, row in enumerate(rows.tolist()):
            if not begun[index] and row not in self._lanes:
                continue
            lane = self._lanes.setdefault(row, _Lane())
            for number, key in enumerate(keys[index].tolist()):
                if lane.take(key):
                    pressed.append(Press(index, KEYPAD[key], (2 - number) * _HOP))
            if lane.idle:
                del self._lanes[row]
        return pressed
