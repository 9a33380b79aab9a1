"""uvicorn as a guest in our event loop: it neither makes the loop, nor handles signals, nor sets up logging."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from active_call.core.errors import ConfigError

_BACKLOG = 1024


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket: clients queue from now on. Raises ConfigError if the address can't be had."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        why = os.strerror(error.errno or 0)
        raise ConfigError(
            f"http_addr: can't listen on {host} port {port}: {why}; choose another with --http"
        ) from None
    sock.setblocking(False)
    return sock


class HttpServer:
    """Serves `app`, an ASGI application, on a socket of `bind`."""

    def __init__(self, app: Any, listener: socket.socket) -> None:
        self._listener = listener
        self._server = _Guest(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set; open requests are answered, for a second at most."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._server.serve([self._listener]))
            await stopping.wait()
            self._server.should_exit = True


class _Guest(uvicorn.Server):
    """The owner of the loop decides about signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
