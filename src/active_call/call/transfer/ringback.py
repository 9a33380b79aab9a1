"""The tone that a caller hears while the other side rings."""

import numpy as np

from active_call.core.audio import SAMPLE_RATE, Pcm

_HERTZ = 425
_TONE_SECONDS, _SILENCE_SECONDS = 1.0, 4.0
_LEVEL = 2_300
"""About -20 dBm0, as networks play it (ETSI TR 101 041-2 has the tones of each country)."""
_RAMP = SAMPLE_RATE // 100


def ringback() -> Pcm:
    """One ring and the pause after it, to be looped, shape (80000,): 425 Hz, the tone of most countries."""
    times = np.arange(round(SAMPLE_RATE * _TONE_SECONDS)) / SAMPLE_RATE
    tone = _LEVEL * np.sin(2 * np.pi * _HERTZ * times)
    ramp = np.linspace(0.0, 1.0, _RAMP)
    tone[:_RAMP] *= ramp
    tone[-_RAMP:] *= ramp[::-1]
    silence = np.zeros(round(SAMPLE_RATE * _SILENCE_SECONDS))
    ring: Pcm = np.rint(np.concatenate((tone, silence))).astype(np.int16)
    return ring
