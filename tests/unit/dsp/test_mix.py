import numpy as np

from active_call.dsp.mix import RingWindow, fade_out


def test_reads_and_writes_anywhere_in_the_rings() -> None:
    ring = np.zeros((4, 100), np.int16)
    window, rows = RingWindow(ring, 30), np.array([0, 2, 3])
    positions = np.array([5, 185, 271])  # the last two wrap
    samples = np.arange(90, dtype=np.int16).reshape(3, 30)
    window.write(rows, positions, samples)
    assert np.array_equal(window.read(rows, positions), samples)
    assert ring[2, 0] == 30 + 15
    assert not ring[1].any()


def test_the_last_place_does_not_wrap() -> None:
    ring = np.arange(100, dtype=np.int16)[None].copy()
    assert RingWindow(ring, 30).read(np.array([0]), np.array([70]))[0, -1] == 99


def test_fade_is_a_line_to_zero_in_parts() -> None:
    samples = np.full(10, 1000, np.int16)
    whole = fade_out(samples, 0, 10)
    assert whole[0] == 900
    assert whole[-1] == 0
    assert np.array_equal(np.concatenate((fade_out(samples[:4], 0, 10), fade_out(samples[4:], 4, 10))), whole)
