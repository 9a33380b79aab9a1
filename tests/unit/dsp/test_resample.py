import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.dsp.resample import Downsampler, Upsampler


def tone(hz: float, rate: int, seconds: float = 0.4) -> Pcm:
    time = np.arange(int(rate * seconds)) / rate
    samples: Pcm = np.rint(10_000 * np.sin(2 * np.pi * hz * time)).astype(np.int16)
    return samples


def up(narrow: Pcm, rows: int = 1) -> Pcm:
    resampler, at, parts = Upsampler(8, 8), np.arange(rows), []
    for start in range(0, len(narrow), 160):
        out = np.empty((rows, 320), np.int16)
        resampler.run(at, np.tile(narrow[start : start + 160], (rows, 1)), out)
        parts.append(out[-1])
    return np.concatenate(parts)


def down(wide: Pcm) -> Pcm:
    resampler, at, parts = Downsampler(8, 8), np.array([3]), []
    for start in range(0, len(wide), 320):
        out = np.empty((1, 160), np.int16)
        part = wide[None, start : start + 320].copy()
        resampler.run(at, part, out)
        resampler.advance(at, part)
        parts.append(out[0])
    return np.concatenate(parts)


def level(samples: Pcm) -> float:
    """Against the tones above, in dB."""
    settled = samples[400:].astype(float)
    return float(20 * np.log10(max(np.sqrt(2 * np.mean(settled**2)), 1e-3) / 10_000))


@pytest.mark.parametrize("hz", [200, 1000, 3000, 3400])
def test_speech_passes_unchanged(hz: int) -> None:
    assert abs(level(up(tone(hz, 8000)))) < 0.2
    assert abs(level(down(tone(hz, 16_000)))) < 0.2


@pytest.mark.parametrize("hz", [4700, 6000, 7500])
def test_what_would_alias_is_gone(hz: int) -> None:
    assert level(down(tone(hz, 16_000))) < -50


def test_images_are_gone() -> None:
    spectrum = np.abs(np.fft.rfft(up(tone(1000, 8000))[400:3600].astype(float)))
    assert spectrum[1400:].max() / spectrum.max() < 10 ** (-50 / 20)  # 7 kHz and above


def test_delay_is_below_two_milliseconds() -> None:
    click = np.zeros(160, np.int16)
    click[50] = 10_000
    assert np.argmax(np.abs(up(click))) - 100 == 24
    wide = np.zeros(320, np.int16)
    wide[100] = 10_000
    assert np.argmax(np.abs(down(wide))) - 50 == 11


def test_lanes_do_not_mix() -> None:
    assert np.array_equal(up(tone(700, 8000), rows=5), up(tone(700, 8000)))


def test_overshoot_saturates() -> None:
    square = np.repeat(np.array([32_767, -32_768] * 20, np.int16), 4)
    result = up(square).astype(int)
    assert result.max() == 32_767
    assert result.min() == -32_768


def test_running_a_tick_again_changes_nothing() -> None:
    resampler, row = Downsampler(1, 1), np.array([0])
    first, second = np.empty((1, 160), np.int16), np.empty((1, 160), np.int16)
    wide = tone(500, 16_000)[None, :320].copy()
    resampler.run(row, wide, first)
    resampler.run(row, wide, second)
    assert np.array_equal(first, second)


def test_cleared_rows_are_silent() -> None:
    resampler, row = Downsampler(1, 1), np.array([0])
    resampler.advance(row, np.full((1, 320), 9000, np.int16))
    resampler.clear(row)
    out = np.empty((1, 160), np.int16)
    resampler.run(row, np.zeros((1, 320), np.int16), out)
    assert not out.any()
