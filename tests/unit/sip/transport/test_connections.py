import asyncio
import ssl
from collections.abc import Coroutine
from typing import Any

import pytest

from active_call.sip.hop import Hop
from active_call.sip.transport import connections as module
from active_call.sip.transport.connection import Connection
from active_call.sip.transport.connections import IDLE_SECONDS, Connections
from active_call.sip.transport.framing import PING, PONG
from active_call.testing.clock import run
from tests.unit.sip.support import message
from tests.unit.sip.transport.fakes import FakeStream

OPTIONS = message("OPTIONS")
TCP = Hop("192.0.2.1", 5060, "tcp")
A, B = Hop("192.0.2.1", 5061, "tls", "a.example"), Hop("192.0.2.1", 5061, "tls", "b.example")
CERTIFICATE = {"subjectAltName": (("DNS", "a.example"),)}


class World:
    """Connections whose sockets are made up; `error` is what connecting ends with."""

    def __init__(self, *, verify: bool = True) -> None:
        self.streams: list[FakeStream] = []
        self.messages: list[tuple[bytes, Hop]] = []
        self.failed: list[tuple[Hop, str]] = []
        self.closed: list[tuple[Hop, str]] = []
        self.error: Exception | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.all = Connections(
            spawn=lambda work: self.tasks.append(asyncio.get_running_loop().create_task(work)),
            on_message=lambda data, hop: self.messages.append((data, hop)),
            on_failed=lambda hop, why: self.failed.append((hop, why)),
            on_closed=lambda hop, why: self.closed.append((hop, why)),
            tls=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            verify=verify,
        )
        self.all._connect = self._connect  # type: ignore[method-assign]

    async def _connect(self, connection: Connection, hop: Hop) -> None:
        await asyncio.sleep(1)
        if self.error is not None:
            raise self.error
        self._join(connection, FakeStream(hop[:2], CERTIFICATE if hop.transport == "tls" else None))

    def accept(self, host: str = "192.0.2.9", port: int = 40000) -> FakeStream:
        connection = Connection(Hop("", 0, "tcp"), self.all._opened, self.all._received, self.all._lost)
        return self._join(connection, FakeStream((host, port)))

    def _join(self, connection: Connection, stream: FakeStream) -> FakeStream:
        stream.protocol = connection
        self.streams.append(stream)
        connection.connection_made(stream)
        return stream

    async def send(self, hop: Hop) -> None:
        """And wait for what comes of it."""
        self.all.send(OPTIONS, hop)
        await asyncio.sleep(2)


def play(scene: Coroutine[Any, Any, None]) -> None:
    run(scene)


def test_one_connection_serves_all_messages() -> None:
    async def scene() -> None:
        world = World()
        for _ in range(3):
            world.all.send(OPTIONS, TCP)  # while it is being opened
        await world.send(TCP)
        await world.send(TCP)
        assert [stream.written for stream in world.streams] == [[OPTIONS] * 5]

    play(scene())


def test_who_connected_to_us_is_reached_over_its_connection() -> None:
    async def scene() -> None:
        world = World()
        stream = world.accept()
        assert stream.protocol is not None
        stream.protocol.data_received(OPTIONS)
        ((_, source),) = world.messages
        await world.send(source)
        assert stream.written == [OPTIONS]
        assert len(world.streams) == 1

    play(scene())


def test_a_certificate_counts_for_its_name_only() -> None:
    async def scene() -> None:
        world = World()
        await world.send(A)
        await world.send(B)
        why = "TLS: the certificate is for a.example, not b.example (at 192.0.2.1:5061)"
        assert world.failed == [(B, why)]
        assert world.streams[1].written == []
        assert len(world.all) == 1

    play(scene())


def test_an_address_without_a_name_takes_the_connection_there_is() -> None:
    async def scene() -> None:
        world = World()
        await world.send(A)
        await world.send(A.peer)
        assert [len(stream.written) for stream in world.streams] == [2]

    play(scene())


def test_without_verification_names_do_not_matter() -> None:
    async def scene() -> None:
        world = World(verify=False)
        await world.send(A)
        await world.send(B)
        assert [len(stream.written) for stream in world.streams] == [2]

    play(scene())


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionRefusedError(111, "x"), "can't connect to 192.0.2.1:5060 over TCP: connection refused"),
        (TimeoutError(), "can't connect to 192.0.2.1:5060 over TCP: no answer in 4 s"),
        (OSError(113, "x"), "can't connect to 192.0.2.1:5060 over TCP: no route to host"),
        (ConnectionAbortedError(), "can't connect to 192.0.2.1:5060 over TCP: the connection was closed"),
    ],
)
def test_why_there_is_no_connection(error: Exception, why: str) -> None:
    async def scene() -> None:
        world = World()
        world.error = error
        await world.send(TCP)
        assert world.failed == [(TCP, why)]
        world.error = None
        await world.send(TCP)  # the next message tries again
        assert [stream.written for stream in world.streams] == [[OPTIONS]]

    play(scene())


