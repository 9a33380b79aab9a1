"""REST: live calls, and calls without a WebSocket."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path
from fastapi.responses import Response
from pydantic import BaseModel, Field

from active_call.api.answers import BAD_REQUEST, NO_CALL, UNAVAILABLE, Problem, no_call, problem
from active_call.api.ports import ApiCall, CallsPort, GatewayPort
from active_call.call.reasons import KILLED
from active_call.call.refusals import Refused
from active_call.core.errors import (
    ActiveCallError,
    LocalProtocolError,
    MediaError,
    PlaybookError,
    ProviderError,
)
from active_call.records.masking import mask
from active_call.wire.commands import Command, Tts
from active_call.wire.dialogue import CallType
from active_call.wire.options import CallOption

CallId = Annotated[str, Path(description="Session id of a live call")]


class ListedCall(BaseModel):
    """A live call. Times are RFC 3339, null until it happened; secrets in `option` are masked."""

    id: str
    call_type: CallType
    call_type_too: CallType = Field(serialization_alias="callType")
    created_at: str | None
    start_time: str | None = Field(serialization_alias="startTime")
    ring_time: str | None = Field(serialization_alias="ringTime")
    answer_time: str | None = Field(serialization_alias="answerTime")
    duration: int | None
    """Seconds since the answer."""
    caller: str
    callee: str
    option: dict[str, Any]


class CallList(BaseModel):
    """All live calls."""

    total: int
    calls: list[ListedCall]


class ActiveCall(BaseModel):
    """A live call, in the words of older clients: `startTime` is when it was answered."""

    id: str
    call_type: CallType = Field(serialization_alias="callType")
    option: dict[str, Any] = Field(serialization_alias="cs.option")
    ring_time: str | None = Field(serialization_alias="ringTime")
    start_time: str | None = Field(serialization_alias="startTime")


class ActiveCalls(BaseModel):
    """All live calls, in the words of older clients."""

    active_calls: list[ActiveCall]


class Killed(BaseModel):
    """The call is being ended."""

    status: Literal["killed"] = "killed"
    id: str


class Sent(BaseModel):
    """The command was queued; what is wrong with it comes as an `error` event of the call."""

    status: Literal["sent"] = "sent"
    id: str


class Dialled(BaseModel):
    """The call is being made."""

    session_id: str


class Precached(BaseModel):
    """The text is in the media cache."""

    status: Literal["cached", "exists"]
    cache_key: str = Field(serialization_alias="cacheKey")
    bytes: int


def calls_router(gateway: GatewayPort) -> APIRouter:
    """Lists, kill, POST /call, commands by POST, precache."""
    router = APIRouter()
    calls = gateway.calls

    @router.get("/call/lists")
    async def lists() -> CallList:
        """All live calls."""
        listed = [_listed(call) for call in calls.calls.values()]
        return CallList(total=len(listed), calls=listed)

    @router.get("/list")
    async def older_list() -> ActiveCalls:
        """All live calls, in the words of older clients."""
        return ActiveCalls(active_calls=[_older_listed(call) for call in calls.calls.values()])

    @router.post("/call/kill/{id:path}", response_model=Literal[True], responses=NO_CALL)
    async def kill(id: CallId) -> Any:
        """End a call."""
        return True if _kill(calls, id) else no_call(id)

    @router.get("/kill/{id:path}", response_model=Killed, responses=NO_CALL)
    async def older_kill(id: CallId) -> Any:
        """End a call, in the words of older clients."""
        return Killed(id=id) if _kill(calls, id) else no_call(id)

    @router.post("/call", response_model=Dialled, responses=BAD_REQUEST | UNAVAILABLE)
    async def dial(option: CallOption) -> Any:
        """Make an outbound SIP call without a WebSocket: `callee`, and what leads it (`playbook`, or commands
        by POST)."""
        if not option.callee:
            return problem(400, "callee: is missing; write whom to call, like sip:bob@example.com")
        try:
            return Dialled(session_id=calls.dial(option).id)
        except ActiveCallError as error:
            return _refusal(error)
        except OSError as error:
            return problem(400, f"playbook: {option.playbook}: {error.strerror or error}")

    @router.post("/command/{id:path}", response_model=Sent, responses=BAD_REQUEST | NO_CALL)
    async def command(
        id: CallId, command: Annotated[Command, Body(discriminator="command", description="As on a WebSocket")]
    ) -> Any:
        """Give a live call a command."""
        call = calls.calls.get(id)
        if call is None:
            return no_call(id)
        await call.submit(command)
        return Sent(id=id)

    @router.post("/precache", response_model=Precached, responses=BAD_REQUEST | _FAILED)
    async def precache(command: Annotated[Tts, Body(description="A `tts` command with an `option`")]) -> Any:
        """Synthesise a text into the media cache, so that a later `tts` plays it at once."""
        if command.option is None or command.option.provider is None:
            return problem(400, "option.provider: is missing; name the voice's provider")
        try:
            made = await gateway.precache(command)
        except MediaError as error:
            return problem(400, str(error))
        except ActiveCallError as error:
            return problem(500, str(error))
        return Precached(status=made.status, cache_key=made.key, bytes=made.bytes)

    return router


_FAILED: dict[int | str, dict[str, Any]] = {500: {"model": Problem, "description": "The voice failed"}}


def _kill(calls: CallsPort, call_id: str) -> bool:
    call = calls.calls.get(call_id)
    if call is None:
        return False
    call.end(KILLED)
    return True


def _refusal(error: ActiveCallError) -> Response:
    """What a call that can't be made answers."""
    match error:
        case Refused():
            return problem(error.status, str(error), error.headers)
        case LocalProtocolError() | PlaybookError():
            return problem(400, str(error))
        case MediaError() | ProviderError():
            return problem(503, str(error))
    return problem(500, str(error))


def _listed(call: ApiCall) -> ListedCall:
    times = call.times
    return ListedCall(
        id=call.id,
        call_type=call.call_type,
        call_type_too=call.call_type,
        created_at=_rfc3339(times.start),
        start_time=_rfc3339(times.start),
        ring_time=_rfc3339(times.ring),
        answer_time=_rfc3339(times.answer),
        duration=None if times.answer is None else max(0, round(call.now_ms() / 1000 - times.answer)),
        caller=call.caller,
        callee=call.callee,
        option=_shown(call.option),
    )


def _older_listed(call: ApiCall) -> ActiveCall:
    return ActiveCall(
        id=call.id,
        call_type=call.call_type,
        option=_shown(call.option),
        ring_time=_rfc3339(call.times.ring),
        start_time=_rfc3339(call.times.answer),
    )


def _shown(option: CallOption) -> dict[str, Any]:
    shown: dict[str, Any] = mask(option.model_dump(mode="json", exclude_none=True, exclude_unset=True))
    return shown


def _rfc3339(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
