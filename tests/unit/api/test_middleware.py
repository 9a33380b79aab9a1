import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from active_call.config import Config
from tests.unit.api.fakes import FakeCall, FakeCalls, FakeGateway, client_of


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 65_536


def post(content: bytes | AsyncIterator[bytes]) -> httpx.Response:
    async def whole() -> httpx.Response:
        async with client_of(FakeGateway()) as client:
            headers = {"content-type": "application/json"}
            return await client.post("/call", content=content, headers=headers)

    return asyncio.run(whole())


def test_a_long_body_is_refused() -> None:
    response = post(b" " * ((1 << 20) + 1))
    assert (response.status_code, response.json()["error"]) == (413, "the body is too large")


def test_a_long_body_without_a_length_is_refused_when_it_gets_too_long() -> None:
    assert post(chunks(17)).status_code == 413
    assert post(chunks(15)).status_code == 400  # read, and no JSON


def get(path: str, config: Config, headers: dict[str, str]) -> httpx.Response:
    async def whole() -> httpx.Response:
        calls = {str(number): FakeCall(str(number)) for number in range(20)}
        async with client_of(FakeGateway(FakeCalls(calls)), config=config) as client:
            return await client.get(path, headers=headers)

    return asyncio.run(whole())


@pytest.mark.parametrize("wanted", [True, False])
def test_answers_are_compressed_only_when_configured(wanted: bool) -> None:
    response = get("/call/lists", Config(http_gzip=wanted), {"accept-encoding": "gzip"})
    assert response.headers.get("content-encoding") == ("gzip" if wanted else None)
    assert response.json()["total"] == 20


def test_requests_are_logged_except_for_paths_to_be_skipped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "http.access")
    config = Config(http_access_skip_paths=["/health", "/api/*"])
    for path in ("/health", "/api/playbooks", "/list?x=1", "/kill/none"):
        get(path, config, {"x-real-ip": "198.51.100.1"})
    lines = [record.getMessage().split(" | ") for record in caplog.records]
    assert [(line[0], line[1], line[2], line[5]) for line in lines] == [
        ("198.51.100.1", "GET", "200", "/list?x=1"),
        ("198.51.100.1", "GET", "404", "/kill/none"),
    ]
