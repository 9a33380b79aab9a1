import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.dsp.rate import RateConverter

RATES = [8000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000]


def tone(rate_hz: int, samples: int, frequency: float = 700.0) -> Pcm:
    wave = 10_000 * np.sin(2 * np.pi * frequency * np.arange(samples) / rate_hz)
    return np.asarray(np.rint(wave), np.int16)


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_tone_stays_where_it_was(rate_hz: int) -> None:
    output = RateConverter(rate_hz, 1).convert(tone(16_000, 16_000)[None], last=True)[0]
    middle = slice(rate_hz // 10, -rate_hz // 10)
    np.testing.assert_allclose(output[middle], tone(rate_hz, rate_hz)[middle], atol=20)


def test_what_the_new_rate_cannot_hold_is_removed() -> None:
    output = RateConverter(8000, 1).convert(tone(16_000, 16_000, frequency=5200)[None], last=True)
    assert np.abs(output[:, 400:-400]).max() < 30


@pytest.mark.parametrize("rate_hz", RATES)
def test_chunks_of_any_size_make_no_difference(rate_hz: int) -> None:
    data = np.random.default_rng(1).integers(-8000, 8000, (2, 5003)).astype(np.int16)
    whole = RateConverter(rate_hz, 2).convert(data, last=True)
    chunked = RateConverter(rate_hz, 2)
    parts = [
        chunked.convert(data[:, first : first + 777], last=first + 777 >= 5003) for first in range(0, 5003, 777)
    ]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1)


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("samples", [0, 1, 5003])
def test_length_is_exact(rate_hz: int, samples: int) -> None:
    output = RateConverter(rate_hz, 2).convert(np.zeros((2, samples), np.int16), last=True)
    assert output.shape == (2, -(-samples * rate_hz // 16_000))
