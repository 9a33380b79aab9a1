import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from active_call.core.streams import closing
from active_call.outbound import FetchError, GuardError, Origin, Outbound, OutboundPolicy

pytestmark = pytest.mark.e2e

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[int]:
    """A web server that gives each request's head to `answer`; its port."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await answer(await reader.readuntil(b"\r\n\r\n"), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    listener = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


def respond(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def pages(head: bytes, writer: asyncio.StreamWriter) -> None:
    """Answers by path."""
    path = head.split()[1].decode()
    match path.split("/")[1:]:
        case ["hello"]:
            writer.write(respond(200, b"hello"))
        case ["bytes", count]:
            writer.write(respond(200, bytes(int(count))))
        case ["to", *target]:
            writer.write(respond(302, b"", f"Location: {'/'.join(target)}"))
        case ["round", count]:
            writer.write(respond(302, b"", f"Location: /round/{int(count) + 1}"))
        case ["stall"]:
            writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nfirst")
        case ["broken"]:
            writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nfirst")
            await writer.drain()
            writer.close()
        case ["silent"]:
            pass
        case _:
            writer.write(respond(404))


async def named(host: str, port: int) -> list[str]:
    """All names lead to this machine; some first to a port where nobody is."""
    return ["127.0.0.2", "127.0.0.1"] if host.startswith("two.") else ["127.0.0.1"]


async def body(outbound: Outbound, url: str, origin: Origin, limit: int | None = None) -> bytes:
    received = b""
    async with closing(outbound.fetch(url, origin, limit_bytes=limit)) as pieces:
        async for piece in pieces:
            received += piece
    return received


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


def fetched(path: str, origin: Origin = Origin.CLIENT, *, host: str = "127.0.0.1", **options: Any) -> bytes:
    """The body at a path of the server."""
    found: list[bytes] = []
    limit = options.pop("limit", None)

    async def scenario() -> None:
        async with server(pages) as port, Outbound(OutboundPolicy(**options), resolve=named) as outbound:
            url = f"http://{host}:{port}{path}".replace("PORT", str(port))
            found.append(await body(outbound, url, origin, limit))

    run(scenario())
    return found[0]


def test_a_body() -> None:
    assert fetched("/hello") == b"hello"


def test_a_name_may_have_an_address_where_nobody_is() -> None:
    assert fetched("/hello", host="two.example") == b"hello"


def test_a_name_that_leads_to_this_machine_is_refused_to_calls() -> None:
    with pytest.raises(GuardError, match=r"media\.example: its address 127\.0\.0\.1 is in a private network"):
        fetched("/hello", Origin.CALL, host="media.example")
    with pytest.raises(GuardError):
        fetched("/hello", Origin.CLIENT, host="media.example", allow_private=False)


def test_an_allowed_name_may_lead_to_this_machine() -> None:
    allowed = ("media.example",)
    assert fetched("/hello", Origin.CALL, host="media.example", allow_hosts=allowed) == b"hello"


def test_redirects_are_followed_and_checked() -> None:
    assert fetched("/to/http://127.0.0.1:PORT/hello") == b"hello"
    allowed = ("media.example",)
    with pytest.raises(GuardError, match="127.0.0.1 is in a private network"):
        fetched("/to/http://127.0.0.1:PORT/hello", Origin.CALL, host="media.example", allow_hosts=allowed)
    with pytest.raises(FetchError, match="redirect"):
        fetched("/round/1")
    with pytest.raises(FetchError):
        fetched("/to/file:///etc/passwd")


def test_a_status_is_told_without_secrets() -> None:
    with pytest.raises(FetchError, match="answered 404") as error:
        fetched("/missing?token=hidden")
    assert error.value.status == 404
    assert "hidden" not in str(error.value)


def test_size_is_limited() -> None:
    assert len(fetched("/bytes/1000", max_bytes=1000)) == 1000
    with pytest.raises(FetchError, match="longer than 999 bytes"):
        fetched("/bytes/1000", max_bytes=999)
    with pytest.raises(FetchError, match="longer than 10 bytes"):
        fetched("/bytes/1000", limit=10)


@pytest.mark.parametrize(
    ("path", "text"),
    [("/silent", "no answer in time"), ("/stall", "broke off: no answer"), ("/broken", "broke off")],
)
def test_a_server_that_stops_talking(path: str, text: str) -> None:
    with pytest.raises(FetchError, match=text):
        fetched(path, timeout=0.2)


def test_nobody_there() -> None:
    async def scenario() -> None:
        async with server(pages) as port:
            pass
        async with Outbound() as outbound:
            with pytest.raises(FetchError, match=f"127.0.0.1:{port}"):
                await body(outbound, f"http://127.0.0.1:{port}/", Origin.OPERATOR)

    run(scenario())


def test_posting_json() -> None:
    heads: list[bytes] = []

    async def hook(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        if b" /silent " not in head:
            writer.write(respond(202, b"", "Connection: close"))
            await writer.drain()
            writer.close()

    async def scenario() -> None:
        async with server(hook) as port, Outbound() as outbound:
            url = f"http://127.0.0.1:{port}"
            status = await outbound.post_json(
                f"{url}/hook", {"a": 1}, Origin.OPERATOR, method="PUT", headers={"X-Test": "1"}
            )
            assert status == 202
            with pytest.raises(FetchError, match="no answer within 0.2 s"):
                await outbound.post_json(f"{url}/silent", {}, Origin.OPERATOR, timeout=0.2)

    run(scenario())
    assert heads[0].startswith(b"PUT /hook HTTP/1.1\r\n")
    assert b"x-test: 1" in heads[0].lower()
    assert b"content-type: application/json" in heads[0].lower()


def test_connections_are_not_shared_between_origins() -> None:
    async def scenario() -> None:
        async with server(pages) as port, Outbound(resolve=named) as outbound:
            url = f"http://media.example:{port}/hello"
            assert await body(outbound, url, Origin.OPERATOR) == b"hello"
            with pytest.raises(GuardError):
                await body(outbound, url, Origin.CALL)

    run(scenario())


def test_websockets() -> None:
    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async def scenario() -> None:
        async with serve(echo, "127.0.0.1", 0) as services, Outbound(resolve=named) as outbound:
            port = services.sockets[0].getsockname()[1]
            socket = await outbound.connect_websocket(f"ws://two.example:{port}/", Origin.CLIENT)
            async with socket:
                await socket.send(b"abc")
                assert await socket.recv() == b"abc"
            with pytest.raises(GuardError, match="private network"):
                await outbound.connect_websocket(f"ws://two.example:{port}/", Origin.CALL)
            with pytest.raises(GuardError, match="not a URL of ws:// or wss://"):
                await outbound.connect_websocket(f"http://two.example:{port}/", Origin.CLIENT)

    run(scenario())


def test_websockets_that_do_not_come_about() -> None:
    async def scenario() -> None:
        async with server(pages) as port, Outbound() as outbound:
            with pytest.raises(FetchError, match="answered 404 instead of a WebSocket") as error:
                await outbound.connect_websocket(f"ws://127.0.0.1:{port}/none?token=hidden", Origin.CLIENT)
            assert "hidden" not in str(error.value)
            with pytest.raises(FetchError, match="no connection within 0.2 s"):
                await outbound.connect_websocket(
                    f"ws://127.0.0.1:{port}/silent", Origin.CLIENT, open_timeout=0.2
                )
            with pytest.raises(FetchError):
                await outbound.connect_websocket(f"ws://127.0.0.1:{port}/to/ws://a.example/", Origin.CLIENT)

    run(scenario())
