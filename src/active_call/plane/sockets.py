"""The sockets of all lanes, drained and filled once per tick."""

import ctypes
import errno
import os
import select
import socket
import struct
from array import array
from functools import partial
from typing import Final

import numpy as np

from active_call.core.clock import monotonic_ns, wall_ns
from active_call.plane.orders import Drop, KeepAlive, Order, Secure, SendRtcp
from active_call.plane.peers import Address, Connect
from active_call.plane.srtp import NOTHING, Receive, Send, SrtpLanes
from active_call.plane.tick import MediaTick
from active_call.plane.transmission import Transmission

MAX_FDS: Final = 253
"""What one message can carry (SCM_MAX_FD)."""

_MAX_ROUNDS = 12
"""Packets taken from one lane per tick; what is more waits for the next."""
_MOST_STRANGERS = 1_000
"""Packets of strangers thrown away in a tick, to get at those of the peers: about 2 ms."""
_SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h
_SAMPLED_LANES = 32
"""So many lanes at a time have the arrival of their packets measured by the kernel; more take turns."""
_SAMPLED_TICKS = 64
_TIMESPEC = struct.Struct("@qq")
_ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size)
_RTCP_BYTES = 2048

_libc = ctypes.CDLL(None, use_errno=True)


class LaneSockets:
    """One RTP and one RTCP socket per lane. Watches them only while this process is the active one."""

    def __init__(self, media: MediaTick) -> None:
        self._media = media
        self._table = media.table
        self._rtp: dict[int, socket.socket] = {}
        self._rtcp: dict[int, socket.socket] = {}
        self._connected: set[int] = set()
        self._settling: set[int] = set()
        """Connected lanes whose queue may still have strangers' packets of before."""
        self._srtp = SrtpLanes(media.table)
        self._receivers: dict[int, Receive] = {}
        self._senders: dict[int, Send] = {}
        self._row_of: dict[int, int] = {}
        self._sampled: set[int] = set()
        self._rtp_poll: select.epoll | None = None
        self._rtcp_poll: select.epoll | None = None
        self._sources: dict[int, Address] = {}
        self._arrived: dict[int, int] = {}
        self._lengths: list[int] = []
        self._strangers = 0

    def open(self, row: int, rtp_fd: int, rtcp_fd: int) -> None:
        """Take over the two descriptors."""
        self.close(row)
        rtp, rtcp = socket.socket(fileno=rtp_fd), socket.socket(fileno=rtcp_fd)
        for sock in (rtp, rtcp):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._rtp[row], self._rtcp[row] = rtp, rtcp
        self._row_of[rtp_fd] = self._row_of[rtcp_fd] = row
        if len(self._rtp) <= _SAMPLED_LANES:
            self._sampled.add(row)
        self._choose(row)
        if self._rtp_poll and self._rtcp_poll:
            self._rtp_poll.register(rtp_fd, select.EPOLLIN)
            self._rtcp_poll.register(rtcp_fd, select.EPOLLIN)

    def close(self, row: int) -> None:
        """Drop both sockets. The other processes' copies stay open, so epoll must forget them first."""
        if row not in self._rtp:
            return
        for sockets, poll in ((self._rtp, self._rtp_poll), (self._rtcp, self._rtcp_poll)):
            sock = sockets.pop(row)
            fd = sock.fileno()
            if poll:
                poll.unregister(fd)
            del self._row_of[fd]
            self._receivers.pop(fd, None)
            sock.close()
        self._connected.discard(row)
        self._settling.discard(row)
        self._sampled.discard(row)
        self._senders.pop(row, None)
        self._srtp.remove(row)

    def watch(self) -> dict[int, Address | None]:
        """Become active. Returns where the RTP sockets are connected to."""
        self._srtp.resume()
        self._rtp_poll, self._rtcp_poll = select.epoll(), select.epoll()
        peers: dict[int, Address | None] = {}
        for row, rtp in self._rtp.items():
            self._rtp_poll.register(rtp.fileno(), select.EPOLLIN)
            self._rtcp_poll.register(self._rtcp[row].fileno(), select.EPOLLIN)
            peers[row] = _peer_of(rtp)
            if peers[row] is not None:
                self._connected.add(row)
            self._choose(row)
        return peers

    def drain(self, tick: int) -> None:
        """Give all packets that have arrived to the tick, at most one per lane at a time."""
        if self._rtp_poll is None:
            return
        self._rotate_samples(tick)
        media, receivers, row_of = self._media, self._receivers, self._row_of
        views = media.reception.incoming.views
        taken: set[int] | None = None
        self._strangers = 0
        for _ in range(_MAX_ROUNDS):
            ready = [fd for fd, _ in self._rtp_poll.poll(0, len(views))]
            # Only lanes that had one packet can have had more; what arrived since then waits for the next tick.
            if taken is not None:
                ready = [fd for fd in ready if fd in taken]
            if not ready:
                return
            taken = set(ready)
            lengths = self._lengths = []
            self._sources, self._arrived = {}, {}
            pairs = zip(ready, views, strict=False)
            while len(lengths) < len(ready):
                try:
                    for fd, view in pairs:
                        lengths.append(receivers[fd](view))
                except OSError:
                    lengths.append(-1)
            rows = np.array([row_of[fd] for fd in ready], np.int64)
            arrived = None
            if self._arrived:
                arrived = np.zeros(len(ready), np.int64)
                arrived[list(self._arrived)] = list(self._arrived.values())
            muxed = media.reception.receive(tick, rows, np.array(lengths, np.int64), self._sources, arrived)
            for row, data in muxed:
                # Packets wait for the tick: without the kernel's time the way there and back would seem longer.
                arrived_ns = 0 if arrived is None else int(arrived[rows == row][0])
                media.receive_rtcp(tick, row, data, self._report_time(arrived_ns))
            for order in media.take_orders():
                self.obey(order)

    def drain_rtcp(self, tick: int) -> None:
        """Give all RTCP packets that have arrived to the tick."""
        if self._rtcp_poll is None:
            return
        for fd, _ in self._rtcp_poll.poll(0):
            row = self._row_of[fd]
            try:
                data, ancillary, _, source = self._rtcp[row].recvmsg(_RTCP_BYTES, _ANCILLARY)
            except OSError:
                self._table.tx_errors[row] += 1
                continue
            plain = self._srtp.open_report(row, data)
            if plain is not None and self._media.peers.admit_report(row, source[:2]):
                self._media.receive_rtcp(tick, row, plain, self._report_time(_arrival_ns(ancillary)))

    def send(self) -> None:
        """Send the packets of a committed tick."""
        transmission, senders = self._media.transmission, self._senders
        self._send_first(transmission)
        for row, data in transmission.more:
            try:
                senders[row](data)
            except OSError:
                self._table.tx_errors[row] += 1

    def _send_first(self, transmission: Transmission) -> None:
        """One packet of each lane."""
        senders = self._senders
        views, special = transmission.packets.views, transmission.views
        rows = iter(transmission.rows)
        row = -1
        while True:
            try:
                if special:
                    for row in rows:
                        senders[row](special.get(row) or views[row])
                else:
                    for row in rows:
                        senders[row](views[row])
            except OSError:
                self._table.tx_errors[row] += 1
                continue
            return

    def obey(self, order: Order) -> None:
        """Do what the tick wants done with a lane's sockets."""
        match order:
            case Connect():
                self._connect(order.row, order.address)
            case SendRtcp():
                self._send_report(order)
            case KeepAlive():
                try:
                    self._rtp[order.row].sendto(b"", order.address)
                except OSError:
                    self._table.tx_errors[order.row] += 1
            case Secure():
                if order.row in self._rtp:
                    self._srtp.configure(order.row, order.ssrc, order.keys)
                    self._choose(order.row)
            case Drop():
                self.close(order.row)

    def _send_report(self, order: SendRtcp) -> None:
        row, data = order.row, self._srtp.seal_report(order.row, order.data)
        if data is None:
            return
        sock = (self._rtp if order.muxed else self._rtcp)[row]
        for _ in range(2):
            try:
                if order.muxed and row in self._connected:
                    sock.send(data)
                else:
                    sock.sendto(data, order.address)
            except OSError as error:
                self._table.tx_errors[row] += 1
                if isinstance(error, ConnectionRefusedError):
                    continue  # the kernel told of an earlier packet instead of sending this one
            return

    def _report_time(self, arrived_ns: int) -> int:
        """When a report arrived (Unix time; 0: now), by the clock that our reports tell.

        That clock was set when the table was made, and has not followed the corrections of the system's since.
        """
        now_ns, table = wall_ns(), self._table
        ours_ns = table.get("wall_ns") + monotonic_ns() - table.get("epoch_ns")
        return (arrived_ns or now_ns) - now_ns + ours_ns

    def _connect(self, row: int, address: Address | None) -> None:
        sock = self._rtp[row]
        self._settling.discard(row)
        if address is None:
            _disconnect(sock)
            self._connected.discard(row)
        else:
            try:
                sock.connect(address)
                self._connected.add(row)
                if _is_waiting(sock):
                    self._settling.add(row)
            except OSError:
                self._table.tx_errors[row] += 1
                self._connected.discard(row)
                self._media.peers.disconnected(row)
        self._choose(row)

    def _choose(self, row: int) -> None:
        """The cheapest way to receive and send on the lane's RTP socket."""
        sock = self._rtp[row]
        receive: Receive = sock.recv_into
        send: Send = sock.send
        if row not in self._connected:
            send = partial(self._send_to, sock, row)
        if row not in self._connected or row in self._settling:
            receive = partial(self._receive_from, sock, row)
        elif row in self._sampled:
            receive = partial(self._receive_timed, sock)
        self._receivers[sock.fileno()] = self._srtp.receiving(row, receive)
        self._senders[row] = self._srtp.sending(row, send)

    def _send_to(self, sock: socket.socket, row: int, data: memoryview | bytes) -> int:
        address = self._media.peers.address[row]
        return sock.sendto(data, address) if address else 0

    def _receive_from(self, sock: socket.socket, row: int, view: memoryview) -> int:
        peers = self._media.peers
        while True:
            try:
                size, source = sock.recvfrom_into(view)
            except BlockingIOError:  # there were only strangers
                return NOTHING
            if row in self._settling and not _is_waiting(sock):
                self._settling.discard(row)
                self._choose(row)
            if not peers.ignores(row, source[:2], int.from_bytes(view[8:12], "big")):
                self._sources[len(self._lengths)] = source[:2]
                return size
            self._table.rx_stranger[row] += 1
            self._strangers += 1
            if self._strangers >= _MOST_STRANGERS:
                return NOTHING

    def _receive_timed(self, sock: socket.socket, view: memoryview) -> int:
        size, ancillary, _, _ = sock.recvmsg_into([view], _ANCILLARY)
        self._arrived[len(self._lengths)] = _arrival_ns(ancillary)
        return size

    def _rotate_samples(self, tick: int) -> None:
        if tick % _SAMPLED_TICKS:
            return
        groups = max(1, -(-len(self._rtp) // _SAMPLED_LANES))
        turn = tick // _SAMPLED_TICKS % groups
        before, self._sampled = self._sampled, set(sorted(self._rtp)[turn::groups])
        for row in before ^ self._sampled:
            if row in self._rtp:
                self._choose(row)


def receive_controls(pipe: socket.socket, size: int) -> tuple[bytes, list[int], bool]:
    """One message of the pipe: its bytes, its descriptors, and whether some of them were lost."""
    fds = array("i")
    data, ancillary, flags, _ = pipe.recvmsg(
        size, socket.CMSG_LEN(MAX_FDS * fds.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data, fds.tolist(), bool(flags & socket.MSG_CTRUNC)


def _arrival_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The kernel's receive time (Unix, ns) in control messages; 0 if there is none."""
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(content) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(content)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return 0


def _is_waiting(sock: socket.socket) -> bool:
    """Whether a datagram is queued."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except OSError:
        return False
    return True


def _peer_of(sock: socket.socket) -> Address | None:
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return None
    return host, port


def _disconnect(sock: socket.socket) -> None:
    """Dissolve a UDP socket's association: connect() to AF_UNSPEC, which Python can't say."""
    unspecified = struct.pack("@H26x", socket.AF_UNSPEC)
    if _libc.connect(sock.fileno(), unspecified, len(unspecified)) != 0:
        code = ctypes.get_errno()
        if code != errno.EAFNOSUPPORT:
            raise OSError(code, os.strerror(code))
