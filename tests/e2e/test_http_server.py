"""HTTP and WebSockets on real sockets, with calls that are none."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from active_call.api.listener import bind
from active_call.api.server import HttpServer
from active_call.call.reasons import CLIENT_GONE
from active_call.config import Config
from active_call.core.errors import ConfigError
from tests.unit.api.fakes import FakeCall, FakeCalls, FakeGateway, dtmf

pytestmark = pytest.mark.e2e


class Server:
    """A server of fake calls on a free port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.gateway = FakeGateway()
        self.calls: FakeCalls = self.gateway.calls

    def url(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    async def health(self) -> dict[str, int]:
        async with httpx.AsyncClient() as client:
            return dict((await client.get(self.url("/health"))).json()["api"])


@asynccontextmanager
async def served() -> AsyncIterator[Server]:
    listener = bind("127.0.0.1", 0)
    stopping = asyncio.Event()
    server = Server(listener.getsockname()[1])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(HttpServer(server.gateway, Config(), listener).run(stopping))
        yield server
        stopping.set()


def play(scene: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(scene, 20))


async def until(come: Callable[[], bool]) -> None:
    for _ in range(400):
        if come():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


def test_health_is_served_until_stopped_and_signals_are_left_alone() -> None:
    async def scene() -> None:
        before = signal.getsignal(signal.SIGTERM)
        async with served() as server, httpx.AsyncClient() as client:
            assert (await client.get(server.url("/health"))).status_code == 200
            assert signal.getsignal(signal.SIGTERM) is before
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)

    play(scene())


def test_a_port_of_our_own_is_shared_so_that_a_new_process_can_take_over() -> None:
    with bind("127.0.0.1", 0) as listener, bind(*listener.getsockname()[:2]) as other:
        assert other.getsockname() == listener.getsockname()


def test_a_port_that_another_program_has_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=f"can't listen on 127.0.0.1 port {port}: Address already in use"):
            bind("127.0.0.1", port)


def test_a_client_leads_its_call() -> None:
    async def scene() -> None:
        async with served() as server:
            async with connect(server.url("/call?id=a@b:1", "ws"), compression="deflate") as client:
                assert client.response is not None
                assert "Sec-WebSocket-Extensions" not in client.response.headers
                assert '"event":"ping"' in str(await client.recv())
                call = server.calls.calls["a@b:1"]
                await client.send('{"command": "pause"}')
                await client.send(b"audio")
                await until(lambda: len(call.heard) == 2)
                call.emit(dtmf("a@b:1"))
                assert '"digit":"1"' in str(await client.recv())
                assert call.on_audio is not None
                call.on_audio(None, b"answer")
                assert await client.recv() == b"answer"
                assert (await server.health())["clients"] == 1
                call.end(CLIENT_GONE)
                assert '"event":"end"' in str(await client.recv())
                assert '"event":"hangup"' in str(await client.recv())
                await client.wait_closed()
                assert client.close_code == 1000
            assert (await server.health())["clients"] == 0

    play(scene())


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("/call?dump=perhaps", 400, b'dump: "perhaps" is neither true nor false'),
        ("/call?id=taken", 409, b'there is a call "taken" already'),
        ("/socket", 404, b"no WebSocket is served here"),
    ],
)
def test_a_client_is_refused_before_the_upgrade(target: str, status: int, words: bytes) -> None:
    async def scene() -> None:
        async with served() as server:
            server.calls.add(FakeCall("taken"))
            with pytest.raises(InvalidStatus) as caught:
                await connect(server.url(target, "ws"))
            assert caught.value.response.status_code == status
            assert words in bytes(caught.value.response.body or b"")

    play(scene())


@pytest.mark.parametrize("linger", [True, False])
def test_a_killed_connection_ends_its_call_at_once(linger: bool) -> None:
    async def scene() -> None:
        async with served() as server:
            client = await connect(server.url("/call?id=a", "ws"))
            sock = client.transport.get_extra_info("socket")
            if linger:  # close with RST, as a crashed machine's kernel does
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.transport.abort()
            await until(lambda: server.calls.calls["a"].ending is CLIENT_GONE)
            assert (await server.health())["clients"] == 0

    play(scene())


def test_a_client_that_never_reads_loses_audio_only() -> None:
    async def scene() -> None:
        async with served() as server, connect(server.url("/call?id=a&ping=0", "ws"), max_queue=1) as client:
            call = server.calls.calls["a"]
            assert call.on_audio is not None
            for number in range(2_000):  # 40 s
                call.on_audio(None, bytes(640))
                if number % 100 == 0:
                    call.emit(dtmf("a", str(number // 100)))
                if number % 20 == 0:
                    await asyncio.sleep(0)
            dropped = (await server.health())["audioDropped"]
            digits: list[str] = []
            audio = 0
            while len(digits) < 20 or audio + dropped < 2_000:
                message = await client.recv()
                if isinstance(message, bytes):
                    audio += 1
                else:
                    digits.append(message.partition('"digit":"')[2].partition('"')[0])
            assert digits == [str(number) for number in range(20)]
            assert dropped > 100
            assert audio + dropped == 2_000

    play(scene())


def test_watching_a_call_ends_with_it() -> None:
    async def scene() -> None:
        async with served() as server, httpx.AsyncClient() as client:
            call = server.calls.add(FakeCall("a/b"))
            async with client.stream("GET", server.url("/events/a/b")) as response:
                assert response.headers["content-type"] == "text/event-stream;charset=utf-8"
                await until(lambda: bool(call.followers))
                call.emit(dtmf("a/b"))
                call.end(CLIENT_GONE)
                lines = [line async for line in response.aiter_lines() if line.startswith("data")]
            assert ['"dtmf"' in lines[0], '"hangup"' in lines[1]] == [True, True]
            assert call.followers == []

    play(scene())


def test_stopping_says_goodbye_to_clients_and_watchers() -> None:
    async def scene() -> None:
        async with served() as server:
            client = await connect(server.url("/call?id=a", "ws"))
            call = server.calls.calls["a"]
        await client.wait_closed()
        assert client.close_code == 1001
        assert call.ending is CLIENT_GONE

    play(scene())


def test_many_clients_come_and_go_and_nothing_stays() -> None:
    async def scene() -> None:
        async with served() as server:
            await server.health()
            tasks = len(asyncio.all_tasks())
            for number in range(100):
                async with connect(server.url(f"/call?id={number}", "ws")):
                    pass
            await until(lambda: all(call.ending for call in server.calls.calls.values()))
            await until(lambda: len(asyncio.all_tasks()) <= tasks)
            assert (await server.health())["clients"] == 0

    play(scene())
