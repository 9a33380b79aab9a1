"""Listening sockets, which a successor of this process may share while we finish our calls."""

import errno
import logging
import socket

from active_call.core.errors import ConfigError
from active_call.sip.hop import Transport

log = logging.getLogger(__name__)

_UDP_BUFFER_BYTES = 1 << 21
"""Room for a burst of some thousand messages while the loop is busy."""


def bound_socket(host: str, port: int, transport: Transport) -> socket.socket:
    """A socket bound to `host` (an address) and `port` (0 for any), not blocking.

    IPv6 sockets take IPv6 only. If another process of this user listens there with this function, the port is
    shared, with a warning (SO_REUSEPORT). Raises ConfigError naming the address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    datagrams = transport == "udp"
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"can't listen for SIP on {host}: {error.strerror}") from error
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if datagrams:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, _UDP_BUFFER_BYTES)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(sock, host, port, transport)
    except (OSError, OverflowError) as error:
        sock.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"can't listen for SIP on {transport.upper()} {host}:{port}: {reason}") from error
    return sock


def _bind(sock: socket.socket, host: str, port: int, transport: Transport) -> None:
    """Alone if possible, so that a port that is taken by mistake is noticed."""
    try:
        sock.bind((host, port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        log.warning(
            "- shares %s %s:%d with another process: each gets some of the calls", transport, host, port
        )
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def source_address(peer: str) -> str:
    """The address that packets of ours to the IP address `peer` leave from; loopback without a route."""
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer, 9))  # no packet is sent by this
        except OSError:
            return "::1" if family == socket.AF_INET6 else "127.0.0.1"
        return str(probe.getsockname()[0])
