"""RTP and RTCP sockets from the configured port range."""

import errno
import random
import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from active_call.core.errors import MediaError

_RECEIVE_BUFFER = 1 << 18
_EXPEDITED = 46 << 2
"""By this DSCP, Expedited Forwarding, networks that tell traffic apart know speech (RFC 4594 §4.1)."""


@dataclass(frozen=True, slots=True)
class MediaSockets:
    """A bound, non-blocking pair: RTP on an even `port`, RTCP on the next."""

    rtp: socket.socket
    rtcp: socket.socket
    port: int

    def close(self) -> None:
        """Drop this process's copies; the port is free once the media plane has dropped its own."""
        self.rtp.close()
        self.rtcp.close()


_ANY: Final = {False: "0.0.0.0", True: "::"}


class PortRange:
    """Hands out even ports between `start` and `end` inclusive, round robin from a random place.

    Going round, rather than lowest first, keeps late packets of an ended call away from the next one. The pairs
    are of IPv4 or of IPv6, never of both; where `bind_ip` is of the other kind it means any address, or none
    but the loopback.
    """

    def __init__(self, start: int, end: int, bind_ip: str = "0.0.0.0") -> None:
        first = start + start % 2
        self._ports = range(first, end, 2)
        if not self._ports:
            raise MediaError(f"RTP port range {start}-{end} has no even port with an odd one after it")
        self._bind_ip = ip_address(bind_ip)
        self._next = random.randrange(len(self._ports))

    def open_pair(self, *, ipv6: bool = False) -> MediaSockets:
        """Bind the next free pair. Raises MediaError if all are taken, or there is no such address."""
        host = self._host(ipv6)
        count = len(self._ports)
        for _ in range(count):
            port = self._ports[self._next]
            self._next = (self._next + 1) % count
            rtp = _bind(host, port)
            if rtp is None:
                continue
            rtcp = _bind(host, port + 1)
            if rtcp is None:
                rtp.close()
                continue
            return MediaSockets(rtp, rtcp, port)
        raise MediaError(f"no RTP port is free in {self._ports.start}-{self._ports[-1] + 1}")

    def _host(self, ipv6: bool) -> str:
        ours, version = self._bind_ip, 6 if ipv6 else 4
        if ours.version == version:
            return str(ours)
        if ours.is_loopback:
            return "::1" if ipv6 else "127.0.0.1"
        if ours.is_unspecified:
            return _ANY[ipv6]
        raise MediaError(f"no audio over IPv{version}: RTP is bound to {ours} (rtp_bind_ip)")


def _bind(host: str, port: int) -> socket.socket | None:
    """A bound socket, or None if the port is taken. Raises MediaError if the address is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError as error:
        raise MediaError(f"no RTP socket for {host}: {error.strerror}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise MediaError(f"RTP can't be bound to {host}: {error.strerror} (rtp_bind_ip)") from None
        return None
    with suppress(OSError):  # where it may not be set, calls are possible all the same
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _EXPEDITED)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _EXPEDITED)
    return sock
