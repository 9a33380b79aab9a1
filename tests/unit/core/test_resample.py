import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from active_call.core.audio import Pcm
from active_call.core.resample import Resampler, resample

RATES = [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]


def tone(hz: float, rate: int, seconds: float = 0.5) -> Pcm:
    samples: Pcm = np.rint(10_000 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype(
        np.int16
    )
    return samples


def level(pcm: Pcm) -> float:
    inner: NDArray[np.float64] = pcm[200:-200].astype(np.float64)
    return float(np.sqrt(np.mean(inner**2)))


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_its_pitch_level_and_phase(rate: int) -> None:
    out = resample(tone(1_000, rate), rate)
    assert len(out) == 8_000
    assert np.abs(out[200:-200].astype(int) - tone(1_000, 16_000)[200:-200]).max() <= 3


def test_what_lies_above_half_the_new_rate_is_gone() -> None:
    assert level(resample(tone(9_500, 48_000), 48_000)) < 5


def test_upsampling_makes_no_images() -> None:
    spectrum = np.abs(np.fft.rfft(resample(tone(3_000, 8_000), 8_000)[200:-200] * np.hanning(7_600)))
    image = int(5_000 / 16_000 * 7_600)
    assert spectrum[image - 5 : image + 5].max() < spectrum.max() / 2_000


def test_loud_input_is_clipped_not_wrapped() -> None:
    square = np.where(tone(200, 24_000) > 0, 32767, -32768).astype(np.int16)
    out = resample(square, 24_000).astype(int)
    assert (out.max(), out.min()) == (32_767, -32_768)
    assert np.abs(np.diff(out)).max() < 60_000


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([8_000, 22_050, 24_000, 44_100]), st.lists(st.integers(0, 900), max_size=20))
def test_chunks_make_no_difference(rate: int, sizes: list[int]) -> None:
    samples = np.random.default_rng(1).integers(-30_000, 30_000, sum(sizes)).astype(np.int16)
    resampler = Resampler(rate)
    parts, position = [], 0
    for size in sizes:
        parts.append(resampler.process(samples[position : position + size]))
        position += size
    parts.append(resampler.flush())
    assert np.array_equal(np.concatenate(parts), resample(samples, rate))


def test_delay_is_a_few_milliseconds() -> None:
    resampler = Resampler(24_000)
    assert len(resampler.process(tone(440, 24_000))) > 8_000 - 32


def test_other_targets() -> None:
    assert len(resample(tone(440, 16_000), 16_000, 8_000)) == 4_000


@pytest.mark.parametrize("rate", [0, -8_000, 999, 1_000_000])
def test_absurd_rates_are_refused(rate: int) -> None:
    with pytest.raises(ValueError, match="can't convert"):
        Resampler(rate)


@pytest.mark.parametrize("rate", [47_999, 191_999])
def test_a_rate_that_is_almost_a_common_one_costs_no_more(rate: int) -> None:
    resampler = Resampler(rate)
    assert resampler._rows.nbytes < 1 << 20
    assert len(resampler.process(np.zeros(rate, np.int16))) + len(resampler.flush()) == pytest.approx(
        16_000, abs=1
    )
