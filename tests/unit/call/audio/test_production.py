"""Voices, streams and files become audio on the lane, in time and in order."""

import asyncio
import base64
import wave
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from active_call.media.cache import MediaCache
from active_call.media.files import MediaSource
from active_call.outbound.guard import Origin
from active_call.speech.providers import TtsChunk
from active_call.wire.commands import Play, Tts
from active_call.wire.events import Error, TrackEnd
from active_call.wire.options import TtsOption
from tests.unit.call.audio.stage import SECOND, Stage, on_stage, write_wav
from tests.unit.call.fakes import SampleVoice


def test_a_failing_voice_is_told_and_ends_the_track(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="fail", play_id="p", end_of_stream=True))
        await stage.settle()

    stage = on_stage(scene, monkeypatch)
    assert stage.call.names() == ["error", "trackStart", "trackEnd"]
    error = stage.call.events[0]
    assert isinstance(error, Error)
    assert error.error == "the voice is hoarse"


def test_no_voice_at_all_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.option = None
        stage.player.tts(Tts(text="hi", end_of_stream=True))
        await stage.settle()

    assert on_stage(scene, monkeypatch).call.names() == ["error", "trackStart", "trackEnd"]


def test_base64_audio_is_played_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="AAAA" * 160, play_id="p", base64=True, end_of_stream=True))
        await stage.settle()
        assert stage.lane.write_position == 320
        stage.player.tts(Tts(text="not base64!", play_id="q", base64=True, end_of_stream=True))
        await stage.settle()

    assert "error" in on_stage(scene, monkeypatch).call.names()


def test_a_file_is_played_from_an_offset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "beep.wav"
    write_wav(path)

    async def scene(stage: Stage) -> None:
        stage.player.play(Play(url=str(path), offset_ms=500), origin=Origin.OPERATOR)
        await stage.settle()
        assert stage.lane.write_position == 8_000
        stage.play_to(8_000)

    stage = on_stage(scene, monkeypatch)
    assert stage.call.names() == ["trackStart", "trackEnd"]
    assert stage.ended == [(str(path), True)]


def test_a_missing_file_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.play(Play(url="no/such.wav"), origin=Origin.OPERATOR)
        await stage.settle()

    error = on_stage(scene, monkeypatch).call.events[0]
    assert isinstance(error, Error)
    assert error.error == '"no/such.wav": No such file or directory'


def test_an_empty_text_is_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text=" "))
        await stage.settle()

    assert on_stage(scene, monkeypatch).ended == [(None, True)]


def test_a_failed_stream_is_told_once_and_ends_with_its_last_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        for text in ("fail", "more", "and more"):
            stage.player.tts(Tts(text=text, play_id="p", streaming=True))
            await asyncio.sleep(0.01)
        assert stage.story() == ["error"]
        stage.player.tts(Tts(text="end", play_id="p", streaming=True, end_of_stream=True))
        await stage.settle()

    assert on_stage(scene, monkeypatch).story() == ["error", "trackStart p", "trackEnd p"]


def test_a_stream_nobody_ends_does_so_when_it_has_been_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="hello", play_id="p", streaming=True))
        await asyncio.sleep(35)
        assert not stage.story(), "audio is still to be heard"
        stage.play_all()
        await asyncio.sleep(4)
        stage.player.tts(Tts(text="again", play_id="p", streaming=True))
        await asyncio.sleep(0.1)
        stage.play_all()
        await asyncio.sleep(9)
        assert not all(task.done() for task in stage.call.tasks)
        await asyncio.sleep(2)
        assert stage.story() == ["trackStart p"]
        stage.play_all()

    assert on_stage(scene, monkeypatch).story() == ["trackStart p", "trackEnd p"]


class SlowVoice(SampleVoice):
    """Takes a second for each text; how many it had at once, and with which options, is kept."""

    def __init__(self) -> None:
        self.options: list[TtsOption] = []
        self.most_at_once = self._now = 0

    async def synthesize(self, text: AsyncIterable[str], option: TtsOption) -> AsyncIterator[TtsChunk]:
        self.options.append(option)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            async for piece in text:
                await asyncio.sleep(60 if piece == "stall" else 1 + 1 / len(piece))
                yield TtsChunk(np.full(len(piece) * 320, len(piece), np.int16), piece)
        finally:
            self._now -= 1


