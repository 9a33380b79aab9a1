import asyncio
from typing import Any

import httpx

from active_call import __version__
from active_call.api.app import create_app


def get(path: str, status: dict[str, Any]) -> httpx.Response:
    """The answer of an application whose gateway has this status."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app(lambda: status))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_a_running_gateway_is_healthy() -> None:
    status = {"status": "running", "reasons": [], "version": __version__, "uptime": 1.5, "calls": {"active": 3}}
    response = get("/health", status)
    assert response.status_code == 200
    assert response.json() == status


def test_a_gateway_that_takes_no_calls_says_why() -> None:
    response = get("/health", {"status": "unavailable", "reasons": ["draining"]})
    assert response.status_code == 503
    assert response.json()["reasons"] == ["draining"]


def test_other_paths_are_not_found() -> None:
    assert get("/nothing", {"status": "running"}).status_code == 404


def test_no_page_loads_scripts_from_elsewhere() -> None:
    assert get("/docs", {"status": "running"}).status_code == 404
