"""What the API needs of the gateway and its calls. Tests have fakes of these."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from active_call.call.reasons import Ending
from active_call.outbound import Outbound
from active_call.wire.commands import Command, Tts
from active_call.wire.dialogue import CallType
from active_call.wire.events import Event
from active_call.wire.options import CallOption


class TimesPort(Protocol):
    """Moments of a call in Unix seconds; None: has not happened."""

    @property
    def start(self) -> float | None: ...

    @property
    def ring(self) -> float | None: ...

    @property
    def answer(self) -> float | None: ...


class ApiCall(Protocol):
    """A live call, as its clients see it."""

    on_audio: Callable[[int | None, bytes], None] | None
    """Takes audio for the client: (None, bytes in the call's codec) or (track index, 16 kHz PCM)."""

    @property
    def id(self) -> str: ...

    @property
    def call_type(self) -> CallType: ...

    @property
    def times(self) -> TimesPort: ...

    @property
    def option(self) -> CallOption: ...

    @property
    def caller(self) -> str: ...

    @property
    def callee(self) -> str: ...

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        ...

    async def submit(self, command: Command) -> None:
        """Queue a command; waits while too many are unhandled."""
        ...

    def complain(self, sender: str, text: str, code: int | None = None) -> None:
        """Tell one `error` event."""
        ...

    def follow(
        self, events: Callable[[Event], None], commands: Callable[[Command], None] | None = None
    ) -> Callable[[], None]:
        """Call these with each event and command, in order; the result ends that. `hangup` comes last."""
        ...

    def receive_audio(self, data: bytes) -> None:
        """Audio of the client, any length."""
        ...

    def end(self, ending: Ending) -> None:
        """End the call; does nothing if it is ending already."""
        ...


class PendingPort(Protocol):
    """Playbooks that wait for a client to connect."""

    def add(self, content_or_name: str) -> str:
        """Keep it for a while; the session id to connect with."""
        ...


class CallsPort(Protocol):
    """All calls."""

    @property
    def calls(self) -> Mapping[str, ApiCall]:
        """Live calls by session id."""
        ...

    @property
    def pending_playbooks(self) -> PendingPort: ...

    def open(self, call_type: CallType, call_id: str | None, *, dump: bool, server_side_track: str) -> ApiCall:
        """A call for a client that connects. Raises LocalProtocolError (id in use) and Refused."""
        ...

    def dial(self, option: CallOption, *, call_id: str | None = None) -> ApiCall:
        """An outbound SIP call without a client. Raises ActiveCallError."""
        ...


class PrecachedPort(Protocol):
    """What `precache` did."""

    @property
    def status(self) -> Literal["cached", "exists"]: ...

    @property
    def key(self) -> str: ...

    @property
    def bytes(self) -> int: ...


class GatewayPort(Protocol):
    """The whole gateway."""

    @property
    def calls(self) -> CallsPort: ...

    @property
    def outbound(self) -> Outbound:
        """For what is fetched and posted."""
        ...

    def status(self) -> dict[str, Any]:
        """What /health tells; its `status` is "running" while calls are taken."""
        ...

    async def precache(self, command: Tts) -> PrecachedPort:
        """Synthesise into the media cache. Raises ActiveCallError."""
        ...
