"""Tracks: what is told when, as the media plane reports marks and flushes."""

import asyncio
import base64
import wave
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_call.call import voice as voice_module
from active_call.call.player import Player
from active_call.call.track import Track
from active_call.core.errors import MediaError
from active_call.lanes.messages import AdjustLane, Flushed, MarkPlayed, PutMark
from active_call.media.cache import MediaCache
from active_call.media.files import MediaSource
from active_call.media.lane import Lane
from active_call.outbound.guard import Origin
from active_call.speech.providers import Tts as Provider
from active_call.speech.providers import TtsChunk
from active_call.testing.clock import run
from active_call.wire.commands import Play, Tts
from active_call.wire.events import Error, Interruption, Metrics, TrackEnd, TrackStart
from active_call.wire.options import TtsOption
from tests.unit.call.fakes import NotingCall, SampleVoice
from tests.unit.media.fakes import NotingPlane

SECOND = 16_000


@dataclass
class Stage:
    """A player, its call and its lane, with a media plane played by the test."""

    call: NotingCall
    plane: NotingPlane
    lane: Lane
    player: Player
    ended: list[tuple[str | None, bool]] = field(default_factory=list)
    reported: int = 0
    told: set[int] = field(default_factory=set)

    async def settle(self) -> None:
        """Until the voice has said all it was given, or 0.2 s."""
        for _ in range(200):
            await asyncio.sleep(0.001)
            if all(task.done() for task in self.call.tasks):
                return

    def play_all(self) -> None:
        """The media plane plays all that is queued, whatever follows from that too."""
        self.play_to(self.lane.write_position)

    def story(self) -> list[str]:
        """The events so far, those of tracks with their play ids."""
        told = [event for event in self.call.events if event.event != "metrics"]
        return [
            f"{event.event} {event.play_id}"
            if isinstance(event, TrackStart | TrackEnd | Interruption)
            else event.event
            for event in told
        ]

    def metrics(self, key: str) -> list[dict[str, Any]]:
        """The details of all measurements under a key."""
        return [event.data for event in self.call.events if isinstance(event, Metrics) and event.key == key]

    def play_to(self, position: int) -> None:
        """The media plane plays up to a position."""
        self.plane.table.play_read[1] = position
        marks = [
            mark
            for mark in self.plane.told(PutMark)
            if self.reported <= mark.position <= position and mark.mark not in self.told
        ]
        for mark in sorted(marks, key=lambda mark: mark.position):
            self.told.add(mark.mark)
            self.player.mark_played(MarkPlayed(1, 7, 50, mark.mark, mark.position))
        self.reported = position

    def flush_at(self, position: int) -> None:
        """The media plane has taken a flush."""
        to = int(self.plane.table.play_flush[1])
        self.plane.table.play_read[1] = to
        self.player.flushed(Flushed(1, 7, 60, position, to))


def on_stage(
    scene: Callable[[Stage], Coroutine[Any, Any, None]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    voice: Provider | None = None,
    media: MediaSource | None = None,
) -> Stage:
    spoken_by = voice or SampleVoice()
    monkeypatch.setattr(voice_module, "load_tts", lambda name: spoken_by)

    @asynccontextmanager
    async def stage() -> AsyncIterator[Stage]:
        call, plane = NotingCall(), NotingPlane()
        lane = plane.lane()
        ended: list[tuple[str | None, bool]] = []

        def on_end(track: Track, complete: bool) -> None:
            ended.append((track.play_id, complete))
            if complete and track.auto_hangup:
                ended.append(("hangup", True))

        player = Player(call, lane, "serverSideTrack", on_end, media=media)
        player.option = TtsOption(provider="sample")
        yield Stage(call, plane, lane, player, ended)
        for task in call.tasks:
            task.cancel()

    async def main() -> Stage:
        async with stage() as ready:
            await scene(ready)
        return ready

    return run(main())


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


def test_t17_an_empty_last_piece_ends_the_track(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="", play_id="p", streaming=True, end_of_stream=True, auto_hangup=True))
        await stage.settle()

    stage = on_stage(scene, monkeypatch)
    assert stage.call.names() == ["trackStart", "trackEnd"]
    assert stage.ended == [("p", True), ("hangup", True)]


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


