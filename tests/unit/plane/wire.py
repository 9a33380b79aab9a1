"""A MediaTick on real sockets of the loopback, tick by tick: no clock, no waiting."""

import os
import socket
from dataclasses import dataclass, field

from active_call.dsp.rtp import packet
from active_call.lanes.messages import SrtpKeys
from active_call.lanes.table import Table
from active_call.plane.peers import Address
from active_call.plane.sockets import LaneSockets
from active_call.plane.srtp import SrtpReceiver, SrtpSender
from tests.unit.plane.rig import Rig, speech

OURS, THEIRS = b"o" * 30, b"t" * 30
KEYS = SrtpKeys("AES_CM_128_HMAC_SHA1_80", send=OURS, receive=THEIRS)


def bound(host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.setblocking(False)
    return sock


def address(sock: socket.socket) -> Address:
    host, port = sock.getsockname()[:2]
    return host, port


class Wire:
    """One process: lane 0 of its rig has the sockets `rtp` and `rtcp`. `next` makes the process after it."""

    def __init__(self, table: Table | None = None, *, host: str = "127.0.0.1") -> None:
        self.rig = Rig(table, active=table is None)
        self.sockets = LaneSockets(self.rig.media)
        self.host = host
        self.settings: dict[str, object] = {}
        if table is None:
            self.rtp, self.rtcp = bound(host), bound(host)
            self.sockets.watch()

    def open(self, **settings: object) -> None:
        self.settings = {"latching": True} | settings
        self.rig.open(0, **self.settings)
        self._take_sockets()

    def configure(self, **settings: object) -> None:
        self.settings |= settings
        self.rig.configure(0, **self.settings)
        self.obey()

    def next(self) -> "Wire":
        """A spare that knows the lane, promoted as if this process had just died."""
        spare = Wire(self.rig.table, host=self.host)
        spare.rtp, spare.rtcp = self.rtp, self.rtcp
        spare.settings = self.settings
        spare.rig.tell(0, **self.settings)
        spare._take_sockets()
        self.sockets.close(0)
        spare.rig.media.promote(self.rig.media.next_tick, spare.sockets.watch())
        spare.obey()
        return spare

    def tick(self, count: int = 1) -> None:
        media = self.rig.media
        for _ in range(count):
            tick = media.next_tick
            self.sockets.drain(tick)
            media.prepare(tick)
            self.obey()
            media.settle()
            media.commit()
            self.sockets.send()
            media.deliver()
            self.sockets.drain_rtcp(tick)
            media.finish()
            self.obey()
            self.rig.events += media.take_events()

    def obey(self) -> None:
        for order in self.rig.media.take_orders():
            self.rig.orders.append(order)
            self.sockets.obey(order)

    def close(self) -> None:
        self.sockets.close(0)
        self.rtp.close()
        self.rtcp.close()

    def _take_sockets(self) -> None:
        orders = self.rig.media.take_orders()
        self.sockets.open(0, os.dup(self.rtp.fileno()), os.dup(self.rtcp.fileno()))
        for order in orders:
            self.sockets.obey(order)


@dataclass
class Phone:
    """The peer of a lane, with a socket for RTP and one for RTCP."""

    wire: Wire
    encrypted: bool = False
    rtp: socket.socket = field(default_factory=bound)
    rtcp: socket.socket = field(default_factory=bound)
    ssrc: int = 9
    number: int = 0

    def __post_init__(self) -> None:
        self.sender = SrtpSender(KEYS.suite, THEIRS, self.ssrc)
        self.receiver = SrtpReceiver(KEYS.suite, OURS)

    def say(self, count: int = 1) -> None:
        for _ in range(count):
            self.number += 1
            data = packet(0, self.number, self.number * 160, self.ssrc, speech(self.number))
            self.rtp.sendto(self._sealed(data, rtcp=False), address(self.wire.rtp))

    def report(self, data: bytes, *, muxed: bool = False) -> None:
        sock, to = (self.rtp, self.wire.rtp) if muxed else (self.rtcp, self.wire.rtcp)
        sock.sendto(self._sealed(data, rtcp=True), address(to))

    def talk(self, ticks: int) -> None:
        for _ in range(ticks):
            self.say()
            self.wire.tick()

    def heard(self) -> list[bytes]:
        """RTP and muxed RTCP that arrived since, decrypted; what can't be is left out."""
        return [plain for data in received(self.rtp) if (plain := self._opened(data))]

    def reports(self) -> list[bytes]:
        return [plain for data in received(self.rtcp) if (plain := self._opened(data))]

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()

    def _sealed(self, data: bytes, *, rtcp: bool) -> bytes:
        if not self.encrypted:
            return data
        sealed = self.sender.protect_rtcp(data) if rtcp else self.sender.protect(data)
        assert sealed is not None
        return sealed

    def _opened(self, data: bytes) -> bytes | None:
        if not self.encrypted:
            return data
        return self.receiver.unprotect_rtcp(data) if 192 <= data[1] <= 223 else self.receiver.unprotect(data)


def received(sock: socket.socket) -> list[bytes]:
    packets = []
    while True:
        try:
            packets.append(sock.recv(2_048))
        except BlockingIOError:
            return packets
