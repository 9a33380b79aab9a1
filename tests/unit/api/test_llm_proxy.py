import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from active_call.api.llm_proxy import from_elsewhere, llm_proxy
from active_call.outbound import FetchError, Origin, Outbound
from active_call.testing.clock import run

HERE, ELSEWHERE = "127.0.0.1", "192.0.2.7"
KEY = {"OPENAI_API_KEY": "operator-key"}


class Server(Outbound):
    """A language model's server: notes the request, and answers with `pieces`."""

    def __init__(self, status: int = 200, error: FetchError | None = None) -> None:
        super().__init__()
        self.status = status
        self.error = error
        self.request: dict[str, Any] = {}
        self.answer = httpx.Response(200)

    async def send(
        self,
        method: str,
        url: str,
        origin: Origin,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        timeout: float | None = None,
        connect_timeout: float | None = None,
    ) -> httpx.Response:
        assert not isinstance(content, bytes)
        assert content is not None
        body = b"".join([piece async for piece in content])
        self.request = {"url": url, "origin": origin, "headers": dict(headers or {}), "body": body}
        if self.error is not None:
            raise self.error

        async def pieces() -> AsyncIterator[bytes]:
            yield b"data: one\n\n"
            yield b"data: [DONE]\n\n"

        told = {"content-type": "text/event-stream", "connection": "close, x-hop", "x-hop": "1", "x-model": "m"}
        self.answer = httpx.Response(self.status, headers=told, content=pieces())
        return self.answer


def post(
    server: Server,
    path: str = "/llm/v1/chat/completions?stream=true",
    *,
    client: str = HERE,
    target: str | None = "http://llm.example/base/v1/",
    headers: Mapping[str, str] | None = None,
    environment: Mapping[str, str] = KEY,
) -> httpx.Response:
    app = FastAPI()
    app.include_router(llm_proxy(target, server, environment=environment))

    async def scenario() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(client, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.example") as api:
            return await api.post(path, json={"model": "m"}, headers=headers)

    return run(scenario())


def test_the_request_and_the_answer_are_passed_on() -> None:
    server = Server()
    response = post(server, headers={"X-Own": "1", "Cookie": "session=1", "Connection": "x-one", "X-One": "1"})
    assert response.text == "data: one\n\ndata: [DONE]\n\n"
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-model"] == "m"
    assert "x-hop" not in response.headers
    assert server.request["url"] == "http://llm.example/base/v1/chat/completions?stream=true"
    assert server.request["origin"] is Origin.OPERATOR
    assert json.loads(server.request["body"]) == {"model": "m"}
    sent = server.request["headers"]
    assert sent["x-own"] == "1"
    assert sent["authorization"] == "Bearer operator-key"
    assert not {"host", "cookie", "connection", "x-one"} & set(sent)
    assert server.answer.is_closed


@pytest.mark.parametrize("status", [401, 429, 500])
def test_the_servers_errors_are_passed_on(status: int) -> None:
    assert post(Server(status)).status_code == status


def test_a_client_elsewhere_needs_a_key_of_its_own() -> None:
    server = Server()
    assert post(server, client=ELSEWHERE).status_code == 401
    assert server.request == {}
    own = {"Authorization": "Bearer own-key"}
    assert post(server, client=ELSEWHERE, headers=own).status_code == 200
    assert server.request["headers"]["authorization"] == "Bearer own-key"


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_a_proxy_here_speaks_for_clients_elsewhere(header: str) -> None:
    assert post(Server(), headers={header: "127.0.0.1"}).status_code == 401


def test_pages_of_other_machines_do_not_spend_the_operators_key() -> None:
    assert post(Server(), headers={"Origin": "https://elsewhere.example"}).status_code == 403
    assert post(Server(), headers={"Origin": "http://localhost:3000"}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "elsewhere"),
    [
        (None, False),
        ("http://[::1]:8080", False),
        ("http://127.0.0.1", False),
        ("null", True),
        ("http://localhost.elsewhere.example", True),
        ("http://[::1", True),
    ],
)
def test_origins(origin: str | None, elsewhere: bool) -> None:
    assert from_elsewhere(origin) is elsewhere


@pytest.mark.parametrize("path", ["/llm/v1/a/%2e%2e/admin", "/llm/v1/%2e%2e/%2e%2e/admin", "/llm/v1/%2e/x"])
def test_the_path_stays_below_the_target(path: str) -> None:
    server = Server()
    response = post(server, path)
    assert response.status_code == 400
    assert server.request == {}


def test_odd_characters_of_the_path_stay_in_it() -> None:
    server = Server()
    post(server, "/llm/v1/models/a%3Fb%23c")
    assert server.request["url"] == "http://llm.example/base/v1/models/a%3Fb%23c"


@pytest.mark.parametrize(
    ("target", "environment", "base"),
    [
        ("http://a.example/v1", {"OPENAI_BASE_URL": "http://b.example/v1"}, "http://a.example/v1"),
        (None, {"OPENAI_BASE_URL": "http://b.example/v1"}, "http://b.example/v1"),
        (None, {}, "https://api.openai.com/v1"),
    ],
)
def test_where_to(target: str | None, environment: dict[str, str], base: str) -> None:
    server = Server()
    post(server, "/llm/v1/chat/completions", target=target, environment=environment)
    assert server.request["url"] == f"{base}/chat/completions"
    assert "authorization" not in server.request["headers"]


def test_a_server_that_can_not_be_reached() -> None:
    response = post(Server(error=FetchError("http://llm.example: connection refused")))
    assert response.status_code == 502
    assert response.json()["error"]["message"] == "http://llm.example: connection refused"
