"""RTP and RTCP sockets from the configured port range."""

import random
import socket
from dataclasses import dataclass

from active_call.core.errors import MediaError

_RECEIVE_BUFFER = 1 << 18


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


class PortRange:
    """Hands out even ports between `start` and `end` inclusive, round robin from a random place.

    Going round, rather than lowest first, keeps late packets of an ended call away from the next one.
    """

    def __init__(self, start: int, end: int, bind_ip: str = "0.0.0.0") -> None:
        first = start + start % 2
        self._ports = range(first, end, 2)
        if not self._ports:
            raise MediaError(f"RTP port range {start}-{end} has no even port with an odd one after it")
        self._family = socket.AF_INET6 if ":" in bind_ip else socket.AF_INET
        self._bind_ip = bind_ip
        self._next = random.randrange(len(self._ports))

    def open_pair(self) -> MediaSockets:
        """Bind the next free pair. Raises MediaError if every port of the range is taken."""
        count = len(self._ports)
        for _ in range(count):
            port = self._ports[self._next]
            self._next = (self._next + 1) % count
            rtp = self._bind(port)
            if rtp is None:
                continue
            rtcp = self._bind(port + 1)
            if rtcp is None:
                rtp.close()
                continue
            return MediaSockets(rtp, rtcp, port)
        raise MediaError(f"no RTP port is free in {self._ports.start}-{self._ports[-1] + 1}")

    def _bind(self, port: int) -> socket.socket | None:
        sock = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            sock.bind((self._bind_ip, port))
        except OSError:
            sock.close()
            return None
        return sock