def test_t17_an_interrupted_track_does_not_hang_up(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_t17_speech_joins_a_track_that_is_still_being_heard(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_t17_a_graceful_interrupt_ends_with_what_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
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
        stage.player.play(Play(url=str(path)), origin=Origin.OPERATOR)
        await stage.settle()
        stage.play_to(320)
        stage.player.interrupt(graceful=True)
        stage.flush_at(640)

    assert on_stage(scene, monkeypatch).ended == [(str(path), False)]


# What clients rely on


@pytest.mark.parametrize("streaming", [False, True])
def test_t17_a_reply_in_pieces_is_one_track_and_its_empty_end_hangs_up(
    monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    async def scene(stage: Stage) -> None:
        for text in ("Well, ", "good bye ", "then."):
            stage.player.tts(Tts(text=text, play_id="llm-1", streaming=streaming))
            await asyncio.sleep(0.01)
        stage.player.tts(
            Tts(text="", play_id="llm-1", streaming=streaming, end_of_stream=True, auto_hangup=True)
        )
        await stage.settle()
        stage.play_all()

    stage = on_stage(scene, monkeypatch)
    assert stage.story() == ["trackStart llm-1", "trackEnd llm-1"]
    assert stage.ended == [("llm-1", True), ("hangup", True)]


@pytest.mark.parametrize("streaming", [False, True])
def test_the_go_clients_barge_in_takes_two_interrupts_and_another_play_id(
    monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    async def scene(stage: Stage) -> None:
        for text in ("a long story, ", "much longer than that."):
            stage.player.tts(Tts(text=text, play_id="llm-1", streaming=streaming))
        await stage.settle()
        stage.play_to(640)
        stage.player.interrupt(graceful=True)  # on asrDelta
        if streaming:
            stage.flush_at(960)
        stage.player.interrupt(graceful=True)  # on asrFinal
        stage.player.tts(Tts(text="yes", play_id="llm-2", streaming=streaming, end_of_stream=True))
        if not streaming:
            stage.flush_at(1280)
        await stage.settle()
        stage.play_all()

    stage = on_stage(scene, monkeypatch)
    assert stage.story() == [
        "trackStart llm-1",
        "interruption llm-1",
        "trackEnd llm-1",
        "trackStart llm-2",
        "trackEnd llm-2",
    ]
    assert stage.ended == [("llm-1", False), ("llm-2", True)]


def test_an_empty_end_that_comes_late_needs_no_track(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="bye", play_id="p"))
        await stage.settle()
        stage.play_all()
        stage.player.tts(Tts(text="", play_id="p", end_of_stream=True, auto_hangup=True))
        await stage.settle()

    stage = on_stage(scene, monkeypatch)
    assert stage.story() == ["trackStart p", "trackEnd p"]
    assert stage.ended == [("p", True), ("p", True), ("hangup", True)]


def test_what_comes_after_the_end_of_a_stream_is_a_track_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        for text in ("one", "two", "three"):
            stage.player.tts(Tts(text=text, play_id="p", end_of_stream=True))
        await stage.settle()
        assert stage.lane.write_position == 3 * 320
        for _ in range(3):
            stage.play_all()
            await stage.settle()

    stage = on_stage(scene, monkeypatch)
    assert stage.story() == ["trackStart p", "trackEnd p"] * 3
    ends = [event.duration for event in stage.call.events if isinstance(event, TrackEnd)]
    assert ends == [60, 60, 100]


def test_tracks_that_wait_are_told_when_all_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="one", end_of_stream=True))
        stage.player.tts(Tts(text="two", end_of_stream=True, auto_hangup=True))
        await stage.settle()
        stage.play_to(320)
        stage.player.interrupt()
        stage.flush_at(640)
        await stage.settle()

    stage = on_stage(scene, monkeypatch)
    assert stage.call.names() == ["trackStart", "interruption", "trackEnd"] * 2
    assert stage.ended == [(None, False), (None, False)]


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


def test_a_track_keeps_the_wait_that_an_earlier_piece_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="one", play_id="p", wait_input_timeout=5))
        stage.player.tts(Tts(text="two", play_id="p"))
        track = stage.player._current
        assert track is not None
        assert track.wait_input_timeout == 5

    on_stage(scene, monkeypatch)