def test_everybody_who_used_a_lost_connection_is_told() -> None:
    async def scene() -> None:
        world = World(verify=False)
        await world.send(A)
        await world.send(B)
        world.streams[0].close()
        await asyncio.sleep(0)
        assert {hop for hop, _ in world.closed} == {A, B}
        assert world.closed[0][1].endswith("over TLS was lost: closed")
        assert len(world.all) == 0

    play(scene())


def test_a_connection_that_a_peer_has_closed_can_not_be_opened_by_us() -> None:
    async def scene() -> None:
        world = World()
        world.accept("192.0.2.9", 40000).close()
        await asyncio.sleep(0)
        gone = Hop("192.0.2.9", 40000, "tcp")
        await world.send(gone)
        assert world.failed == [
            (gone, "can't send to 192.0.2.9:40000 over TCP: the peer has closed that connection")
        ]
        world.accept("192.0.2.9", 40000)  # the port may come again
        await world.send(gone)
        assert len(world.failed) == 1

    play(scene())


def test_only_what_is_idle_and_not_needed_is_closed() -> None:
    async def scene() -> None:
        world = World()
        await world.send(A)
        await world.send(TCP)
        loop = asyncio.get_running_loop()
        world.all.sweep(loop.time() + IDLE_SECONDS, {A.peer})
        assert [stream.closing for stream in world.streams] == [False, True]
        assert world.streams[0].written == [OPTIONS, PING]

    play(scene())


def test_a_connection_that_is_dead_is_found_out_by_a_keep_alive() -> None:
    async def scene() -> None:
        world = World()
        await world.send(TCP)
        protocol = world.streams[0].protocol
        assert protocol is not None
        protocol.data_received(PONG)
        world.all.sweep(1.0, {TCP})
        await asyncio.sleep(11)
        assert world.closed == [
            (TCP, "the connection to 192.0.2.1:5060 over TCP was lost: no answer to a keep-alive in 10 s")
        ]

    play(scene())


def test_peers_keep_their_own_connections_alive() -> None:
    async def scene() -> None:
        world = World()
        stream = world.accept()
        world.all.sweep(1.0, {Hop("192.0.2.9", 40000, "tcp")})
        assert stream.written == []
        assert stream.protocol is not None
        stream.protocol.data_received(PING)
        assert stream.written == [PONG]

    play(scene())


def test_a_keep_alive_on_demand() -> None:
    async def scene() -> None:
        world = World()
        world.all.keep_alive(TCP)  # nothing to keep
        await world.send(TCP)
        world.all.keep_alive(TCP)
        assert [stream.written for stream in world.streams] == [[OPTIONS, PING]]

    play(scene())


def test_too_many_connections_are_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_ACCEPTED", 3)
    monkeypatch.setattr(module, "MAX_ACCEPTED_PER_HOST", 2)

    async def scene() -> None:
        world = World()
        streams = [world.accept(host, n) for n, host in enumerate(("192.0.2.1",) * 3 + ("192.0.2.2",) * 2, 1)]
        await asyncio.sleep(0)
        assert [stream.aborted for stream in streams] == [False, False, True, False, True]
        streams[0].close()
        await asyncio.sleep(0)
        assert not world.accept("192.0.2.3", 1).aborted
        world.all.sweep(0.0, ())

    play(scene())
    assert "refused 2 connections" in caplog.text


def test_what_waits_for_a_connection_is_bounded() -> None:
    async def scene() -> None:
        world = World()
        for _ in range(40):
            world.all.send(b"x" * 10_000, TCP)
        await asyncio.sleep(2)
        assert len(world.streams[0].written) == (1 << 18) // 10_000

    play(scene())


def test_closing_ends_them_all() -> None:
    async def scene() -> None:
        world = World()
        await world.send(TCP)
        world.accept()
        await world.all.aclose()
        assert all(stream.closing for stream in world.streams)
        assert len(world.all) == 0

    play(scene())


def test_nobody_is_let_in_once_listening_has_stopped() -> None:
    async def scene() -> None:
        everything = World().all
        ports = [
            await everything.listen("127.0.0.1", 0, None),
            await everything.listen("127.0.0.1", 0, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)),
        ]
        for port in ports:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
        everything.stop_listening()
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
        await everything.aclose()

    asyncio.run(scene())
