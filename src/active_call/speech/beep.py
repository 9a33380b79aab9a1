"""Finding the beep of an answering machine in what a caller hears of it: one steady, pure tone.

Each 20 ms frame is looked at in frequency: nearly all of a tone's power lies around one peak, that of a voice
is spread over its harmonics. A beep is a run of such frames that stay on one frequency and then stop.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import SAMPLE_RATE, TICK_MS, TICK_SAMPLES, Pcm

_LOWEST_HZ: Final = 400.0
_HIGHEST_HZ: Final = 2_000.0
_SHORTEST_MS: Final = 200
_LONGEST_MS: Final = 3_000
"""What lasts longer is a dial tone or music on hold."""
_PURITY: Final = 0.9
"""Share of the power within two bins of the peak."""
_DRIFT_HZ: Final = 25.0
_QUIETEST: Final = 200.0
"""Root mean square, of 32,768."""
_BIN_HZ: Final = SAMPLE_RATE / TICK_SAMPLES
_NEIGHBOURS: Final = 2  # half the main lobe of the Hann window, in bins


@dataclass(frozen=True, slots=True)
class Beep:
    """A tone that was heard from `start_ms` to `end_ms`."""

    start_ms: int
    end_ms: int
    hz: int


class BeepDetector:
    """Finds beeps in the audio of one call."""

    def __init__(self) -> None:
        self._rest: Pcm = np.zeros(0, np.int16)
        self._next_ms = 0
        self._run: list[float] = []
        self._run_start_ms = 0
        self._window = np.hanning(TICK_SAMPLES + 1)[:-1].astype(np.float32)

    def feed(self, pcm: Pcm, position_ms: int) -> Beep | None:
        """Take 16 kHz samples whose first is at `position_ms`. Returns the last beep that ended in them."""
        start_ms = position_ms - len(self._rest) * 1000 // SAMPLE_RATE
        if abs(start_ms - self._next_ms) > TICK_MS:  # audio is missing
            self._rest = self._rest[:0]
            self._run.clear()
            start_ms = position_ms
        pcm = np.concatenate((self._rest, pcm))
        frames = len(pcm) // TICK_SAMPLES
        self._rest = pcm[frames * TICK_SAMPLES :]
        self._next_ms = start_ms + frames * TICK_MS
        found = None
        for number, hz in enumerate(self._tones(pcm[: frames * TICK_SAMPLES].reshape(frames, TICK_SAMPLES))):
            found = self._step(hz, start_ms + number * TICK_MS) or found
        return found

    def _step(self, hz: float, now_ms: int) -> Beep | None:
        """One more frame, with the frequency of its tone or NaN. Returns the beep that it ends."""
        run = self._run
        if run and abs(hz - sum(run) / len(run)) <= _DRIFT_HZ:
            run.append(hz)
            return None
        length_ms = len(run) * TICK_MS
        found = None
        if _SHORTEST_MS <= length_ms <= _LONGEST_MS:
            found = Beep(self._run_start_ms, self._run_start_ms + length_ms, round(sum(run) / len(run)))
        run.clear()
        if not np.isnan(hz):
            run.append(hz)
            self._run_start_ms = now_ms
        return found

    def _tones(self, frames: Pcm) -> list[float]:
        """The frequency of each frame, shape (n, 320), that is one pure tone; NaN for the others."""
        if not len(frames):
            return []
        spectrum: NDArray[np.complexfloating] = np.fft.rfft(frames * self._window)
        power = spectrum.real**2 + spectrum.imag**2
        power[:, 0] = 0  # an offset is no sound
        total = power.sum(axis=1)
        edge = _NEIGHBOURS + 1
        peak = np.clip(power.argmax(axis=1), edge, power.shape[1] - 1 - edge)
        around = peak[:, None] + np.arange(-_NEIGHBOURS, _NEIGHBOURS + 1)
        lobe = np.take_along_axis(power, around, axis=1)
        share = lobe.sum(axis=1)
        # The centre of gravity of the main lobe's amplitudes lies where the tone does.
        amplitude = np.sqrt(lobe)
        offset = (amplitude * around).sum(axis=1) / np.maximum(amplitude.sum(axis=1), 1e-9)
        hz = offset * _BIN_HZ
        loud = np.sqrt((frames.astype(np.float32) ** 2).mean(axis=1)) >= _QUIETEST
        pure = (share >= _PURITY * total) & (hz >= _LOWEST_HZ) & (hz <= _HIGHEST_HZ) & loud
        tones: list[float] = np.where(pure, hz, np.nan).tolist()
        return tones