def test_a_graceful_interrupt_drops_the_commands_after_the_one_that_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(stage: Stage) -> None:
        for text in ("first", "second", "third"):
            stage.player.tts(Tts(text=text, play_id="p", auto_hangup=True))
        await stage.settle()
        stage.play_to(320)
        stage.player.interrupt(graceful=True)
        assert stage.story() == ["trackStart p"]
        stage.play_to(5 * 320)
        assert stage.plane.table.play_flush[1] == stage.lane.write_position

    stage = on_stage(scene, monkeypatch)
    assert stage.story() == ["trackStart p", "trackEnd p"]
    assert next(event.duration for event in stage.call.events if isinstance(event, TrackEnd)) == 100
    assert stage.ended == [("p", True)]


def test_speech_for_the_same_id_waits_for_a_graceful_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="first"))
        stage.player.tts(Tts(text="second"))
        await stage.settle()
        stage.play_to(320)
        stage.player.interrupt(graceful=True)
        stage.player.tts(Tts(text="new"))
        stage.play_to(5 * 320)
        stage.flush_at(5 * 320)
        await stage.settle()
        stage.play_all()

    assert on_stage(scene, monkeypatch).call.names() == ["trackStart", "trackEnd"] * 2


# Pausing


def test_pausing_holds_the_lane_and_resuming_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        for act in (stage.player.pause, stage.player.resume):
            with pytest.raises(MediaError, match="nothing is playing"):
                act()
        stage.player.tts(Tts(text="hello"))
        await stage.settle()
        stage.player.pause()
        stage.player.resume()

    stage = on_stage(scene, monkeypatch)
    assert [message.paused for message in stage.plane.told(AdjustLane)] == [True, False]


def test_what_replaces_a_paused_track_is_not_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="hello", play_id="a"))
        await stage.settle()
        stage.player.pause()
        stage.player.tts(Tts(text="there", play_id="b"))

    stage = on_stage(scene, monkeypatch)
    assert [message.paused for message in stage.plane.told(AdjustLane)] == [True, False]


# Voices


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


def test_times_of_words_tell_where_speech_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    class TimedVoice:
        async def synthesize(self, text: AsyncIterable[str], option: TtsOption) -> AsyncIterator[TtsChunk]:
            async for piece in text:
                yield TtsChunk(np.zeros(3200, np.int16), piece, (0, 320))
                yield TtsChunk(np.zeros(3200, np.int16), piece, (6080,))

    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="a b loooooong", play_id="p"))
        await stage.settle()
        stage.play_to(320)
        stage.player.interrupt()
        stage.flush_at(5760)

    stage = on_stage(scene, monkeypatch, voice=TimedVoice())
    told = next(event for event in stage.call.events if isinstance(event, Interruption))
    assert (told.position, told.current, told.total_duration) == (1, 360, 400)


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


# The cache


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


# Files


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


# --- loops ----------------------------------------------------------------------------------------------


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


def test_what_was_replaced_cant_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        track = stage.player.loop(np.full(SECOND, 100, np.int16), "ringback")
        await stage.settle()
        stage.player.tts(Tts(text="abc", play_id="one"))
        stage.player.stop(track)
        assert stage.player.playing

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
