import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.call.audio.playout import Playout, leave_out
from active_call.core.audio import Pcm

MESSAGE = 320
START = 640


def loud(samples: int = MESSAGE) -> Pcm:
    return np.full(samples, 1000, np.int16)


def stream(playout: Playout, seconds: float, *, extra: int, message: int = MESSAGE) -> int:
    """A stream in real time behind `extra` samples of delay: how many samples were left out."""
    left_out = 0
    queued = START + extra
    for index in range(round(seconds * 16_000 / message)):
        given = playout.put(loud(message), queued, index * message / 16_000)
        left_out += message - len(given)
        queued += len(given) - message
    return left_out


def test_silence_goes_before_what_comes_when_nothing_is_left() -> None:
    given = Playout(40).put(loud(), 0, 0.0)
    assert not given[:START].any()
    assert np.array_equal(given[START:], loud())


def test_more_silence_goes_first_when_that_happens_again_soon() -> None:
    playout = Playout(20)
    moments = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 5.0]
    starts = [len(playout.put(loud(), 0, moment)) - MESSAGE for moment in moments]
    assert starts == [320, 640, 960, 1280, 1600, 1600, 320]


def test_what_comes_in_time_is_played_as_it_is() -> None:
    assert np.array_equal(Playout().put(loud(), 1, 0.0), loud())


@pytest.mark.parametrize("message", [320, 1280])
def test_delay_left_by_a_stall_is_worked_off(message: int) -> None:
    left_out = stream(Playout(40), 4.0, extra=3200, message=message)
    assert 3200 - 320 <= left_out <= 3200


def test_it_is_worked_off_slowly() -> None:
    left_out = stream(Playout(40), 3.0, extra=32_000, message=1280)
    assert 0 < left_out <= 0.2 * 2 * 16_000


def test_a_little_delay_is_left_alone() -> None:
    assert stream(Playout(40), 4.0, extra=320) == 0


def test_without_catching_up_nothing_is_left_out() -> None:
    assert stream(Playout(40, catch_up=False), 4.0, extra=8000) == 0


def test_what_is_sent_ahead_of_time_is_played_in_full() -> None:
    playout, queued = Playout(40), 0
    for second in range(5):  # three seconds of speech at once, each second
        for _ in range(30):
            given = playout.put(loud(1600), queued, float(second))
            assert len(given) - (0 if queued else START) == 1600
            queued += len(given)
        queued -= 16_000


def test_a_new_start_forgets_the_old_delay() -> None:
    playout = Playout(40)
    stream(playout, 1.02, extra=8000)
    playout.put(loud(), 0, 1.02)
    assert len(playout.put(loud(), START, 1.04)) == MESSAGE


def test_the_quietest_part_is_left_out() -> None:
    pcm = np.concatenate((loud(640), np.zeros(400, np.int16), loud(640)))
    shorter = leave_out(pcm, 320)
    assert len(shorter) == len(pcm) - 320
    assert np.count_nonzero(shorter == 1000) >= 1279


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_never_more_than_half_is_left_out(length: int, samples: int) -> None:
    pcm = np.arange(length, dtype=np.int16)
    shorter = leave_out(pcm, samples)
    assert length - min(samples, length // 2) <= len(shorter) <= length
    assert shorter.dtype == np.int16
