"""The socket against the client half of `websockets`, joined in memory."""

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.uri import parse_uri

from active_call.api.ports import ApiCall
from active_call.api.query import Query
from active_call.api.session import ApiSession
from active_call.api.socket import MAX_MESSAGE, CallSocket, NotAdmitted
from active_call.testing.clock import run
from tests.unit.api.fakes import FakeCall, dtmf, hangup


class Transport(asyncio.Transport):
    """Hands to `receive` what is written; `full` keeps it back as a slow peer does."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 5)})
        self.receive: Callable[[bytes], None] = lambda data: None
        self.protocol: asyncio.Protocol
        self.full = False
        self.eof = False
        self.aborted = False
        self.reading = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.receive(bytes(data))
        if self.full:
            self.protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True
        self.protocol.connection_lost(None)

    def close(self) -> None:
        self.abort()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Door:
    """Admits everybody, or nobody."""

    def __init__(self, refusal: NotAdmitted | None, query: Query) -> None:
        self.call = FakeCall("c")
        self.refusal = refusal
        self.query = query
        self.tasks: list[asyncio.Task[None]] = []
        self.ended_sockets: list[CallSocket] = []

    def admit(self, request: Request, client: str) -> tuple[ApiCall, Query]:
        assert client == "192.0.2.1"
        if self.refusal is not None:
            raise self.refusal
        return self.call, self.query

    def begin(self, call: ApiCall, connection: CallSocket, query: Query) -> ApiSession:
        session = ApiSession(call, connection, query)
        self.tasks.append(asyncio.get_running_loop().create_task(session.run()))
        return session

    def ended(self, connection: CallSocket) -> None:
        self.ended_sockets.append(connection)


QUIET = Query(ping_seconds=0)


class Peer:
    """A client and the socket it is connected to."""

    def __init__(self, *, refusal: NotAdmitted | None = None, query: Query = QUIET) -> None:
        self.door = Door(refusal, query)
        self.call = self.door.call
        self.transport = Transport()
        self.transport.receive = self._receive
        self.connections: set[asyncio.Protocol] = set()
        self.socket = CallSocket(self.door, self.connections)
        self.client = ClientProtocol(parse_uri("ws://gateway/call?id=c"), max_size=None)
        self.frames: list[Frame] = []
        self.response: Response | None = None
        self.socket.connection_made(self.transport)
        self.client.send_request(self.client.connect())
        self.flush()

    def flush(self) -> None:
        """Send what the client has to say."""
        for data in self.client.data_to_send():
            if data:
                self.socket.data_received(data)

    def _receive(self, data: bytes) -> None:
        self.client.receive_data(data)
        for event in self.client.events_received():
            if isinstance(event, Response):
                self.response = event
            elif isinstance(event, Frame):
                self.frames.append(event)

    def texts(self) -> list[dict[str, Any]]:
        return [json.loads(bytes(frame.data)) for frame in self.frames if frame.opcode is Opcode.TEXT]

    def of(self, opcode: Opcode) -> list[bytes]:
        return [bytes(frame.data) for frame in self.frames if frame.opcode is opcode]


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        await scene()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    run(whole())


def test_frames_of_any_size_and_shape_reach_the_call() -> None:
    async def scene() -> None:
        peer = Peer()
        assert peer.response is not None
        assert peer.response.status_code == 101
        sent = [os.urandom(size) for size in (0, 1, 125, 126, 65_535, 65_536)]
        for data in sent:
            peer.client.send_binary(data)
        peer.client.send_binary(b"in ", fin=False)
        peer.client.send_continuation(b"three ", fin=False)
        peer.client.send_continuation(b"parts", fin=True)
        stream = b"".join(peer.client.data_to_send())
        for at in range(0, len(stream), 1_000):
            peer.socket.data_received(stream[at : at + 1_000])
        assert peer.call.heard == [*sent, b"in three parts"]

    play(scene)


def test_events_audio_and_pings_reach_the_client() -> None:
    async def scene() -> None:
        peer = Peer(query=Query(ping_seconds=20, canonical=True))
        peer.call.emit(dtmf("c"))
        assert peer.call.on_audio is not None
        peer.call.on_audio(None, b"abc")
        assert [text["event"] for text in peer.texts()] == ["ping", "dtmf"]
        assert peer.of(Opcode.BINARY) == [b"abc"]
        for _ in range(2):
            await asyncio.sleep(20)
            peer.flush()  # the client answers
        assert len(peer.of(Opcode.PING)) == 3
        assert peer.of(Opcode.PING)[0].decode() == peer.texts()[0]["payload"]

    play(scene)


def test_a_client_that_says_nothing_at_all_is_gone() -> None:
    async def scene() -> None:
        peer = Peer(query=Query(ping_seconds=20))
        await asyncio.sleep(79)
        aborted = [peer.transport.aborted]
        await asyncio.sleep(2)
        assert [*aborted, peer.transport.aborted] == [False, True]
        await asyncio.sleep(0)
        assert peer.call.ending is not None

    play(scene)


@pytest.mark.parametrize("status", [400, 409, 503])
def test_a_client_that_is_not_admitted_is_told_why(status: int) -> None:
    async def scene() -> None:
        peer = Peer(refusal=NotAdmitted(status, "not today", {"Retry-After": "5"}))
        assert peer.response is not None
        assert peer.response.status_code == status
        assert bytes(peer.response.body or b"") == b"not today\n"
        assert peer.response.headers["Retry-After"] == "5"
        assert peer.transport.eof

    play(scene)


def test_something_that_is_no_handshake_is_refused() -> None:
    async def scene() -> None:
        peer = Peer()
        other = CallSocket(peer.door, peer.connections)
        answers: list[bytes] = []
        transport = Transport()
        transport.receive = answers.append
        other.connection_made(transport)
        other.data_received(b"GET /call HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert b"".join(answers).startswith(b"HTTP/1.1 400 ")

    play(scene)


def test_a_message_that_is_too_long_closes_with_1009() -> None:
    async def scene() -> None:
        peer = Peer()
        peer.client.send_binary(bytes(MAX_MESSAGE + 1))
        peer.flush()
        assert Close.parse(peer.of(Opcode.CLOSE)[0]).code == 1009
        assert peer.call.heard == []

    play(scene)


def test_after_hangup_the_socket_closes_normally() -> None:
    async def scene() -> None:
        peer = Peer()
        peer.call.emit(hangup("c"))
        peer.call.emit(dtmf("c"))
        assert [text["event"] for text in peer.texts()] == ["end", "hangup"]
        assert Close.parse(peer.of(Opcode.CLOSE)[0]).code == 1000
        peer.flush()
        assert peer.transport.eof

    play(scene)


def test_a_client_that_does_not_answer_the_close_is_left_alone_for_a_while_only() -> None:
    async def scene() -> None:
        peer = Peer()
        peer.call.emit(hangup("c"))
        await asyncio.sleep(19)
        assert not peer.transport.aborted
        await asyncio.sleep(2)
        assert peer.transport.aborted

    play(scene)


def test_a_slow_client_misses_audio_but_no_event() -> None:
    async def scene() -> None:
        peer = Peer(query=Query(ping_seconds=0, canonical=True))
        assert peer.call.on_audio is not None
        peer.transport.full = True
        for number in range(100):
            peer.call.on_audio(None, b"%d" % number)
            peer.call.emit(dtmf("c", str(number)))
        peer.transport.full = False
        peer.transport.protocol.resume_writing()
        assert [text["digit"] for text in peer.texts()] == [str(number) for number in range(100)]
        assert peer.of(Opcode.BINARY) == [b"0", *(b"%d" % number for number in range(50, 100))]
        assert peer.socket.dropped == 49

    play(scene)


def test_a_client_that_never_reads_is_disconnected_in_the_end() -> None:
    async def scene() -> None:
        peer = Peer()
        peer.transport.full = True
        for _ in range(10_001):
            peer.call.emit(dtmf("c"))
        assert not peer.transport.aborted
        peer.call.emit(dtmf("c"))
        assert peer.transport.aborted

    play(scene)


def test_a_lost_connection_ends_the_call_and_leaves_nothing() -> None:
    async def scene() -> None:
        peer = Peer(query=Query(ping_seconds=20))
        peer.socket.connection_lost(ConnectionResetError())
        await asyncio.sleep(0)
        assert peer.call.ending is not None
        assert peer.connections == set()
        assert peer.door.ended_sockets == [peer.socket]
        assert peer.door.tasks[0].done()

    play(scene)


def test_a_gateway_that_stops_says_so() -> None:
    async def scene() -> None:
        peer = Peer()
        peer.socket.shutdown()
        assert Close.parse(peer.of(Opcode.CLOSE)[0]).code == 1001

    play(scene)
