import asyncio
import signal

import httpx
import pytest

from active_call.api.app import create_app
from active_call.api.server import HttpServer, bind
from active_call.core.errors import ConfigError

pytestmark = pytest.mark.e2e


def test_health_is_served_until_stopped_and_signals_are_left_alone() -> None:
    async def scenario() -> httpx.Response:
        listener = bind("127.0.0.1", 0)
        port = listener.getsockname()[1]
        stopping = asyncio.Event()
        before = signal.getsignal(signal.SIGTERM)
        async with asyncio.TaskGroup() as tasks, httpx.AsyncClient() as client:
            tasks.create_task(HttpServer(create_app(lambda: {"status": "running"}), listener).run(stopping))
            response = await client.get(f"http://127.0.0.1:{port}/health")
            assert signal.getsignal(signal.SIGTERM) is before
            stopping.set()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        return response

    assert asyncio.run(asyncio.wait_for(scenario(), 10)).status_code == 200


def test_a_taken_port_is_a_clear_error() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=f"can't listen on 127.0.0.1 port {port}: Address already in use"):
            bind("127.0.0.1", port)
