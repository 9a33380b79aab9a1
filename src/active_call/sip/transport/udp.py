"""SIP over UDP: one socket, no protocol knowledge."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

from active_call.core.errors import ConfigError

log = logging.getLogger(__name__)

Receive = Callable[[bytes, tuple[str, int]], None]

_BUFFER_BYTES = 1 << 21
"""Room for a burst of some thousand messages while the loop is busy."""


class UdpTransport(asyncio.DatagramProtocol):
    """A bound socket that hands each datagram to `receive`."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._transport: asyncio.DatagramTransport | None = None
        self._closed = asyncio.Event()
        self.address = ("", 0)

    @classmethod
    async def open(cls, host: str, port: int, receive: Receive) -> "UdpTransport":
        """Bind to `host` (an address; empty for all) and `port` (0 for any). Raises ConfigError."""
        host = host or "0.0.0.0"
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
            sock.bind((host, port))
            loop = asyncio.get_running_loop()
            _, protocol = await loop.create_datagram_endpoint(lambda: cls(receive), sock=sock)
        except (OSError, OverflowError) as error:
            sock.close()
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"can't listen for SIP on UDP {host}:{port}: {reason}") from error
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is in the loop."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A datagram."""
        self._receive(data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """The kernel complains about something sent earlier; retransmissions and timers deal with it."""
        log.debug("- UDP: %s", exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._transport = None
        self._closed.set()

    def send(self, data: bytes, destination: tuple[str, int]) -> None:
        """Send to an IP address. Raises OSError if that can't work at all."""
        if self._transport is not None:
            self._transport.sendto(data, destination)

    async def aclose(self) -> None:
        """Close the socket after what is queued was sent."""
        if self._transport is not None:
            self._transport.close()
            await self._closed.wait()


def source_address(peer: str) -> str:
    """The address that packets of ours to the IP address `peer` leave from; loopback without a route."""
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer, 9))  # no packet is sent by this
        except OSError:
            return "::1" if family == socket.AF_INET6 else "127.0.0.1"
        return str(probe.getsockname()[0])
