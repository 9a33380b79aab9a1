import numpy as np
import pytest

from active_call.core.audio import SAMPLE_RATE, Pcm
from active_call.dsp.tones import HIGH_HZ, KEYPAD, LOW_HZ, ToneSender, dual_tone

QUIET_TICK = np.zeros(320, np.int16)


def spectrum_hz(samples: Pcm) -> list[float]:
    """The two strongest frequencies, the lower one first."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * SAMPLE_RATE))
    peaks = np.flatnonzero((power[1:-1] > power[:-2]) & (power[1:-1] > power[2:])) + 1
    return sorted(peaks[np.argsort(power[peaks])[-2:]] / 8)


def run(sender: ToneSender, row: int) -> Pcm:
    ticks = []
    while sender.busy(row):
        ticks.append(sender.tick(row))
        sender.advance()
    return np.concatenate(ticks)


@pytest.mark.parametrize("key", KEYPAD)
def test_each_key_is_its_two_frequencies(key: str) -> None:
    low, high = divmod(KEYPAD.index(key), 4)
    assert spectrum_hz(dual_tone(key, 8000)) == pytest.approx([LOW_HZ[low], HIGH_HZ[high]], abs=0.5)


def test_together_they_are_ten_decibels_below_the_loudest_sine() -> None:
    power = np.mean(np.square(dual_tone("5", 16_000).astype(float)))
    assert 10 * np.log10(power / (32_768**2 / 2)) == pytest.approx(-10, abs=0.1)


def test_ends_are_soft() -> None:
    tone = np.abs(dual_tone("1", 800).astype(int))
    assert tone.max() > 13_000
    assert tone[:4].max() < 2000
    assert tone[-4:].max() < 2000


def test_keys_sound_one_after_another() -> None:
    sender = ToneSender()
    sender.start(3, "5a", 100, 50)
    audio = run(sender, 3)
    expected = [dual_tone("5", 1600), np.zeros(800, np.int16), dual_tone("A", 1600), np.zeros(800, np.int16)]
    np.testing.assert_array_equal(audio, np.concatenate(expected))


def test_more_keys_queue_behind_the_first_ones() -> None:
    sender = ToneSender()
    sender.start(0, "1", 70, 50)
    sender.tick(0)
    sender.advance()
    sender.start(0, "2", 70, 50)
    audio = run(sender, 0)
    np.testing.assert_array_equal(audio[1920 - 320 :][:1120], dual_tone("2", 1120))


def test_a_tick_is_the_same_until_it_is_sent() -> None:
    sender = ToneSender()
    sender.start(0, "1", 100, 50)
    first = sender.tick(0)
    np.testing.assert_array_equal(sender.tick(0), first)
    sender.advance()
    assert (sender.tick(0) != first).any()


def test_the_lane_is_done_after_the_last_pause() -> None:
    sender = ToneSender()
    sender.start(0, "1", 50, 40)
    done = []
    for _ in range(5):
        assert sender.busy(0)
        sender.tick(0)
        done.append(sender.advance())
    assert done == [[], [], [], [], [0]]
    assert not sender.busy(0)


def test_a_key_sounds_from_its_first_tick_on() -> None:
    sender = ToneSender()
    sender.start(0, "1", 50, 40)
    assert not sender.sounding(0)
    sender.tick(0)
    assert sender.sounding(0)


@pytest.mark.parametrize(("duration_ms", "samples"), [(0, 640), (100_000, 8 * 16_000)])
def test_durations_have_limits(duration_ms: int, samples: int) -> None:
    sender = ToneSender()
    sender.start(0, "1", duration_ms, 0)
    audio = run(sender, 0)
    assert len(audio) == samples + 640
    assert audio[:samples].any()
    assert not audio[samples:].any()


def test_what_is_no_key_is_skipped() -> None:
    sender = ToneSender()
    sender.start(0, "w,?", 100, 50)
    assert sender.rows == []


def test_reset_drops_what_is_queued() -> None:
    sender = ToneSender()
    sender.start(0, "123", 100, 50)
    sender.start(1, "1", 100, 50)
    sender.tick(0)
    sender.reset(0)
    assert sender.rows == [1]
    assert sender.advance() == []
