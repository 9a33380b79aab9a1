"""TLS connections that peers open, as long as they are not secure yet.

A handshake costs milliseconds of this thread, and who has not finished one has not shown anything. So there is
a limit to how many may be under way, in all and from one address: the newest is refused.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)

MAX_HANDSHAKES = 1024
MAX_HANDSHAKES_PER_HOST = 128
HANDSHAKE_SECONDS = 10.0
"""How long one may take."""
_AT_ONCE = 64
"""Accepted before the loop does something else."""
_PAUSE_SECONDS = 1.0
"""When this process has no files left."""

Secure = Callable[[socket.socket], Awaitable[object]]
"""Does the handshake on a socket that was accepted, and owns that, even if it raises OSError."""


class Handshakes:
    """Accepts on one listening socket."""

    def __init__(
        self, sock: socket.socket, secure: Secure, spawn: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        self.refused = 0
        """How many were too many, since somebody last set this to 0."""
        self._sock = sock
        self._secure = secure
        self._spawn = spawn
        self._under_way: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None

    def start(self, backlog: int) -> None:
        """Listen. Raises OSError."""
        self._sock.listen(backlog)
        self._resume()

    def close(self) -> None:
        """Listen no more; handshakes that are under way go on."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _resume(self) -> None:
        self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("- can't accept a TLS connection: %s", error.strerror or error)
                self._loop.remove_reader(self._sock)
                self._pause = self._loop.call_later(_PAUSE_SECONDS, self._resume)
                return
            sock.setblocking(False)
            self.accepted(sock, address[0])

    def accepted(self, sock: socket.socket, host: str) -> None:
        """Begin the handshake with `host`, or refuse to."""
        if self._under_way.total() >= MAX_HANDSHAKES or self._under_way[host] >= MAX_HANDSHAKES_PER_HOST:
            self.refused += 1
            sock.close()
            return
        self._under_way[host] += 1
        self._spawn(self._shake_hands(sock, host))

    async def _shake_hands(self, sock: socket.socket, host: str) -> None:
        try:
            await self._secure(sock)
        except (OSError, TimeoutError) as error:
            log.debug("- no TLS handshake with %s: %s", host, error)
        finally:
            self._under_way[host] -= 1
            if not self._under_way[host]:
                del self._under_way[host]
