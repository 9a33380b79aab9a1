"""A network that loses, delays, reorders and duplicates: a UDP relay between a simulated caller and a peer."""

import asyncio
import random
import re
import socket
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Impairment:
    """What happens to packets, in both directions. Shares are 0 to 1; the same seed does the same."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """Share of packets that are held back by one packet interval and a half."""
    jitter_ms: float = 0.0
    """Uniform extra delay of 0 to this."""
    seed: int = 1


class Relay:
    """Forwards RTP between whoever sends to its near side and the address that the answer named (far side)."""

    def __init__(self, host: str, impairment: Impairment) -> None:
        self._impairment = impairment
        self._random = random.Random(impairment.seed)
        self._loop = asyncio.get_running_loop()
        self._near = _open(host)
        self._far = _open(host)
        self._caller: tuple[str, int] | None = None
        self._peer: tuple[str, int] | None = None
        self._loop.add_reader(self._near, self._from_caller)
        self._loop.add_reader(self._far, self._from_peer)

    def rewrite(self, sdp: bytes) -> bytes:
        """The peer's answer, with this relay in the place of the peer. Raises ValueError without an address."""
        host = re.search(rb"^c=IN IP4 (\S+)", sdp, re.MULTILINE)
        port = re.search(rb"^m=audio (\d+)", sdp, re.MULTILINE)
        if host is None or port is None:
            raise ValueError("the relay needs an answer with an IPv4 address and an audio port")
        self._peer = (host[1].decode(), int(port[1]))
        near_host, near_port = self._near.getsockname()
        sdp = sdp.replace(host[0], b"c=IN IP4 " + near_host.encode())
        sdp = re.sub(rb"^a=rtcp:.*\r\n", b"", sdp, flags=re.MULTILINE)
        return sdp.replace(port[0], b"m=audio %d" % near_port)

    def _from_caller(self) -> None:
        data, self._caller = self._near.recvfrom(2048)
        if self._peer is not None:
            self._forward(self._far, data, self._peer)

    def _from_peer(self) -> None:
        data, _ = self._far.recvfrom(2048)
        if self._caller is not None:
            self._forward(self._near, data, self._caller)

    def _forward(self, sock: socket.socket, data: bytes, target: tuple[str, int]) -> None:
        what, dice = self._impairment, self._random
        if dice.random() < what.loss:
            return
        delay = dice.random() * what.jitter_ms / 1000
        if dice.random() < what.reorder:
            delay += 0.03
        for _ in range(2 if dice.random() < what.duplicate else 1):
            if delay:
                self._loop.call_later(delay, self._send, sock, data, target)
            else:
                self._send(sock, data, target)

    def _send(self, sock: socket.socket, data: bytes, target: tuple[str, int]) -> None:
        if sock.fileno() >= 0:
            with suppress(OSError):  # the network may lose it, as networks do
                sock.sendto(data, target)

    def close(self) -> None:
        """Drop the sockets."""
        for sock in (self._near, self._far):
            self._loop.remove_reader(sock)
            sock.close()


def _open(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind((host, 0))
    return sock
