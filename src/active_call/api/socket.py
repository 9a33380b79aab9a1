"""The WebSocket connection of one client, as a protocol that uvicorn hands upgrade requests to.

Frames are parsed by `websockets`, with no task or queue per frame: audio goes straight to the call, and from
the call straight to the socket. Kernel and transport keep little, so that a client that reads too slowly is
noticed at once, and the outbox decides what it misses.
"""

import asyncio
import logging
import socket
from collections.abc import Mapping
from typing import Protocol, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from active_call.api.outbox import Outbox
from active_call.api.ports import ApiCall
from active_call.api.query import Query
from active_call.api.session import ApiSession
from active_call.core.channel import ChannelFull
from active_call.core.errors import ActiveCallError
from active_call.core.owner import weakly

log = logging.getLogger(__name__)
_quiet = logging.getLogger(f"{__name__}.protocol")
_quiet.setLevel(logging.WARNING)  # it would log every frame, with what is secret in it

MAX_MESSAGE = 1 << 20
"""Bytes; a longer message closes the connection with 1009."""
_UNSENT = 16 << 10
"""Bytes that the kernel keeps for a slow client."""
_CLOSE_SECONDS = 20.0
"""For the closing handshake, and for a slow client to read its last events."""
_SILENT_SECONDS = 60.0
"""A client that sends nothing for so long (or for two pings), not even an answer to a ping, is gone."""
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))

NORMAL, GOING_AWAY = 1000, 1001


class NotAdmitted(ActiveCallError):
    """A client gets no call: the HTTP status, the reason in words, and further headers of the response."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers or {}


class Reception(Protocol):
    """Who decides about new clients."""

    def admit(self, request: Request, client: str) -> tuple[ApiCall, Query]:
        """The call of a new client. Raises NotAdmitted."""
        ...

    def begin(self, call: ApiCall, connection: "CallSocket", query: Query) -> ApiSession:
        """The client is connected: join it and its call."""
        ...

    def ended(self, connection: "CallSocket") -> None:
        """Its connection has ended."""
        ...


class CallSocket(asyncio.Protocol):
    """One client's connection, from its upgrade request to its end. `connections` is uvicorn's own set."""

    def __init__(self, reception: Reception, connections: set[asyncio.Protocol]) -> None:
        self._reception = reception
        self._connections = connections
        self._websocket = ServerProtocol(max_size=MAX_MESSAGE, logger=_quiet)
        self._outbox = Outbox(weakly(self._write))
        self._session: ApiSession | None = None
        self._parts: list[bytes] = []
        self._text = False
        self._heard = 0.0
        self._reading = True
        self._ping_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self.client = ""
        """The address of the peer."""

    @property
    def dropped(self) -> int:
        """Audio frames that the client was too slow for."""
        return self._outbox.dropped

    # --- the connection -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_protocol(self)
        self._transport.set_write_buffer_limits(high=0)
        self.client = (transport.get_extra_info("peername") or ("",))[0]
        self._tune(transport.get_extra_info("socket"))
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._ping_timer, self._close_timer):
            if timer is not None:
                timer.cancel()
        self._connections.discard(self)
        self._reception.ended(self)
        if self._session is not None:
            self._session.disconnected()
            self._session = None

    def shutdown(self) -> None:
        """uvicorn stops."""
        self._close(GOING_AWAY, "the gateway is shutting down")

    def abort(self) -> None:
        """End the connection without a word."""
        self._transport.abort()

    def pause_writing(self) -> None:
        self._outbox.pause()

    def resume_writing(self) -> None:
        self._outbox.resume()

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if isinstance(event, Frame):
                self._receive(event)
            elif isinstance(event, Request):
                self._open(event)
        self._flush()

    @staticmethod
    def _tune(sock: socket.socket | None) -> None:
        if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)

    # --- from the client ------------------------------------------------------------------------------

    def _open(self, request: Request) -> None:
        response = self._websocket.accept(request)
        if response.status_code != 101:
            self._websocket.send_response(response)
            return
        try:
            call, query = self._reception.admit(request, self.client)
        except NotAdmitted as refusal:
            response = self._websocket.reject(refusal.status, f"{refusal}\n")
            response.headers.update(refusal.headers)
            self._websocket.send_response(response)
            return
        self._websocket.send_response(response)
        self._flush()
        self._session = self._reception.begin(call, self, query)
        self._ping_every(query.ping_seconds)

    def _receive(self, frame: Frame) -> None:
        """A frame; `websockets` itself answers pings and the closing handshake."""
        if frame.opcode is Opcode.BINARY or frame.opcode is Opcode.TEXT:
            self._text = frame.opcode is Opcode.TEXT
            if frame.fin:
                self._take(bytes(frame.data))
            else:
                self._parts = [bytes(frame.data)]
        elif frame.opcode is Opcode.CONT:
            self._parts.append(bytes(frame.data))
            if frame.fin:
                message, self._parts = b"".join(self._parts), []
                self._take(message)

    def _take(self, message: bytes) -> None:
        if self._session is None:
            return
        if self._text:
            self._session.receive_text(message)
        else:
            self._session.receive_audio(message)

    # --- to the client --------------------------------------------------------------------------------

    def send_text(self, text: str) -> None:
        """An event. It waits for a slow client; one for whom thousands wait is disconnected."""
        frame = self._framed(text)
        if frame is not None:
            self._control(frame)

    def send_audio(self, data: str | bytes) -> None:
        """Audio, in a text frame if it is text. A slow client misses the oldest."""
        frame = self._framed(data)
        if frame is not None:
            self._outbox.audio(frame)

    def close(self) -> None:
        """Close after what was sent."""
        self._close(NORMAL)

    def pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    def _ping_every(self, seconds: int) -> None:
        """A ping now and every so many seconds, as an event and as a WebSocket ping; 0: none."""
        if seconds == 0 or self._session is None or self._websocket.state is not State.OPEN:
            return
        silent = self._loop.time() - self._heard
        if silent > max(_SILENT_SECONDS, 2 * seconds):
            log.info("- %s sent nothing for %.0f s; disconnected", self.client, silent)
            self._transport.abort()
            return
        self._websocket.send_ping(self._session.ping().encode())
        self._flush()
        self._ping_timer = self._loop.call_later(seconds, self._ping_every, seconds)

    def _close(self, code: int, reason: str = "") -> None:
        if self._websocket.state is State.OPEN:
            self._websocket.send_close(code, reason)
            self._flush()
        elif self._websocket.state is State.CONNECTING:
            self._transport.close()

    def _framed(self, data: str | bytes) -> bytes | None:
        """None: the connection is closing."""
        if self._websocket.state is not State.OPEN:
            return None
        if isinstance(data, str):
            self._websocket.send_text(data.encode())
        else:
            self._websocket.send_binary(data)
        return b"".join(self._websocket.data_to_send())

    def _flush(self) -> None:
        """Send what `websockets` wants to say."""
        for data in self._websocket.data_to_send():
            self._control(data)
        if self._websocket.state in (State.CLOSING, State.CLOSED) and self._close_timer is None:
            self._close_timer = self._loop.call_later(_CLOSE_SECONDS, self._transport.abort)

    def _control(self, data: bytes) -> None:
        try:
            self._outbox.control(data)
        except ChannelFull as error:
            log.warning("- %s does not read: %s; disconnected", self.client, error)
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        """To the transport; `websockets` says b"" for the end of the stream."""
        if self._transport.is_closing():
            return
        if data:
            self._transport.write(data)
        elif self._transport.can_write_eof():
            self._transport.write_eof()
