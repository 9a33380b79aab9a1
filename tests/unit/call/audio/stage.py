"""A player on a stage: its call takes notes, and the test is the media plane."""

import asyncio
import wave
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from active_call.call.audio import voice as voice_module
from active_call.call.audio.player import Player
from active_call.call.audio.track import Track
from active_call.lanes.messages import Flushed, MarkPlayed, PutMark
from active_call.media.files import MediaSource
from active_call.media.lane import Lane
from active_call.speech.providers import Tts as Provider
from active_call.testing.clock import run
from active_call.wire.events import Interruption, Metrics, TrackEnd, TrackStart
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