@pytest.mark.parametrize("tasks", [1, 3])
def test_commands_are_made_at_once_and_played_in_order(monkeypatch: pytest.MonkeyPatch, tasks: int) -> None:
    voice = SlowVoice()

    async def scene(stage: Stage) -> None:
        stage.player.option = TtsOption(provider="sample", max_concurrent_tasks=tasks)
        for text in ("a", "bb", "ccc", "dddd"):
            stage.player.tts(Tts(text=text, play_id="p"))
        await asyncio.sleep(10)
        heard = stage.plane.table.playback[1, : 10 * 320 : 320].tolist()
        assert heard == [1, 2, 2, 3, 3, 3, 4, 4, 4, 4]

    stage = on_stage(scene, monkeypatch, voice=voice)
    assert voice.most_at_once == tasks
    assert [data["cmdSeq"] for data in stage.metrics("completed.tts.sample")] == (
        [0, 1, 2, 3] if tasks == 1 else [2, 1, 0, 3]
    )


def test_a_voice_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="stall", play_id="p", auto_hangup=True))
        await asyncio.sleep(11)

    stage = on_stage(scene, monkeypatch, voice=SlowVoice())
    assert stage.story() == ["error", "trackStart p", "trackEnd p"]
    assert stage.ended == [("p", True), ("hangup", True)]
    error = stage.call.events[0]
    assert isinstance(error, Error)
    assert (error.sender, error.error) == ("tts", "the voice sample has sent no audio for 10 s")


def test_a_voice_that_waits_for_text_does_not_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="one", play_id="p", streaming=True))
        await asyncio.sleep(25)  # its audio is not heard yet, so the stream stays open
        stage.player.tts(Tts(text="two", play_id="p", streaming=True, end_of_stream=True))
        await asyncio.sleep(2)
        stage.play_all()

    assert on_stage(scene, monkeypatch, voice=SlowVoice()).story() == ["trackStart p", "trackEnd p"]


def test_nor_does_one_that_reads_its_text_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    class ReadingAhead:
        async def synthesize(self, text: AsyncIterable[str], option: TtsOption) -> AsyncIterator[TtsChunk]:
            read: asyncio.Queue[str | None] = asyncio.Queue()

            async def reading() -> None:
                async for piece in text:
                    read.put_nowait(piece)
                read.put_nowait(None)

            async with asyncio.TaskGroup() as group:
                group.create_task(reading())
                while (piece := await read.get()) is not None:
                    yield TtsChunk(np.zeros(320, np.int16), piece)
                    yield TtsChunk(np.zeros(320, np.int16), piece)

    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="one", play_id="p", streaming=True))
        await asyncio.sleep(15)  # its audio is not heard yet, so the stream stays open
        stage.player.tts(Tts(text="two", play_id="p", streaming=True, end_of_stream=True))
        await asyncio.sleep(2)
        stage.play_all()

    assert on_stage(scene, monkeypatch, voice=ReadingAhead()).story() == ["trackStart p", "trackEnd p"]


def test_options_are_merged_field_by_field(monkeypatch: pytest.MonkeyPatch) -> None:
    voice = SlowVoice()

    async def scene(stage: Stage) -> None:
        stage.player.option = TtsOption(provider="sample", speed=1.5, speaker="anna")
        stage.player.tts(Tts(text="a", option=TtsOption(volume=7)))
        stage.player.tts(Tts(text="b", speaker="bert", option=TtsOption(speaker="carl", speed=2)))
        await asyncio.sleep(5)

    on_stage(scene, monkeypatch, voice=voice)
    assert [(option.speaker, option.speed, option.volume) for option in voice.options] == [
        ("anna", 1.5, 7),
        ("bert", 2.0, None),
    ]


def test_emoji_alone_are_not_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="\U0001f44d !", play_id="p"))
        await stage.settle()
        assert stage.lane.write_position == 0

    assert on_stage(scene, monkeypatch).story() == ["trackStart p", "trackEnd p"]


