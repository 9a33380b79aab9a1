"""Something like a voice to encode, and how much of it is left after decoding."""

import numpy as np

from active_call.core.audio import Pcm
from active_call.lanes.codecs import available_codecs
from active_call.lanes.messages import PCMA, PCMU, RtpFormat

OPUS = RtpFormat(111, "opus", 48_000)
G722 = RtpFormat(9, "g722")
G729 = RtpFormat(18, "g729")
L16 = RtpFormat(96, "l16", 16_000)
L16_NARROW = RtpFormat(97, "l16", 8000)
FORMATS = [form for form in (PCMU, PCMA, G722, OPUS, G729, L16, L16_NARROW) if form.codec in available_codecs()]
"""All that can be used here."""


def voice(ms: int, rate_hz: int = 16_000, *, seed: int = 1) -> Pcm:
    """Pulses of a gliding pitch through two resonances, in syllables."""
    rng = np.random.default_rng(seed)
    count = rate_hz * ms // 1000
    time = np.arange(count) / rate_hz
    glide = 110 * 2 ** np.cumsum(rng.normal(0, 0.3 / np.sqrt(rate_hz), count))
    phase = 2 * np.pi * np.cumsum(glide) / rate_hz
    sound = np.zeros(count)
    for harmonic in range(1, 25):
        hz = 110 * harmonic
        level = np.exp(-(((hz - 500) / 250) ** 2)) + 0.4 * np.exp(-(((hz - 1500) / 300) ** 2)) + 0.02
        sound += level * np.cos(harmonic * phase)
    sound *= 0.55 + 0.45 * np.sin(2 * np.pi * 3 * time)
    samples: Pcm = (9000 * sound / np.abs(sound).max()).astype(np.int16)
    return samples


def fidelity(sent: Pcm, heard: Pcm, latest: int) -> float:
    """Signal to noise in dB, at the delay (up to `latest` samples) that fits best."""
    count = min(len(sent), len(heard) - latest)
    wanted = sent[:count].astype(float)
    windows = np.lib.stride_tricks.sliding_window_view(heard.astype(float), count)[: latest + 1]
    noise = ((windows - wanted) ** 2).mean(axis=1).min()
    return float(10 * np.log10((wanted**2).mean() / max(noise, 1e-9)))
