import os
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.core.audio import SAMPLE_RATE, Pcm, ms_to_samples
from active_call.speech.beep import Beep, BeepDetector

SPEECH = Path(os.environ.get("ACTIVE_CALL_TEST_DATA", "../shared/data"), "speech")


def tone(hz: float, ms: int, amplitude: float = 8_000) -> Pcm:
    time = np.arange(ms_to_samples(ms)) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * hz * time)).astype(np.int16)


def silence(ms: int) -> Pcm:
    return np.zeros(ms_to_samples(ms), np.int16)


def noise(ms: int, level: float) -> Pcm:
    samples: Pcm = np.random.default_rng(1).normal(0, level, ms_to_samples(ms)).astype(np.int16)
    return samples


def beeps(pcm: Pcm, *, chunk_ms: int = 100) -> list[Beep]:
    """What is found in `pcm` fed in pieces."""
    detector, step = BeepDetector(), ms_to_samples(chunk_ms)
    found = [detector.feed(pcm[at : at + step], at * 1000 // SAMPLE_RATE) for at in range(0, len(pcm), step)]
    return [beep for beep in found if beep]


@pytest.mark.parametrize("hz", [400 + 30, 780, 1000, 1400, 1980])
@pytest.mark.parametrize("ms", [240, 500, 1000])
def test_tone_between_silences_is_a_beep(hz: int, ms: int) -> None:
    (beep,) = beeps(np.concatenate((silence(730), tone(hz, ms), silence(400))))
    assert abs(beep.start_ms - 730) <= 20
    assert abs(beep.end_ms - 730 - ms) <= 20
    assert abs(beep.hz - hz) <= 15


def test_noise_of_a_line_does_not_hide_it() -> None:
    line = np.concatenate((silence(500), tone(1000, 400, 4_000), silence(500)))
    assert len(beeps((line + noise(1400, 150)).astype(np.int16))) == 1


@pytest.mark.parametrize(
    "sound",
    [
        tone(1000, 120),
        tone(300, 500),
        tone(2600, 500),
        tone(1000, 500, 100),
        tone(450, 4_000),
        (tone(440, 800) // 2 + tone(620, 800) // 2).astype(np.int16),
        noise(800, 3_000),
    ],
    ids=["short", "low", "high", "faint", "dial tone", "two tones", "noise"],
)
def test_other_sounds_are_none(sound: Pcm) -> None:
    assert beeps(np.concatenate((silence(300), sound, silence(300)))) == []


def test_a_whistle_that_glides_is_none() -> None:
    time = np.arange(ms_to_samples(600)) / SAMPLE_RATE
    glide = (8000 * np.sin(2 * np.pi * (600 * time + 1000 * time**2))).astype(np.int16)
    assert beeps(np.concatenate((glide, silence(200)))) == []


@pytest.mark.parametrize("name", ["hello_book_course_zh_16k.wav", "noise_gating_zh_16k.wav"])
def test_speech_is_none(name: str) -> None:
    path = SPEECH / name
    if not path.exists():
        pytest.skip("no recorded speech: set ACTIVE_CALL_TEST_DATA")
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    assert beeps(pcm) == []


@given(chunk_ms=st.integers(1, 700))
def test_size_of_the_pieces_does_not_matter(chunk_ms: int) -> None:
    line = np.concatenate((silence(505), tone(900, 400), silence(900)))
    (beep,) = beeps(line, chunk_ms=chunk_ms)
    assert abs(beep.start_ms - 505) <= 22
    assert abs(beep.end_ms - 905) <= 22


def test_missing_audio_ends_the_tone() -> None:
    detector = BeepDetector()
    assert detector.feed(tone(1000, 150), 0) is None
    assert detector.feed(tone(1000, 150), 5_000) is None
    assert detector.feed(silence(100), 5_150) is None


def test_nothing_is_nothing() -> None:
    assert BeepDetector().feed(silence(0), 0) is None
