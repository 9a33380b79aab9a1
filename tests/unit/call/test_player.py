"""Tracks: what is told when, as the media plane reports marks and flushes."""

import asyncio
import wave
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from active_call.call import player as player_module
from active_call.call.player import Player, Track
from active_call.lanes.messages import Flushed, MarkPlayed, PutMark
from active_call.media.lane import Lane
from active_call.wire.commands import Play, Tts
from active_call.wire.events import Error, Interruption, TrackEnd, TrackStart
from active_call.wire.options import TtsOption
from tests.unit.call.fakes import NotingCall, SampleVoice
from tests.unit.media.fakes import NotingPlane


@dataclass
class Stage:
    """A player, its call and its lane, with a media plane played by the test."""

    call: NotingCall
    plane: NotingPlane
    lane: Lane
    player: Player
    ended: list[tuple[str | None, bool]] = field(default_factory=list)
    reported: int = 0

    async def settle(self) -> None:
        """Until the voice has said all it was given."""
        for _ in range(200):
            await asyncio.sleep(0.001)
            if all(task.done() for task in self.call.tasks):
                return

    def play_to(self, position: int) -> None:
        """The media plane plays up to a position."""
        self.plane.table.play_read[1] = position
        marks = [
            m for m in self.plane.sent if isinstance(m, PutMark) and self.reported < m.position <= position
        ]
        for mark in sorted(marks, key=lambda m: m.position):
            self.player.mark_played(MarkPlayed(1, 7, 50, mark.mark, mark.position))
        self.reported = position

    def flush_at(self, position: int) -> None:
        """The media plane has taken a flush."""
        to = int(self.plane.table.play_flush[1])
        self.plane.table.play_read[1] = to
        self.player.flushed(Flushed(1, 7, 60, position, to))


