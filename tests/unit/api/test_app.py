import asyncio
from typing import Any

import httpx
import pytest

from active_call import __version__
from active_call.config import Config
from tests.unit.api.fakes import FakeGateway, client_of


def get(path: str, state: dict[str, Any] | None = None, config: Config | None = None) -> httpx.Response:
    """The answer of an application whose gateway has this state."""

    async def ask() -> httpx.Response:
        gateway = FakeGateway() if state is None else FakeGateway(state=state)
        async with client_of(gateway, config=config) as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_a_running_gateway_is_healthy() -> None:
    state = {"status": "running", "reasons": [], "version": __version__, "uptime": 1.5, "calls": {"active": 3}}
    response = get("/health", state)
    assert response.status_code == 200
    assert response.json() == {**state, "api": {"clients": 0}}


def test_a_gateway_that_takes_no_calls_says_why() -> None:
    response = get("/health", {"status": "unavailable", "reasons": ["draining"]})
    assert response.status_code == 503
    assert response.json()["reasons"] == ["draining"]


def test_health_is_for_checks_by_head_too() -> None:
    async def ask() -> httpx.Response:
        async with client_of(FakeGateway()) as client:
            return await client.head("/health")

    assert asyncio.run(ask()).status_code == 200


@pytest.mark.parametrize("path", ["/nothing", "/docs", "/redoc"])
def test_other_paths_are_not_found(path: str) -> None:
    response = get(path)
    assert (response.status_code, response.json()["error"]) == (404, "Not Found")


def test_browsers_are_told_the_configured_servers() -> None:
    server = {"urls": ["turn:turn.example.com"], "username": "u", "credential": "c"}
    servers = get("/iceservers", config=Config.model_validate({"ice_servers": [server]})).json()
    assert servers == [server]
    assert get("/iceservers").json()[0]["username"] is None


def test_the_description_names_every_route_and_its_errors() -> None:
    described = get("/openapi.json").json()
    assert set(described["paths"]) == {
        "/health",
        "/iceservers",
        "/call",
        "/call/lists",
        "/list",
        "/call/kill/{id}",
        "/kill/{id}",
        "/events/{id}",
        "/command/{id}",
        "/precache",
        "/api/playbooks",
        "/api/playbooks/{name}",
        "/api/playbook/run",
        "/api/records",
    }
    for operations in described["paths"].values():
        for operation in operations.values():
            assert "422" not in operation["responses"]
    assert "400" in described["paths"]["/call"]["post"]["responses"]
