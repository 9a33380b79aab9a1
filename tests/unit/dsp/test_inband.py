import os
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from active_call.core.audio import Pcm
from active_call.dsp.dtmf import DIGITS
from active_call.dsp.g711 import A_LAW, G711, MU_LAW
from active_call.dsp.inband import ToneDetector
from active_call.dsp.resample import Upsampler
from active_call.dsp.tones import HIGH_HZ, KEYPAD, LOW_HZ, dual_tone

SPEECH = Path(os.environ.get("ACTIVE_CALL_TEST_DATA", "../shared/data"), "speech")
Signal = NDArray[np.float64]


def tone(
    key: str,
    ms: float = 40,
    *,
    dbfs: float = -10.0,
    twist_db: float = 0.0,
    low_off: float = 0.0,
    high_off: float = 0.0,
) -> Signal:
    """A key at 8 kHz; `twist_db` is by how much the high tone is louder, `..._off` relative errors."""
    low, high = divmod(KEYPAD.index(key), 4)
    time = np.arange(round(ms * 8)) / 8000
    quieter, louder = 10 ** (-twist_db / 40), 10 ** (twist_db / 40)
    wave_ = quieter * np.sin(2 * np.pi * LOW_HZ[low] * (1 + low_off) * time + 1)
    wave_ += louder * np.sin(2 * np.pi * HIGH_HZ[high] * (1 + high_off) * time + 2)
    full = 32_768 / np.sqrt(2) * 10 ** (dbfs / 20)
    return np.asarray(wave_ * full / np.sqrt((quieter**2 + louder**2) / 2))


def silence(ms: float) -> Signal:
    return np.zeros(round(ms * 8))


def noise(samples: int, dbfs: float) -> Signal:
    return np.random.default_rng(5).normal(0, 32_768 / np.sqrt(2) * 10 ** (dbfs / 20), samples)


