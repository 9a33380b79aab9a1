"""SIP over UDP: one socket, no protocol knowledge except STUN."""

import asyncio
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable
from typing import cast

from active_call.core.errors import ConfigError
from active_call.sip.hop import Hop
from active_call.sip.transport.sockets import bound_socket
from active_call.sip.transport.stun import binding_response, is_stun

log = logging.getLogger(__name__)

Receive = Callable[[bytes, Hop], None]
OnUnreachable = Callable[[Hop, str], None]

_MAX_ERRORS = 64
"""Read from the kernel at a time."""
_UNREACHABLE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)
_ERROR_NUMBER = struct.Struct("=I")  # the first field of sock_extended_err, see ip(7)
_RECEIVE_ERRORS = ((socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25))  # IP_RECVERR, IPV6_RECVERR


class UdpTransport(asyncio.DatagramProtocol):
    """A bound socket that hands each datagram to `receive`, and answers STUN itself.

    `on_unreachable` hears of hosts and ports from where ICMP says that nobody is there (RFC 3261 §18.4).
    """

    def __init__(self, receive: Receive, on_unreachable: OnUnreachable) -> None:
        self._receive = receive
        self._on_unreachable = on_unreachable
        self._transport: asyncio.DatagramTransport | None = None
        self._errors: socket.socket | None = None
        self._failed = False
        self._closed = asyncio.Event()
        self.address = ("", 0)

    @classmethod
    async def open(
        cls, host: str, port: int, receive: Receive, on_unreachable: OnUnreachable
    ) -> "UdpTransport":
        """Bind to `host` (an address) and `port` (0 for any). Raises ConfigError."""
        sock = bound_socket(host, port, "udp")
        try:
            loop = asyncio.get_running_loop()
            sock.setsockopt(*_RECEIVE_ERRORS[sock.family == socket.AF_INET6], 1)
            errors = sock.dup()
            _, protocol = await loop.create_datagram_endpoint(lambda: cls(receive, on_unreachable), sock=sock)
        except OSError as error:
            sock.close()
            raise ConfigError(f"can't listen for SIP on UDP {host}:{port}: {error.strerror}") from error
        protocol._errors = errors
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is in the loop."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A datagram."""
        if not is_stun(data):
            self._receive(data, Hop(addr[0], addr[1]))
            return
        answer = binding_response(data, addr[:2])
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)

    def error_received(self, exc: Exception) -> None:
        """Something sent earlier has bounced."""
        self._failed = True
        if self._errors is None:
            return
        for _ in range(_MAX_ERRORS):
            try:
                _, ancillary, _, address = self._errors.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return  # no more
            for _, _, content in ancillary:
                (number,) = _ERROR_NUMBER.unpack_from(content)
                if number in _UNREACHABLE and address:
                    hop = Hop(address[0], address[1])
                    self._on_unreachable(hop, f"nobody is at {hop}: {os.strerror(number).lower()}")

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._transport = None
        self._closed.set()

    def send(self, data: bytes, destination: Hop) -> None:
        """Send to an IP address. Raises OSError if that can't work at all."""
        if self._transport is None:
            return
        self._failed = False
        self._transport.sendto(data, destination[:2])
        if self._failed:
            # The kernel told of an earlier datagram instead of sending this one.
            self._transport.sendto(data, destination[:2])

    async def aclose(self) -> None:
        """Close the socket after what is queued was sent."""
        if self._errors is not None:
            self._errors.close()
            self._errors = None
        if self._transport is not None:
            self._transport.close()
            await self._closed.wait()
