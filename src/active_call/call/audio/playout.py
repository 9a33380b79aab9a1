"""How audio that a service sends as it likes becomes playback with little delay.

When playback had run dry, a little silence goes first, so that late messages don't tear holes; more of it when
that happens again soon. After a stall there is more delay, and it would stay: a stream that comes in real time
never lets it drain. Then some of the audio, where it is quietest, is left out until the delay is back. What a
service sends ahead of time, a whole utterance at once, say, does not come in real time: all of it is played.
"""

from dataclasses import dataclass

import numpy as np

from active_call.core.audio import SAMPLE_RATE, Pcm, ms_to_samples

_WINDOW = 1.0
"""Seconds over which the delay is judged."""
_PACED = (0.8, 1.2)
"""Seconds of audio per second, in real time."""
_SPARE_MS = 20
_MOST_START_MS, _SOON = 100, 2.0
_CUT_MS, _FADE_MS, _BETWEEN_CUTS = 20, 5, 0.1


@dataclass(slots=True)
class _Window:
    """What came since `start`, and the least that was queued meanwhile."""

    start: float
    floor: int
    arrived: int = 0


class Playout:
    """Takes 16 kHz samples as they come, gives them as they are to be queued; `now` is in seconds."""

    def __init__(self, start_ms: int = 20, *, catch_up: bool = True) -> None:
        self._least = self._start = ms_to_samples(start_ms)
        self._most = max(self._least, ms_to_samples(_MOST_START_MS))
        self._dry_at: float | None = None
        self._catch_up = catch_up
        self._window: _Window | None = None
        self._surplus = 0
        self._next_cut = 0.0

    def put(self, pcm: Pcm, queued: int, now: float) -> Pcm:
        """`pcm`, shape (n,), with silence before it or with a part left out; `queued` samples are unplayed."""
        if queued <= 0:
            self._window, self._surplus = None, 0
            again = self._dry_at is not None and now - self._dry_at < _SOON
            self._start = min(self._start + self._least, self._most) if again else self._least
            self._dry_at = now
            return np.concatenate((np.zeros(self._start, np.int16), pcm))
        if self._catch_up:
            self._judge(len(pcm), queued, now)
            if self._surplus > 0 and now >= self._next_cut:
                shorter = leave_out(pcm, min(ms_to_samples(_CUT_MS), self._surplus))
                self._surplus -= len(pcm) - len(shorter)
                self._next_cut = now + _BETWEEN_CUTS
                return shorter
        return pcm

    def _judge(self, arrived: int, queued: int, now: float) -> None:
        window = self._window
        if window is None:
            self._window = _Window(now, queued, arrived)
            return
        elapsed = now - window.start
        window.floor = min(window.floor, queued)
        if elapsed >= _WINDOW:
            paced = _PACED[0] <= window.arrived / SAMPLE_RATE / elapsed <= _PACED[1]
            over = window.floor - self._start
            self._surplus = over if paced and over > ms_to_samples(_SPARE_MS) else 0
            self._window = _Window(now, queued)
            window = self._window
        window.arrived += arrived


def leave_out(pcm: Pcm, samples: int) -> Pcm:
    """`pcm` shorter by `samples`, a half of it at most, where it is quietest; the cut is cross-faded."""
    fade = ms_to_samples(_FADE_MS)
    cut = min(samples, len(pcm) // 2)
    starts = np.arange(0, len(pcm) - cut - fade + 1, fade)
    if cut <= 0 or not len(starts):
        return pcm
    energy = np.concatenate(([0.0], np.cumsum(pcm.astype(np.float64) ** 2)))
    at = int(starts[np.argmin(energy[starts + cut] - energy[starts])])
    rise = np.linspace(0.0, 1.0, fade)
    seam = pcm[at : at + fade] * (1 - rise) + pcm[at + cut : at + cut + fade] * rise
    return np.concatenate((pcm[:at], np.rint(seam).astype(np.int16), pcm[at + cut + fade :]))