def test_audio_in_a_stream_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = base64.b64encode(np.full(320, 7, "<i2").tobytes()).decode()

    async def scene(stage: Stage) -> None:
        for piece in (Tts(text="a"), Tts(text=audio, base64=True), Tts(text="b", end_of_stream=True)):
            stage.player.tts(piece.model_copy(update={"play_id": "p", "streaming": True}))
        await stage.settle()
        assert stage.plane.table.playback[1, : 3 * 320 : 320].tolist() == [100, 7, 100]
        stage.play_all()

    assert on_stage(scene, monkeypatch).story() == ["trackStart p", "trackEnd p"]


def test_what_was_said_once_is_played_from_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    voice = SlowVoice()

    async def scene(stage: Stage) -> None:
        for play_id in ("a", "b"):
            stage.player.tts(Tts(text="hello", play_id=play_id))
            await asyncio.sleep(3)
            stage.play_all()
        stage.player.tts(Tts(text="hello", play_id="c", option=TtsOption(volume=6)))
        await asyncio.sleep(3)

    stage = on_stage(scene, monkeypatch, voice=voice, media=MediaSource(cache=MediaCache(tmp_path)))
    assert [data["cached"] for data in stage.metrics("completed.tts.sample")] == [False, True, False]
    assert [data["length"] for data in stage.metrics("completed.tts.sample")] == [3200] * 3
    assert len(voice.options) == 2
    ends = [event.duration for event in stage.call.events if isinstance(event, TrackEnd)]
    assert ends == [100, 100]


def test_streams_and_interrupted_speech_are_not_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="hello", play_id="a", streaming=True, end_of_stream=True))
        await asyncio.sleep(3)
        stage.player.tts(Tts(text="there", play_id="b"))
        await asyncio.sleep(0.5)
        stage.player.interrupt()
        await asyncio.sleep(3)

    on_stage(scene, monkeypatch, voice=SlowVoice(), media=MediaSource(cache=MediaCache(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_looped_file_is_played_until_interrupted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    write_wav(path)

    async def scene(stage: Stage) -> None:
        stage.player.play(Play(url=str(path)), loop=True, origin=Origin.OPERATOR)
        await stage.settle()
        assert stage.lane.write_position > 5 * 16_000
        stage.play_to(320)
        stage.player.interrupt()
        stage.flush_at(640)
        await stage.settle()

    stage = on_stage(scene, monkeypatch)
    assert stage.call.names() == ["trackStart", "interruption", "trackEnd"]
    assert all(task.done() for task in stage.call.tasks)


def test_a_client_names_files_below_the_root_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_wav(tmp_path / "secret.wav")
    root = tmp_path / "media"
    root.mkdir()
    write_wav(root / "own.wav")

    async def scene(stage: Stage) -> None:
        for name in ("../secret.wav", str(tmp_path / "secret.wav"), "own.wav"):
            stage.player.play(Play(url=name))
            await stage.settle()
            stage.play_all()

    stage = on_stage(scene, monkeypatch, media=MediaSource(root))
    assert stage.call.names() == ["error", "trackStart", "trackEnd"] * 2 + ["trackStart", "trackEnd"]
    assert all(event.sender == "play" for event in stage.call.events if isinstance(event, Error))


def test_samples_are_looped_until_they_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    pcm = np.full(SECOND, 100, np.int16)

    async def scene(stage: Stage) -> None:
        track = stage.player.loop(pcm, "ringback")
        await stage.settle()
        assert stage.lane.write_position > 5 * SECOND
        stage.play_to(SECOND)
        stage.player.stop(track)
        stage.flush_at(SECOND)
        assert not stage.player.playing

    stage = on_stage(scene, monkeypatch)
    assert stage.story() == ["trackStart ringback", "interruption ringback", "trackEnd ringback"]


def test_samples_are_not_looped_on_a_lane_that_has_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.loop(np.ones(SECOND, np.int16), "ringback")
        await asyncio.sleep(0.1)
        stage.lane.close()
        await stage.settle()
        assert all(task.done() for task in stage.call.tasks)

    on_stage(scene, monkeypatch)


def test_an_empty_file_is_not_looped_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with wave.open(str(tmp_path / "empty.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SECOND)

    async def scene(stage: Stage) -> None:
        stage.player.play(Play(url="empty.wav"), loop=True)
        await stage.settle()
        assert not stage.player.playing

    assert on_stage(scene, monkeypatch, media=MediaSource(tmp_path)).ended == [("empty.wav", True)]