def on_stage(scene: Callable[[Stage], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(player_module, "load_tts", lambda name: SampleVoice())

    @asynccontextmanager
    async def stage() -> AsyncIterator[Stage]:
        call, plane = NotingCall(), NotingPlane()
        lane = plane.lane()
        ended: list[tuple[str | None, bool]] = []

        def on_end(track: Track, complete: bool) -> None:
            ended.append((track.play_id, complete))

        player = Player(call, lane, "serverSideTrack", on_end)
        player.option = TtsOption(provider="sample")
        yield Stage(call, plane, lane, player, ended)
        for task in call.tasks:
            task.cancel()

    async def main() -> Stage:
        async with stage() as ready:
            await scene(ready)
        return ready

    return asyncio.run(main())


def write_wav(path: Path) -> None:
    """One second."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\x01\x00" * 16_000)


def test_a_track_starts_and_ends_when_it_was_really_played(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="hello", play_id="p", end_of_stream=True))
        await stage.settle()
        assert stage.call.names() == []
        stage.play_to(320)
        assert stage.call.names() == ["trackStart"]
        stage.play_to(5 * 320)

    stage = on_stage(scene, monkeypatch)
    assert stage.call.names() == ["trackStart", "trackEnd"]
    start, end = (event for event in stage.call.events if isinstance(event, TrackStart | TrackEnd))
    assert start.timestamp == 1_000_000_000_000 + 50 * 20
    assert isinstance(end, TrackEnd)
    assert (end.duration, end.play_id, end.ssrc) == (100, "p", 99)
    assert stage.ended == [("p", True)]


def test_pieces_with_one_play_id_join_one_track(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="one", play_id="p", streaming=True))
        stage.player.tts(Tts(text="two", play_id="p", streaming=True, end_of_stream=True))
        await stage.settle()
        stage.play_to(6 * 320)

    assert on_stage(scene, monkeypatch).call.names() == ["trackStart", "trackEnd"]


def test_another_play_id_cuts_the_track_short(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="first one", play_id="a", end_of_stream=True))
        await stage.settle()
        stage.play_to(640)
        stage.player.tts(Tts(text="second", play_id="b", end_of_stream=True))
        stage.flush_at(960)
        await stage.settle()
        stage.play_to(9 * 320 + 6 * 320)

    stage = on_stage(scene, monkeypatch)
    assert stage.call.names() == ["trackStart", "interruption", "trackEnd", "trackStart", "trackEnd"]
    assert stage.ended == [("a", False), ("b", True)]


def test_an_interruption_tells_what_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="one two three four", play_id="p", end_of_stream=True))
        await stage.settle()
        stage.play_to(320)
        stage.player.interrupt()
        stage.flush_at(9 * 320)

    stage = on_stage(scene, monkeypatch)
    told = next(event for event in stage.call.events if isinstance(event, Interruption))
    assert (told.current, told.total_duration, told.position) == (180, 360, 2)
    assert told.subtitle == "one two three four"


def test_an_empty_last_piece_ends_the_track(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="", play_id="p", streaming=True, end_of_stream=True, auto_hangup=True))
        await stage.settle()

    stage = on_stage(scene, monkeypatch)
    assert stage.call.names() == ["trackStart", "trackEnd"]
    assert stage.ended == [("p", True)]


def test_speech_without_end_of_stream_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="hi"))
        await stage.settle()
        stage.play_to(640)

    assert on_stage(scene, monkeypatch).call.names() == ["trackStart", "trackEnd"]


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


def test_an_interrupted_track_does_not_hang_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="bye", play_id="p", auto_hangup=True, end_of_stream=True))
        await stage.settle()
        stage.play_to(320)
        stage.player.interrupt()
        stage.flush_at(640)

    assert on_stage(scene, monkeypatch).ended == [("p", False)]


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
        stage.player.play(Play(url=str(path), offset_ms=500))
        await stage.settle()
        assert stage.lane.write_position == 8_000
        stage.play_to(8_000)

    stage = on_stage(scene, monkeypatch)
    assert stage.call.names() == ["trackStart", "trackEnd"]
    assert stage.ended == [(str(path), True)]


def test_a_missing_file_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.play(Play(url="no/such.wav"))
        await stage.settle()

    error = on_stage(scene, monkeypatch).call.events[0]
    assert isinstance(error, Error)
    assert error.error == '"no/such.wav": No such file or directory'


def test_two_cuts_that_are_one_flush_end_two_tracks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="first one", play_id="a"))
        await stage.settle()
        stage.play_to(640)
        stage.player.tts(Tts(text="second", play_id="b"))
        await stage.settle()
        stage.player.tts(Tts(text="third", play_id="c"))
        stage.player.tts(Tts(text="fourth", play_id="d"))
        await stage.settle()
        stage.flush_at(960)

    stage = on_stage(scene, monkeypatch)
    assert stage.ended == [("a", False), ("b", False), ("c", False)]
    ends = [event for event in stage.call.events if isinstance(event, TrackEnd)]
    assert [end.duration for end in ends] == [60, 0, 0]


def test_a_cut_just_as_the_last_sample_is_played_needs_no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="half a", play_id="a", streaming=True))
        await asyncio.sleep(0.05)
        stage.player.interrupt()
        stage.play_to(6 * 320)

    stage = on_stage(scene, monkeypatch)
    assert stage.call.names() == ["trackStart", "interruption", "trackEnd"]
    assert stage.ended == [("a", False)]


def test_a_track_heard_to_its_end_was_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="all", play_id="a", wait_input_timeout=5))
        await stage.settle()
        stage.player.interrupt()
        stage.play_to(3 * 320)

    stage = on_stage(scene, monkeypatch)
    assert stage.call.names() == ["trackStart", "trackEnd"]
    assert stage.ended == [("a", True)]


def test_speech_joins_a_track_that_is_still_being_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="one"))
        await stage.settle()
        stage.play_to(320)
        stage.player.tts(Tts(text="two", auto_hangup=True))
        await stage.settle()
        stage.play_to(6 * 320)

    stage = on_stage(scene, monkeypatch)
    assert stage.call.names() == ["trackStart", "trackEnd"]
    assert next(event.duration for event in stage.call.events if isinstance(event, TrackEnd)) == 120


def test_an_empty_text_is_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text=" "))
        await stage.settle()

    assert on_stage(scene, monkeypatch).ended == [(None, True)]


def test_a_graceful_interrupt_ends_with_what_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="one", play_id="a", auto_hangup=True))
        await stage.settle()
        stage.play_to(320)
        stage.player.interrupt(graceful=True)
        assert stage.lane.write_position == 3 * 320
        assert not stage.player._current.auto_hangup  # type: ignore[union-attr]
        stage.play_to(3 * 320)

    assert on_stage(scene, monkeypatch).ended == [("a", True)]


def test_a_file_is_always_cut_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "beep.wav"
    write_wav(path)

    async def scene(stage: Stage) -> None:
        stage.player.play(Play(url=str(path)))
        await stage.settle()
        stage.play_to(320)
        stage.player.interrupt(graceful=True)
        stage.flush_at(640)

    assert on_stage(scene, monkeypatch).ended == [(str(path), False)]
