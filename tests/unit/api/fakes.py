"""A gateway without media, SIP or network."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx

from active_call.api.app import create_app
from active_call.call.reasons import Ending
from active_call.config import Config
from active_call.core.errors import ActiveCallError, LocalProtocolError
from active_call.outbound import Outbound
from active_call.wire import events
from active_call.wire.commands import Command, Tts
from active_call.wire.dialogue import CallType
from active_call.wire.events import Event
from active_call.wire.options import CallOption

NOW_MS = 1_700_000_100_000


@dataclass
class Times:
    start: float | None = 1_700_000_000.0
    ring: float | None = None
    answer: float | None = None


@dataclass
class FakeCall:
    """Remembers what it was given. `events.Hangup` is told when it ends."""

    id: str
    call_type: CallType = "webSocket"
    option: CallOption = field(default_factory=CallOption)
    caller: str = "sip:alice@example.com"
    callee: str = "sip:bob@example.com"
    times: Times = field(default_factory=Times)
    on_audio: Callable[[int | None, bytes], None] | None = None
    commands: list[Command] = field(default_factory=list)
    heard: list[Command | bytes] = field(default_factory=list)
    """Commands and audio, in order."""
    ending: Ending | None = None
    hold_up: Callable[[], Any] | None = None
    """Awaited by `submit`."""
    followers: list[Callable[[Event], None]] = field(default_factory=list)
    command_followers: list[Callable[[Command], None]] = field(default_factory=list)

    def now_ms(self) -> int:
        return NOW_MS

    async def submit(self, command: Command) -> None:
        if self.hold_up is not None:
            await self.hold_up()
        self.commands.append(command)
        self.heard.append(command)
        for follower in self.command_followers:
            follower(command)

    def complain(self, sender: str, text: str, code: int | None = None) -> None:
        self.emit(events.Error(track_id=self.id, timestamp=NOW_MS, sender=sender, error=text, code=code))

    def follow(
        self, events: Callable[[Event], None], commands: Callable[[Command], None] | None = None
    ) -> Callable[[], None]:
        self.followers.append(events)
        if commands is not None:
            self.command_followers.append(commands)
        return lambda: self.followers.remove(events)

    def receive_audio(self, data: bytes) -> None:
        self.heard.append(data)

    def emit(self, event: Event) -> None:
        for follower in list(self.followers):
            follower(event)

    def end(self, ending: Ending) -> None:
        if self.ending is None:
            self.ending = ending
            self.emit(hangup(self.id, ending.reason))


@dataclass
class FakePending:
    waiting: list[str] = field(default_factory=list)

    def add(self, content_or_name: str) -> str:
        self.waiting.append(content_or_name)
        return f"s.{len(self.waiting)}"


@dataclass
class FakeCalls:
    calls: dict[str, FakeCall] = field(default_factory=dict)
    pending_playbooks: FakePending = field(default_factory=FakePending)
    refusal: ActiveCallError | None = None
    """Raised for new calls."""
    opened: list[dict[str, Any]] = field(default_factory=list)

    def add(self, call: FakeCall) -> FakeCall:
        self.calls[call.id] = call
        return call

    def open(self, call_type: CallType, call_id: str | None, *, dump: bool, server_side_track: str) -> FakeCall:
        if self.refusal is not None:
            raise self.refusal
        if call_id in self.calls:
            raise LocalProtocolError(f'there is a call "{call_id}" already')
        self.opened.append({"dump": dump, "track": server_side_track})
        return self.add(FakeCall(call_id or f"s.{len(self.opened)}", call_type))

    def dial(self, option: CallOption, *, call_id: str | None = None) -> FakeCall:
        if self.refusal is not None:
            raise self.refusal
        return self.add(FakeCall(call_id or "s.dialled", "sip", option))


@dataclass
class FakePrecached:
    status: Literal["cached", "exists"] = "cached"
    key: str = "0a1b"
    bytes: int = 32_000


@dataclass
class FakeGateway:
    calls: FakeCalls = field(default_factory=FakeCalls)
    outbound: Outbound = field(default_factory=Outbound)
    state: dict[str, Any] = field(default_factory=lambda: {"status": "running", "reasons": []})
    failure: ActiveCallError | None = None
    """Of `precache`."""

    def status(self) -> dict[str, Any]:
        return self.state

    async def precache(self, command: Tts) -> FakePrecached:
        if self.failure is not None:
            raise self.failure
        return FakePrecached()


def hangup(call_id: str, reason: str = "system") -> events.Hangup:
    """The last event of a call."""
    at = "2026-01-01T00:00:00.000Z"
    return events.Hangup(track_id=call_id, timestamp=NOW_MS, reason=reason, start_time=at, hangup_time=at)


def dtmf(call_id: str, digit: str = "1") -> events.Dtmf:
    """Some event."""
    return events.Dtmf(track_id=call_id, timestamp=NOW_MS, digit=digit)


def client_of(gateway: FakeGateway, *, config: Config | None = None) -> httpx.AsyncClient:
    """An HTTP client of the whole application."""
    app = create_app(gateway, config)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


def config_in(folder: Path, **given: Any) -> Config:
    """Settings whose records and dumps are below `folder`."""
    record = {"type": "local", "root": str(folder / "cdr")}
    return Config.model_validate(
        {"callrecord": record, "recording": {"path": str(folder / "recorders")}, **given}
    )
