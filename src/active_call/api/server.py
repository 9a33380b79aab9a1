"""uvicorn as a guest in our event loop: it neither makes the loop, nor handles signals, nor sets up logging."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn

from active_call.api.access_log import AccessLog
from active_call.api.app import create_app
from active_call.api.endpoints import Endpoints
from active_call.api.ports import GatewayPort
from active_call.config import Config


class HttpServer:
    """Serves a gateway's REST interface and WebSockets on a socket of `bind`."""

    def __init__(self, gateway: GatewayPort, config: Config, listener: socket.socket) -> None:
        self._listener = listener
        self._endpoints = Endpoints(gateway.calls, AccessLog(config.logs_access))
        self._server = _Guest(
            uvicorn.Config(
                create_app(gateway, config, self._endpoints.status),
                http="h11",
                ws=cast("Any", self._endpoints.protocol),
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=1,
            )
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set; open requests are answered, for a second at most."""
        try:
            async with self._endpoints, asyncio.TaskGroup() as tasks:
                tasks.create_task(self._server.serve([self._listener]))
                await stopping.wait()
                self._server.should_exit = True
        finally:
            self._server.abandon()


class _Guest(uvicorn.Server):
    """The owner of the loop decides about signals."""

    def abandon(self) -> None:
        """Close what `serve` leaves open when it is cancelled: the loop could not be closed else."""
        for server in getattr(self, "servers", ()):
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
