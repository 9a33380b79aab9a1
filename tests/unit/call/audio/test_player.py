"""Tracks: what is told when, as the media plane reports marks and flushes."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from active_call.core.errors import MediaError
from active_call.lanes.messages import AdjustLane
from active_call.outbound.guard import Origin
from active_call.speech.providers import TtsChunk
from active_call.wire.commands import Play, Tts
from active_call.wire.events import Interruption, TrackEnd, TrackStart
from active_call.wire.options import TtsOption
from tests.unit.call.audio.stage import SECOND, Stage, on_stage, write_wav


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


def test_t17_an_interrupted_track_does_not_hang_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.player.tts(Tts(text="bye", play_id="p", auto_hangup=True, end_of_stream=True))
        await stage.settle()
        stage.play_to(320)
        stage.player.interrupt()
        stage.flush_at(640)

    assert on_stage(scene, monkeypatch).ended == [("p", False)]


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


def test_what_was_replaced_cant_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        track = stage.player.loop(np.full(SECOND, 100, np.int16), "ringback")
        await stage.settle()
        stage.player.tts(Tts(text="abc", play_id="one"))
        stage.player.stop(track)
        assert stage.player.playing

    on_stage(scene, monkeypatch)
