"""Background sound under what many lanes play: looped, and quieter while the agent speaks."""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.dsp.mix import RingWindow

Int64: TypeAlias = NDArray[np.int64]

_RAMP: Final = (np.arange(1, TICK_SAMPLES + 1) / TICK_SAMPLES).astype(np.float32)


class Ambience:
    """The background sounds of `capacity` lanes.

    Where a lane is in its loop follows from its lane position, so a process that takes over goes on there.
    The level is kept until `advance`, so a tick's audio can be replaced and mixed again.
    """

    def __init__(self, capacity: int) -> None:
        self.rows: Int64 = np.zeros(0, np.int64)
        """The lanes that have a sound, sorted."""
        self._has = np.zeros(capacity, np.bool_)
        self._sounds: dict[int, Pcm] = {}
        self._windows: dict[int, RingWindow] = {}  # by id of the sound, which `_sounds` keeps alive
        self._sound = np.zeros(capacity, np.int64)
        self._duck = np.zeros(capacity, np.float32)
        self._normal = np.zeros(capacity, np.float32)
        self._step = np.zeros(capacity, np.float32)
        self._level = np.zeros(capacity, np.float32)
        self._next_level = np.zeros(capacity, np.float32)

    def start(self, row: int, sound: Pcm, *, duck: float, normal: float, step: float) -> None:
        """Play `sound`, shape (samples,), on the lane from now on; lanes that share it share the memory.

        Its level is `normal`, or `duck` while the lane plays; it moves by `step` per tick. A lane that has
        a sound already goes on at its level. Raises ValueError for less than a tick of sound.
        """
        if len(sound) < TICK_SAMPLES:
            raise ValueError(f"{len(sound)} samples are too short a sound: {TICK_SAMPLES} are needed")
        if not self._has[row]:
            self._level[row] = self._next_level[row] = normal
        self._drop(row)
        self._sounds[row] = sound
        self._sound[row] = id(sound)
        self._windows.setdefault(id(sound), RingWindow(sound[None], TICK_SAMPLES))
        self._duck[row], self._normal[row], self._step[row] = duck, normal, step
        self._has[row] = True
        self.rows = np.flatnonzero(self._has)

    def stop(self, row: int) -> None:
        """No sound on the lane any more."""
        if self._has[row]:
            self._drop(row)
            self._has[row] = False
            self.rows = np.flatnonzero(self._has)

    def has(self, rows: Int64) -> NDArray[np.bool_]:
        """Which of `rows` (n,) have a sound."""
        return self._has[rows]

    def mix(self, rows: Int64, positions: Int64, playing: NDArray[np.bool_], out: Pcm) -> None:
        """Add the sound to `out` (n, 320), what `rows` (n,) play at lane `positions` (n,), saturating.

        `playing` (n,) tells which of them play anything. Lanes without a sound may be among them.
        """
        chosen = np.flatnonzero(self._has[rows])
        if not len(chosen):
            return
        at = rows[chosen]
        before = self._level[at]
        target = np.where(playing[chosen], self._duck[at], self._normal[at])
        after = before + np.clip(target - before, -self._step[at], self._step[at])
        self._next_level[at] = after
        mixed = self._read(at, positions[chosen])
        gains = before[:, None] + (after - before)[:, None] * _RAMP
        mixed *= gains
        mixed += out[chosen]
        np.rint(mixed, out=mixed)
        np.clip(mixed, -32_768, 32_767, out=mixed)
        out[chosen] = mixed.astype(np.int16)

    def advance(self, rows: Int64) -> None:
        """The tick of `rows` (n,) was played: keep their levels."""
        self._level[rows] = self._next_level[rows]

    def _read(self, rows: Int64, positions: Int64) -> NDArray[np.float32]:
        """A tick of each lane's sound, shape (n, 320)."""
        sounds = self._sound[rows]
        samples = np.empty((len(rows), TICK_SAMPLES), np.float32)
        for sound in np.unique(sounds).tolist():
            which = np.flatnonzero(sounds == sound)
            samples[which] = self._windows[sound].read(np.zeros(len(which), np.int64), positions[which])
        return samples

    def _drop(self, row: int) -> None:
        sound = self._sounds.pop(row, None)
        if sound is not None and not any(other is sound for other in self._sounds.values()):
            del self._windows[id(sound)]
