import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.dsp.polyphase import Polyphase

PAIRS = [(48_000, 16_000), (24_000, 16_000), (16_000, 48_000), (16_000, 24_000)]


def tone(hz: float, rate: int, start: float = 0.0) -> Pcm:
    time = np.arange(rate // 2) / rate - start
    samples: Pcm = np.rint(10_000 * np.sin(2 * np.pi * hz * time)).astype(np.int16)
    return samples


def convert(samples: Pcm, rate_in: int, rate_out: int, rows: int = 1) -> Pcm:
    """In ticks; the output of the last of so many rows."""
    polyphase, at, parts = Polyphase(8, 8, rate_in, rate_out), np.arange(rows), []
    size = rate_in // 50
    for start in range(0, len(samples), size):
        out = np.empty((rows, rate_out // 50), np.int16)
        polyphase.run(at, np.tile(samples[start : start + size], (rows, 1)), out)
        parts.append(out[-1])
    return np.concatenate(parts)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
@pytest.mark.parametrize("hz", [300, 3000, 6000])
def test_what_both_rates_can_say_comes_out_one_millisecond_later(rate_in: int, rate_out: int, hz: int) -> None:
    got = convert(tone(hz, rate_in), rate_in, rate_out)
    wanted = tone(hz, rate_out, start=0.001)
    assert np.abs(got[200:].astype(int) - wanted[200:]).max() <= 12


@pytest.mark.parametrize("rate_in", [24_000, 48_000])
@pytest.mark.parametrize("hz", [8600, 9500, 11_500])
def test_what_would_alias_is_gone(rate_in: int, hz: int) -> None:
    got = convert(tone(hz, rate_in), rate_in, 16_000)
    assert np.abs(got[200:]).max() <= 5  # 66 dB down


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_lanes_do_not_mix(rate_in: int, rate_out: int) -> None:
    one = convert(tone(700, rate_in), rate_in, rate_out)
    assert np.array_equal(convert(tone(700, rate_in), rate_in, rate_out, rows=5), one)


def test_overshoot_saturates() -> None:
    square = np.repeat(np.array([32_767, -32_768] * 60, np.int16), 8)
    got = convert(square, 48_000, 16_000)
    assert got.max() == 32_767
    assert got.min() == -32_768


def test_a_row_that_was_reset_is_silent() -> None:
    polyphase, row = Polyphase(2, 1, 48_000, 16_000), np.array([1])
    out = np.empty((1, 320), np.int16)
    polyphase.run(row, np.full((1, 960), 9000, np.int16), out)
    polyphase.reset(1)
    polyphase.run(row, np.zeros((1, 960), np.int16), out)
    assert not out.any()
