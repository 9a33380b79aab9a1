"""What a call and whoever leads it say to each other: events in, commands out."""

from collections.abc import Coroutine, Sequence
from typing import Any, Literal, Protocol

from active_call.wire.commands import Command
from active_call.wire.events import Event

CallType = Literal["sip", "webSocket", "webrtc"]
"""How the peer's audio travels: RTP, binary frames of the client's own socket, WebRTC."""


class CallPort(Protocol):
    """The call, as a dialogue sees it. No method blocks."""

    @property
    def id(self) -> str:
        """The session id."""
        ...

    @property
    def variables(self) -> dict[str, Any]:
        """Built-ins (session_id, call_type, caller, callee, start_time), SIP headers, what was set since."""
        ...

    def send(self, command: Command, *, trusted: bool = True) -> None:
        """Queue a command; commands are carried out in order.

        `trusted`: the operator wrote it, and not, say, a language model: it may name any file and URL.
        """
        ...

    def emit(self, event: Event) -> None:
        """Publish an event (metrics, addHistory, error) to the client and the record."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> "Running":
        """Run `work` as a task of the call; it ends with the call."""
        ...

    def expect(self, phrases: Sequence[str]) -> None:
        """Tell the recogniser what the caller may say now."""
        ...

    def now_ms(self) -> int:
        """Unix time in milliseconds, for timestamps of events."""
        ...


class Running(Protocol):
    """A task that can be stopped."""

    def cancel(self) -> object: ...

    def done(self) -> bool: ...


class Dialogue(Protocol):
    """Leads one call: a playbook, an API client, later a realtime model."""

    async def run(self, call: CallPort) -> None:
        """Lead the call, from before it is answered until it ends (then it is cancelled)."""
        ...

    def receive(self, event: Event) -> None:
        """Take an event, in order. Must return at once."""
        ...
