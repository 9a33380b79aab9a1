import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.dsp.windows import WINDOW, Windows

TICK = 320


def ticks(rate_hz: int, lanes: int, count: int) -> Pcm:
    samples = np.arange(lanes * count * rate_hz // 50, dtype=np.int16).reshape(lanes, -1)
    return samples.reshape(lanes, count, -1).swapaxes(0, 1)


@pytest.mark.parametrize(("rate_hz", "length"), [(8000, 256), (16_000, 512)])
@pytest.mark.parametrize("row", [0, 3, 7, 12])
def test_windows_are_the_audio_after_the_lead(rate_hz: int, length: int, row: int) -> None:
    windows, rows = Windows(16, rate_hz), np.array([row])
    windows.restart(rows, np.array([6400]))
    audio = ticks(rate_hz, 1, 30)
    lead = row % 8 * length // 8
    stream = np.concatenate((np.zeros(lead, np.int16), audio.reshape(-1)))
    number = np.array([0])
    for tick in audio:
        if windows.write(rows, tick)[0]:
            first = int(number[0]) * length
            expected = np.concatenate((np.zeros(length // 8, np.int16), stream))[
                first : first + length * 9 // 8
            ]
            np.testing.assert_array_equal(windows.read(rows, number, 1)[0], expected)
            np.testing.assert_array_equal(windows.read(rows, number)[0], expected[length // 8 :])
            assert windows.starts(rows, number)[0] == 6400 - row % 8 * WINDOW // 8 + number[0] * WINDOW
            number += 1
    assert number[0] == windows.complete(rows)[0] == (30 * 5 + row % 8) // 8


def test_lanes_started_together_are_spread_over_the_ticks() -> None:
    windows, rows = Windows(64, 8000), np.arange(64)
    windows.restart(rows, np.zeros(64, np.int64))
    assert [int(windows.write(rows, tick).sum()) for tick in ticks(8000, 64, 16)] == [40] * 16


def test_a_gap_is_noticed() -> None:
    windows, rows = Windows(2, 8000), np.array([0, 1])
    positions = np.array([640, 960])
    assert not windows.continues(rows, positions).any()
    windows.restart(rows, positions)
    windows.write(rows, ticks(8000, 2, 1)[0])
    assert windows.continues(rows, positions + TICK).tolist() == [True, True]
    assert windows.continues(rows, positions + [2 * TICK, TICK]).tolist() == [False, True]
    windows.reset(1)
    assert windows.continues(rows, positions + TICK).tolist() == [True, False]


def test_a_restart_forgets_the_audio() -> None:
    windows, rows = Windows(1, 8000), np.array([0])
    for start in (0, 64_000):
        windows.restart(rows, np.array([start]))
        assert not windows.read(rows, np.array([0]), 1).any()
        windows.write(rows, ticks(8000, 1, 1)[0] + 1)
