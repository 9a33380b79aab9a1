"""Server-sent events: whoever wants to watch a call."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from active_call.api.answers import NO_CALL, no_call
from active_call.api.calls import CallId
from active_call.api.ports import ApiCall, CallsPort
from active_call.wire.commands import Command
from active_call.wire.events import Event, Hangup

_KEPT = 1_000
_QUIET_SECONDS = 15.0


def stream_router(calls: CallsPort) -> APIRouter:
    """GET /events/{id}."""
    router = APIRouter()

    @router.get(
        "/events/{id:path}",
        response_class=Response,
        responses=NO_CALL | {200: {"content": {"text/event-stream": {}}, "description": "Until the call ends"}},
    )
    async def follow(id: CallId) -> Response:
        """The events (`event: event`) and commands (`event: command`) of a live call from now on, as JSON.

        Ends with the call. A slow reader misses the oldest, and is told how many: `event: lost`.
        """
        call = calls.calls.get(id)
        if call is None:
            return no_call(id)
        return StreamingResponse(
            Watch(call).messages(),
            media_type="text/event-stream;charset=utf-8",
            headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
        )

    return router


class Watch:
    """Follows a call from its creation on, for one reader."""

    def __init__(self, call: ApiCall, *, kept: int = _KEPT) -> None:
        self._kept: deque[str] = deque(maxlen=kept)
        self._lost = 0
        self._ended = False
        self._arrived = asyncio.Event()
        self._unfollow = call.follow(self._on_event, self._on_command)

    async def messages(self) -> AsyncIterator[str]:
        """The text of the stream; a comment when nothing happened for a while."""
        try:
            while True:
                if self._lost:
                    lost, self._lost = self._lost, 0
                    yield _message("lost", f'{{"lost":{lost}}}')
                while self._kept:
                    yield self._kept.popleft()
                if self._ended:
                    return
                self._arrived.clear()
                try:
                    await asyncio.wait_for(self._arrived.wait(), _QUIET_SECONDS)
                except TimeoutError:
                    yield ": quiet\n\n"
        finally:
            self._unfollow()

    def _on_event(self, event: Event) -> None:
        self._put(_message("event", event.dump_json()))
        self._ended = self._ended or (isinstance(event, Hangup) and not event.refer)

    def _on_command(self, command: Command) -> None:
        self._put(_message("command", command.dump_json()))

    def _put(self, message: str) -> None:
        if len(self._kept) == self._kept.maxlen:
            self._lost += 1
        self._kept.append(message)
        self._arrived.set()


def _message(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
