"""A call without media: records what a dialogue does, and plays its speech in time (virtual or real).

Speech takes 50 ms a character and starts 100 ms after it was asked for; files take a second. Events are given
back to the dialogue as a call gives them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from active_call.wire import commands, events
from active_call.wire.commands import Command, Interrupt, Play, Tts
from active_call.wire.dialogue import Dialogue, Running
from active_call.wire.events import Event

SESSION = "session"
SERVER = "serverSideTrack"
START_MS = 100
CHARACTER_MS = 50
FILE_MS = 1000


@dataclass(eq=False)
class _Track:
    play_id: str | None
    pieces: list[str] = field(default_factory=list)
    length: int = 0
    closed: bool = False
    auto_hangup: bool = False
    start: int | None = None
    timer: asyncio.TimerHandle | None = None


class FakeCall:
    """A CallPort. Use it within `async with asyncio.TaskGroup() as tasks`, and call `end` before leaving."""

    def __init__(self, tasks: asyncio.TaskGroup, dialogue: Dialogue, **variables: Any) -> None:
        self.sent: list[Command] = []
        self.emitted: list[Event] = []
        self.expected: list[list[str]] = []
        self.ended_at: int | None = None
        self.quiet = asyncio.Event()
        """Nothing is on its way to the caller or being heard."""
        self._variables: dict[str, Any] = {"session_id": SESSION, **variables}
        self._tasks = tasks
        self._dialogue = dialogue
        self._running: list[asyncio.Task[None]] = []
        self._track: _Track | None = None
        self._index = 0
        self.spawn(dialogue.run(self), "dialogue")

    # --- CallPort -------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return SESSION

    @property
    def variables(self) -> dict[str, Any]:
        return self._variables

    def send(self, command: Command, *, trusted: bool = True) -> None:
        self.sent.append(command)
        match command:
            case Tts():
                self._tts(command)
            case Play():
                self._cut()
                self._track = _Track(command.play_id or command.url, length=FILE_MS, closed=True)
                self.quiet.clear()
                self._after(START_MS, self._start)
            case Interrupt():
                self._cut()
            case commands.Hangup():
                self.end()
            case _:
                pass

    def emit(self, event: Event) -> None:
        self.emitted.append(event)
        self._dialogue.receive(event)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> Running:
        task = self._tasks.create_task(work, name=name)
        self._running.append(task)
        return task

    def expect(self, phrases: Sequence[str]) -> None:
        self.expected.append(list(phrases))

    def now_ms(self) -> int:
        return round(asyncio.get_running_loop().time() * 1000)

    # --- what happens to the call ---------------------------------------------------------------------

    def answer(self) -> None:
        """The call is answered."""
        self.emit(events.TrackStart(track_id=SESSION, timestamp=self.now_ms()))
        self.emit(events.Answer(track_id=SESSION, timestamp=self.now_ms(), sdp=""))

    def voice(self, *, began_ms_ago: int = 200) -> None:
        """The VAD hears the caller."""
        now = self.now_ms()
        self.emit(events.Speaking(track_id=SESSION, timestamp=now, start_time=now - began_ms_ago))

    def silence(self) -> None:
        """The VAD hears the caller no more."""
        now = self.now_ms()
        self.emit(events.Silence(track_id=SESSION, timestamp=now, start_time=now - 600, duration=600))

    def words(self, text: str, *, final: bool = True, lasted_ms: int = 500) -> None:
        """The recogniser tells what the caller said until now."""
        now = self.now_ms()
        kind = events.AsrFinal if final else events.AsrDelta
        self._index += 1
        self.emit(
            kind(
                track_id=SESSION,
                timestamp=now,
                index=self._index,
                start_time=now - lasted_ms,
                end_time=now,
                text=text,
            )
        )

    def key(self, digit: str) -> None:
        """The caller pressed a key."""
        self.emit(events.Dtmf(track_id=SESSION, timestamp=self.now_ms(), digit=digit))

    def transfer_answered(self) -> None:
        """The party that the call was transferred to hears the caller."""
        self.emit(events.Answer(track_id=SERVER, timestamp=self.now_ms(), sdp="", refer=True))

    def transfer_rejected(self, code: int = 486) -> None:
        """The party could not be reached."""
        now = self.now_ms()
        self.emit(events.Reject(track_id=SERVER, timestamp=now, reason="Busy", code=code, refer=True))

    def transfer_ended(self) -> None:
        """The party has hung up."""
        now, time = self.now_ms(), "2026-01-01T00:00:00.000Z"
        left = events.Hangup(track_id=SERVER, timestamp=now, start_time=time, hangup_time=time, refer=True)
        self.emit(left)

    def end(self) -> None:
        """The call ends: its tasks are cancelled."""
        if self.ended_at is None:
            self.ended_at = self.now_ms()
            for task in self._running:
                task.cancel()

    # --- what tests ask -------------------------------------------------------------------------------

    def said(self) -> list[str]:
        """The texts of all tts commands, without empty ones."""
        return [command.text for command in self.sent if isinstance(command, Tts) and command.text]

    def history(self) -> list[tuple[str, str]]:
        """Who said what, as it was published."""
        return [(event.speaker, event.text) for event in self.emitted if isinstance(event, events.AddHistory)]

    def errors(self) -> list[tuple[str, str]]:
        """Senders and texts of error events."""
        return [(event.sender, event.error) for event in self.emitted if isinstance(event, events.Error)]

    # --- playback -------------------------------------------------------------------------------------

    def _after(self, ms: float, action: Callable[[], None]) -> None:
        assert self._track is not None
        self._track.timer = asyncio.get_running_loop().call_later(ms / 1000, action)

    def _tts(self, command: Tts) -> None:
        track = self._track
        if track is None or track.closed or track.play_id != command.play_id:
            self._cut()
            track = self._track = _Track(command.play_id)
            self.quiet.clear()
            self._after(START_MS, self._start)
        if command.text:
            track.pieces.append(command.text)
            track.length += len(command.text) * CHARACTER_MS
        track.closed = command.end_of_stream
        track.auto_hangup = track.auto_hangup or command.auto_hangup
        if track.start is not None:
            self._play_on()

    def _start(self) -> None:
        assert self._track is not None
        self._track.start = self.now_ms()
        self.emit(events.TrackStart(track_id=SERVER, timestamp=self.now_ms(), play_id=self._track.play_id))
        self._play_on()

    def _play_on(self) -> None:
        track = self._track
        assert track is not None
        assert track.start is not None
        if track.timer is not None:
            track.timer.cancel()
        if track.closed:
            self._after(max(0, track.start + track.length - self.now_ms()), self._finish)

    def _finish(self) -> None:
        track, self._track = self._track, None
        assert track is not None
        self.quiet.set()
        self._end_event(track, track.length)
        if track.auto_hangup:
            self.end()

    def _cut(self) -> None:
        track, self._track = self._track, None
        if track is None:
            return
        self.quiet.set()
        if track.timer is not None:
            track.timer.cancel()
        heard = 0 if track.start is None else min(track.length, self.now_ms() - track.start)
        asyncio.get_running_loop().call_later(0.02, self._cut_events, track, heard)

    def _cut_events(self, track: _Track, heard: int) -> None:
        self.emit(
            events.Interruption(
                track_id=SERVER,
                timestamp=self.now_ms(),
                play_id=track.play_id,
                total_duration=track.length,
                current=heard,
            )
        )
        self._end_event(track, heard)

    def _end_event(self, track: _Track, heard: int) -> None:
        now = self.now_ms()
        self.emit(
            events.TrackEnd(track_id=SERVER, timestamp=now, duration=heard, ssrc=1, play_id=track.play_id)
        )