def by_telephone(signal: Signal, law: int = MU_LAW) -> Pcm:
    """What a lane hears of a signal that went through G.711."""
    whole = np.concatenate((signal, np.zeros(-len(signal) % 160)))
    g711, upsampler, laws = G711(1, 160), Upsampler(1, 1), np.array([law])
    heard = np.zeros((len(whole) // 160, 320), np.int16)
    for tick, frame in enumerate(np.clip(np.rint(whole), -32_768, 32_767).astype(np.int16).reshape(-1, 1, 160)):
        codes, narrow = np.zeros((1, 160), np.uint8), np.zeros((1, 160), np.int16)
        g711.encode(frame, laws, codes)
        g711.decode(codes, laws, narrow)
        upsampler.run(np.array([0]), narrow, heard[tick : tick + 1])
    return heard.ravel()


def find(audio: Pcm) -> list[tuple[str, float]]:
    """The keys in 16 kHz audio, and when they begin, in ms."""
    detector, found = ToneDetector(1), []
    for tick in range(len(audio) // 320):
        presses, _ = detector.hear(np.array([0]), audio[None, 320 * tick : 320 * (tick + 1)])
        found += [(press.key, (320 * tick - press.onset) / 16) for press in presses]
    return found


def keys(*signals: Signal, law: int = MU_LAW) -> str:
    return "".join(key for key, _ in find(by_telephone(np.concatenate((*signals, silence(200))), law)))


def suspects(audio: Pcm) -> list[bool]:
    """In which ticks of 16 kHz audio there may be a key."""
    detector = ToneDetector(1)
    ticks = audio[: len(audio) // 320 * 320].reshape(-1, 1, 320)
    return [bool(detector.hear(np.array([0]), tick)[1][0]) for tick in ticks]


@pytest.mark.parametrize("law", [MU_LAW, A_LAW])
def test_all_keys_are_told(law: int) -> None:
    dialled = [part for key in DIGITS for part in (silence(40), tone(key))]
    assert keys(*dialled, law=law) == DIGITS


def test_t01_zero_is_told_first_and_repeats_once_each() -> None:
    assert keys(tone("0"), silence(40), tone("0"), silence(40), tone("0", 700)) == "000"


@pytest.mark.parametrize("key", KEYPAD)
@pytest.mark.parametrize(
    "quality",
    [
        {"dbfs": -3},
        {"dbfs": -20},
        {"dbfs": -30},
        {"twist_db": 6},
        {"twist_db": -6},
        {"low_off": 0.015, "high_off": 0.015},
        {"low_off": -0.015, "high_off": -0.015},
        {"low_off": -0.015, "high_off": 0.015},
        {"dbfs": -30, "twist_db": -6, "low_off": 0.015, "high_off": -0.015},
    ],
    ids=str,
)
def test_all_that_q24_allows_is_told_wherever_it_begins(key: str, quality: dict[str, float]) -> None:
    signal = [part for begin in range(0, 20, 3) for part in (silence(60 + begin), tone(key, **quality))]
    assert keys(*signal) == key * 7


@pytest.mark.parametrize("key", KEYPAD)
@pytest.mark.parametrize("dbfs", [-5, -30])
def test_noise_of_15_db_below_does_not_matter(key: str, dbfs: float) -> None:
    signal = np.concatenate(
        (silence(303), tone(key, 42, dbfs=dbfs), silence(44), tone(key, 42, dbfs=dbfs), silence(300))
    )
    assert keys(signal + noise(len(signal), dbfs - 15)) == key * 2


def test_onset_is_told_within_ten_milliseconds() -> None:
    for begin in range(100, 130):
        [(_, onset)] = find(by_telephone(np.concatenate((silence(begin), tone("7", 80), silence(100)))))
        assert -5 <= onset - begin - 1.5 <= 10


def test_own_tones_are_understood() -> None:
    audio = [part for key in DIGITS for part in (dual_tone(key, 640), np.zeros(640, np.int16))]
    assert "".join(key for key, _ in find(np.concatenate(audio))) == DIGITS


def test_a_faint_key_is_only_suspected() -> None:
    audio = by_telephone(np.concatenate((silence(100), tone("5", 100, dbfs=-47), silence(100))))
    assert find(audio) == []
    assert sum(suspects(audio)) >= 5


def test_what_is_too_short_is_no_key() -> None:
    for begin in range(20):
        assert keys(silence(100 + begin), tone("5", 23)) == ""


def test_a_short_interruption_is_no_second_press() -> None:
    for begin in range(20):
        assert keys(silence(100 + begin), tone("5", 60), silence(20), tone("5", 60)) == "5"


def test_a_pause_of_40_ms_is() -> None:
    for begin in range(20):
        assert keys(silence(100 + begin), tone("5", 60), silence(40), tone("5", 60)) == "55"


def test_the_next_key_may_follow_at_once() -> None:
    assert keys(silence(100), tone("5", 60), tone("6", 60), tone("5", 60)) == "565"


@pytest.mark.parametrize("off", [-0.035, 0.035])
@pytest.mark.parametrize("key", KEYPAD)
def test_frequencies_that_are_wrong_are_no_key(key: str, off: float) -> None:
    assert keys(silence(100), tone(key, 100, low_off=off, high_off=off)) == ""


@pytest.mark.parametrize("twist_db", [-12, 12])
def test_tones_too_different_in_level_are_no_key(twist_db: float) -> None:
    assert keys(silence(100), tone("5", 100, twist_db=twist_db)) == ""


def test_one_of_the_tones_is_no_key() -> None:
    time = np.arange(8000) / 8000
    for hz in LOW_HZ + HIGH_HZ:
        assert keys(8000 * np.sin(2 * np.pi * hz * time)) == ""


def test_progress_tones_are_no_keys() -> None:
    time = np.arange(8000) / 8000
    for pair in ((350, 440), (440, 480), (480, 620), (425, 425), (1400, 2060), (2100, 2100), (1100, 1100)):
        assert keys(sum((6000 * np.sin(2 * np.pi * hz * time) for hz in pair), np.zeros(8000))) == ""


def test_keys_are_told_over_a_quiet_voice_only() -> None:
    voice = np.resize(_speech("hello_book_course_zh_16k.wav")[::2], 4000) * 0.03
    signal = np.concatenate((silence(100), tone("5", 100), silence(300)))
    assert keys(signal + voice) == "5"


@pytest.mark.parametrize("speed", [0.7, 0.85, 1.0, 1.2, 1.4])
@pytest.mark.parametrize("name", ["hello_book_course_zh_16k.wav", "noise_gating_zh_16k.wav"])
def test_speech_is_no_key(name: str, speed: float) -> None:
    speech = _speech(name)
    voice = np.interp(np.arange(0, len(speech) - 1, speed), np.arange(len(speech)), speech).astype(np.int16)
    assert find(voice) == []
    assert sum(suspects(voice)) <= 2


def test_chords_are_no_keys() -> None:
    rng = np.random.default_rng(3)
    time = np.arange(4800) / 16_000
    for _ in range(200):
        roots = 220 * 2 ** (rng.integers(0, 36, 3) / 12)
        partials = [root * number for root in roots for number in range(1, 5)]
        chord = sum(
            np.sin(2 * np.pi * hz * time + rng.uniform(0, 6)) / (1 + i % 4) for i, hz in enumerate(partials)
        )
        assert find((3000 * chord).astype(np.int16)) == []


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 1.0, 100.0, 3000.0, 30_000.0]))
def test_noise_is_no_key(seed: int, loudness: float) -> None:
    audio = np.random.default_rng(seed).normal(0, loudness, 3200)
    assert find(np.clip(audio, -32_768, 32_767).astype(np.int16)) == []


def test_a_key_is_suspected_at_once_and_to_its_end() -> None:
    for begin in range(20):
        audio = by_telephone(np.concatenate((silence(100 + begin), tone("5", 100), silence(100))))
        found = suspects(audio)
        onset, end = 1600 + 16 * begin + 24, 3200 + 16 * begin + 24
        for tick, suspected in enumerate(found):
            start = 320 * tick
            covered = min(end, start + 320) - max(onset, start)
            if start >= onset and covered > 160:
                assert suspected
            if start < onset:
                assert suspected == (covered > 160) or 145 < covered < 180
            if start > end or start + 320 < onset:
                assert not suspected


def test_lanes_do_not_disturb_each_other() -> None:
    detector, rows = ToneDetector(8), np.array([2, 5, 7])
    audio = [np.concatenate((np.zeros(320 * i, np.int16), dual_tone(key, 1600))) for i, key in enumerate("1*0")]
    lanes = np.stack([np.resize(np.concatenate((one, np.zeros(1600, np.int16))), 3200) for one in audio])
    found = []
    for tick in range(10):
        presses, _ = detector.hear(rows, np.ascontiguousarray(lanes[:, 320 * tick : 320 * (tick + 1)]))
        found += [(press.lane, press.key) for press in presses]
    assert found == [(0, "1"), (1, "*"), (2, "0")]


def test_reset_forgets_a_key_that_is_held() -> None:
    detector, audio = ToneDetector(1), dual_tone("8", 3200).reshape(-1, 1, 320)
    told = [detector.hear(np.array([0]), tick)[0] for tick in audio[:4]]
    assert sum(map(len, told)) == 1
    detector.reset(0)
    told = [detector.hear(np.array([0]), tick)[0] for tick in audio[4:]]
    assert sum(map(len, told)) == 1


def _speech(name: str) -> Pcm:
    if not (SPEECH / name).is_file():
        pytest.skip("no recorded speech: set ACTIVE_CALL_TEST_DATA")
    with wave.open(str(SPEECH / name)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)
