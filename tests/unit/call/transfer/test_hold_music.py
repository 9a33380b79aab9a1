"""Music and ringback for a caller who waits."""

import asyncio
import wave
from pathlib import Path

import numpy as np
import pytest

from active_call.call.audio import voice as voice_module
from active_call.call.transfer import hold_music
from active_call.call.transfer.hold_music import HoldMusic
from active_call.lanes.messages import MarkPlayed
from active_call.media.files import MediaSource
from active_call.outbound.guard import Origin
from active_call.wire import events
from active_call.wire.commands import Hangup, Interrupt
from tests.unit.call.fakes import SampleVoice
from tests.unit.call.scene import VOICE, Scene, says

SECOND = 16_000


@pytest.fixture(autouse=True)
def voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_module, "load_tts", lambda name: SampleVoice())


@pytest.fixture(autouse=True)
def fallback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "fallback.wav"
    monkeypatch.setattr(hold_music, "FALLBACK", path)
    return path


@pytest.fixture
def sounds(tmp_path: Path) -> MediaSource:
    return MediaSource(tmp_path)


def wav(path: Path, seconds: float = 0.1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SECOND)
        file.writeframes(np.full(round(SECOND * seconds), 1_000, "<i2").tobytes())


async def until_playing(scene: Scene) -> None:
    for _ in range(200):
        if scene.lane.write_position:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing is played")


def music_of(scene: Scene) -> HoldMusic:
    return scene.call.transfer.music


def heard(scene: Scene, position: int) -> None:
    """The media plane has played all up to `position`."""
    for mark, at in list(scene.lane._marks.items()):
        if at <= position:
            scene.lane.receive(MarkPlayed(0, 7, 1, mark, at))


def test_t21_music_that_is_shorter_than_the_wait_begins_again(tmp_path: Path, sounds: MediaSource) -> None:
    wav(tmp_path / "short.wav")

    async def script(scene: Scene) -> None:
        await scene.start()
        music_of(scene).play("short.wav", Origin.CLIENT)
        await until_playing(scene)
        for _ in range(100):
            await asyncio.sleep(0.01)
        assert scene.lane.write_position > SECOND
        music_of(scene).stop()
        assert not scene.playing()
        await scene.give(Hangup())

    assert Scene("audio", sounds=sounds).play(script).errors() == []


def test_a_missing_file_is_replaced(fallback: Path, sounds: MediaSource) -> None:
    wav(fallback)

    async def script(scene: Scene) -> None:
        await scene.start()
        music_of(scene).play("missing.wav", Origin.CLIENT)
        await until_playing(scene)
        await scene.give(Hangup())

    assert Scene("audio", sounds=sounds).play(script).errors() == []


@pytest.mark.parametrize("name", ["missing.wav", "../missing.wav", "/etc/shadow.wav"])
def test_without_a_replacement_it_is_one_error(name: str, sounds: MediaSource) -> None:
    async def script(scene: Scene) -> None:
        await scene.start()
        music_of(scene).play(name, Origin.CLIENT)
        await asyncio.sleep(1)
        assert not scene.playing()
        await scene.give(Hangup())

    ((sender, text),) = Scene("audio", sounds=sounds).play(script).errors()
    assert sender == "moh"
    assert text.startswith(f'"{name}": there is no such file')


@pytest.mark.parametrize("there_is_a_fallback", [True, False])
def test_a_file_that_is_no_sound_is_replaced_once(
    there_is_a_fallback: bool, fallback: Path, tmp_path: Path, sounds: MediaSource
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVE")
    if there_is_a_fallback:
        wav(fallback)

    async def script(scene: Scene) -> None:
        await scene.start()
        music_of(scene).play("broken.wav", Origin.CLIENT)
        for _ in range(100):
            await asyncio.sleep(0.01)
        assert scene.playing() is there_is_a_fallback
        await scene.give(Hangup())

    ((sender, _),) = Scene("audio", sounds=sounds).play(script).errors()
    assert sender == "play"


def test_speech_takes_its_place_and_it_begins_again_afterwards() -> None:
    async def script(scene: Scene) -> None:
        await scene.start(tts=VOICE)
        music_of(scene).ring()
        assert scene.playing()
        await scene.give(says("ab", "one", end_of_stream=True))
        await asyncio.sleep(0.1)
        heard(scene, scene.lane.write_position)
        await asyncio.sleep(0.1)
        assert scene.playing()
        music_of(scene).stop()
        await asyncio.sleep(0.1)
        assert not scene.playing()
        await scene.give(Hangup())

    scene = Scene("audio").play(script)
    started = {event.play_id for event in scene.all(events.TrackStart)}
    assert started == {None, "one", "ringback"}


def test_it_waits_for_what_is_played() -> None:
    async def script(scene: Scene) -> None:
        await scene.start(tts=VOICE)
        await scene.give(says("ab", "one", end_of_stream=True))
        music_of(scene).ring()
        await asyncio.sleep(0.1)
        queued = scene.lane.write_position
        heard(scene, queued)
        await asyncio.sleep(0.1)
        assert scene.lane.write_position > queued
        await scene.give(Hangup())

    Scene("audio").play(script)


def test_an_interrupt_ends_it_for_good() -> None:
    async def script(scene: Scene) -> None:
        await scene.start(tts=VOICE)
        music_of(scene).ring()
        await scene.give(Interrupt(), says("ab", "one", end_of_stream=True))
        await asyncio.sleep(0.1)
        heard(scene, scene.lane.write_position)
        await asyncio.sleep(1)
        assert not scene.playing()
        await scene.give(Hangup())

    Scene("audio").play(script)


def test_stopping_it_leaves_speech_alone() -> None:
    async def script(scene: Scene) -> None:
        await scene.start(tts=VOICE)
        music_of(scene).ring()
        await scene.give(says("ab" * 50, "one"))
        music_of(scene).stop()
        assert scene.playing()
        await scene.give(Hangup())

    Scene("audio").play(script)


def test_a_file_that_is_found_too_late_is_not_played(tmp_path: Path, sounds: MediaSource) -> None:
    wav(tmp_path / "late.wav")

    async def script(scene: Scene) -> None:
        await scene.start()
        music_of(scene).play("late.wav", Origin.CLIENT)
        music_of(scene).stop()
        for _ in range(50):
            await asyncio.sleep(0.01)
        assert not scene.playing()
        await scene.give(Hangup())

    Scene("audio", sounds=sounds).play(script)
