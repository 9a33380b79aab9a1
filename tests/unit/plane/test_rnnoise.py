import os
import wave
from pathlib import Path

import numpy as np
import pytest

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.core.errors import MediaError
from active_call.plane import rnnoise
from active_call.plane.rnnoise import RnnoiseStream, RnnoiseThread

SPEECH = Path(
    os.environ.get("ACTIVE_CALL_TEST_DATA", "../shared/data"), "speech", "hello_book_course_zh_16k.wav"
)

try:
    rnnoise.library()
except MediaError:
    pytest.skip("pyrnnoise is not installed", allow_module_level=True)


def speech() -> Pcm:
    if not SPEECH.exists():
        pytest.skip("no recorded speech: set ACTIVE_CALL_TEST_DATA")
    with wave.open(str(SPEECH)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return pcm[: len(pcm) // TICK_SAMPLES * TICK_SAMPLES]


def noise(count: int) -> Pcm:
    samples: Pcm = np.random.default_rng(7).normal(0, 1000, count).astype(np.int16)
    return samples


def power(pcm: Pcm) -> float:
    return float((pcm.astype(float) ** 2).mean())


def cleaned(pcm: Pcm) -> Pcm:
    stream = RnnoiseStream()
    return np.concatenate([stream.process(pcm[i : i + TICK_SAMPLES]) for i in range(0, len(pcm), TICK_SAMPLES)])


def frame(value: int) -> Pcm:
    return np.full(TICK_SAMPLES, value, np.int16)


def test_noise_alone_is_all_but_gone() -> None:
    out = cleaned(noise(50 * TICK_SAMPLES))
    assert power(out[20 * TICK_SAMPLES :]) < power(noise(1000)) / 100


def test_voice_comes_through_32_ms_late() -> None:
    voice = speech()
    out = cleaned(voice)
    assert len(out) == len(voice)
    line = out.astype(float)
    match = [float(line[late:] @ voice[: len(voice) - late]) for late in range(600)]
    assert abs(int(np.argmax(match)) - 512) <= 8
    assert power(out) > power(voice) / 2


def test_lane_gets_its_audio_a_tick_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rnnoise, "RnnoiseStream", Doubler)
    thread = RnnoiseThread(threaded=False)
    assert thread.exchange({3: frame(5)})[3].tolist() == [0] * TICK_SAMPLES
    assert thread.exchange({3: frame(7), 4: frame(1)})[3].tolist() == [10] * TICK_SAMPLES
    out = thread.exchange({3: frame(9), 4: frame(2)})
    assert [int(out[3][0]), int(out[4][0])] == [14, 2]


def test_unfinished_audio_comes_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rnnoise, "RnnoiseStream", Doubler)
    thread = RnnoiseThread(threaded=False)
    monkeypatch.setattr(thread, "_take", lambda job: None)
    for value in range(1, 5):
        out = thread.exchange({3: frame(value)})
        assert int(out[3][0]) == value - 1


def test_lane_that_comes_again_begins_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rnnoise, "RnnoiseStream", Doubler)
    Doubler.made = 0
    thread = RnnoiseThread(threaded=False)
    thread.exchange({3: frame(5)})
    thread.remove(3)
    thread.remove(3)
    assert int(thread.exchange({3: frame(6)})[3][0]) == 0
    assert Doubler.made == 2


def test_thread_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rnnoise, "RnnoiseStream", Doubler)
    thread = RnnoiseThread()
    thread.exchange({3: frame(5)})
    for _ in range(1_000_000):
        if thread._done:
            break
    assert int(thread.exchange({3: frame(6)})[3][0]) == 10


def test_library_that_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rnnoise, "find_spec", lambda name: None)
    with pytest.raises(MediaError, match=r"pip install 'active-call\[rnnoise\]'"):
        rnnoise.library.__wrapped__()


class Doubler:
    """A stream that doubles."""

    made = 0

    def __init__(self) -> None:
        Doubler.made += 1

    def process(self, samples: Pcm) -> Pcm:
        return samples * 2
