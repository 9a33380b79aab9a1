"""One client and the call it leads: commands in, events out, audio both ways."""

import asyncio
from collections import deque
from typing import Protocol

from pydantic import ValidationError

from active_call.api.compat import audio_event, with_older_names
from active_call.api.ports import ApiCall
from active_call.api.query import Query
from active_call.call.reasons import CLIENT_GONE
from active_call.wire.commands import parse_command
from active_call.wire.events import Event, Hangup, Ping
from active_call.wire.problems import explain

_UNHANDLED = 64
"""Messages of the client that may wait for the call; with more, its socket is read no further."""
_GRACE_SECONDS = 1.0
"""For what a client sent right before it left."""


class ClientPort(Protocol):
    """The client's connection."""

    def send_text(self, text: str) -> None:
        """Never lost while the connection lasts."""
        ...

    def send_audio(self, data: str | bytes) -> None:
        """Dropped if it can't be sent soon."""
        ...

    def close(self) -> None:
        """Close, after what was sent."""
        ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class ApiSession:
    """Joins a client and its call, until either is gone."""

    def __init__(self, call: ApiCall, client: ClientPort, query: Query) -> None:
        self.call = call
        self._client = client
        self._query = query
        self._inbox: deque[str | bytes] = deque()
        self._arrived = asyncio.Event()
        self._gone = False
        self._ended = False
        self._task: asyncio.Task[None] | None = None
        self._unfollow = call.follow(self._tell)
        call.on_audio = self._frame if query.binary == "frame" else self._audio_as_json

    # --- from the client ------------------------------------------------------------------------------

    def receive_text(self, data: bytes) -> None:
        """One command as JSON."""
        try:
            self._put(data.decode())
        except UnicodeDecodeError:
            self.call.complain("command", "a text frame is not UTF-8")

    def receive_audio(self, data: bytes) -> None:
        """A binary frame. It never overtakes a command sent before it."""
        if self._inbox:
            self._put(data)
        elif not self._ended:
            self.call.receive_audio(data)

    def disconnected(self) -> None:
        """The client is gone. What it sent before is still done, then its call ends."""
        self._gone = True
        self._arrived.set()
        if self._task is not None:
            asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._task.cancel)

    async def run(self) -> None:
        """Carry out what the client sends, in order, until it or the call is gone. Then the call ends."""
        self._task = asyncio.current_task()
        try:
            await self._carry_out_all()
        finally:
            self._unfollow()
            del self._unfollow  # it refers to us
            self.call.on_audio = None
            self.call.end(CLIENT_GONE)

    async def _carry_out_all(self) -> None:
        while True:
            while self._inbox and not self._ended:
                await self._carry_out(self._inbox[0])
                self._inbox.popleft()  # only now: what comes meanwhile waits behind it
            if self._gone or self._ended:
                return
            self._client.resume_reading()
            self._arrived.clear()
            await self._arrived.wait()

    async def _carry_out(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.call.receive_audio(message)
            return
        try:
            command = parse_command(message)
        except ValidationError as error:
            self.call.complain("command", explain(error))
        else:
            await self.call.submit(command)

    def _put(self, message: str | bytes) -> None:
        if self._ended:
            return
        self._inbox.append(message)
        self._arrived.set()
        if len(self._inbox) >= _UNHANDLED:
            self._client.pause_reading()

    # --- to the client --------------------------------------------------------------------------------

    def ping(self) -> str:
        """Tell the client that the connection lives; the payload for a WebSocket ping that says the same."""
        now = self.call.now_ms()
        self._client.send_text(Ping(timestamp=now, payload=str(now)).dump_json())
        return str(now)

    def _tell(self, event: Event) -> None:
        for each in (event,) if self._query.canonical else with_older_names(event):
            self._client.send_text(each.dump_json())
        if isinstance(event, Hangup) and not event.refer:
            self._ended = True
            self._arrived.set()
            self._client.close()

    def _frame(self, index: int | None, data: bytes) -> None:
        self._client.send_audio(data if index is None else bytes((index,)) + data)

    def _audio_as_json(self, index: int | None, data: bytes) -> None:
        track = self.call.id if index == 0 else self._query.server_side_track
        event = audio_event(data, track, self.call.now_ms(), self._query.binary)
        self._client.send_audio(event.dump_json())
