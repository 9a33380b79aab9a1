"""Where a lane's packets come from and go to: symmetric RTP, which strangers can't disturb.

The peer signalled an address, but behind a NAT its packets come from another. So the lane *latches*: it sends
to where valid packets come from. Anybody can send packets, so sources are ranked. The signalled address, and
the one that the lane has stayed at, are believed at once, and so is a packet of the stream (SSRC) that the peer
was last heard with: nobody else can know that number. Then come other ports of the signalled host, and of the
one that the peer's SIP comes from, then all others. These must send two packets in sequence while nobody is
heard; if the peer has been heard before with another stream, not before two seconds of silence. A better source
always takes the lane back from a lesser one.

A connected UDP socket is cheaper and deaf to all others, but it cannot see a peer that moved, or a better
source. So a socket is connected when the best one is heard, or when only one was heard for five seconds. It is
disconnected again when nothing has come for 500 ms.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Address: TypeAlias = tuple[str, int]

SILENT_TICKS: Final = 25
WATCHED_TICKS: Final = 250
"""So long a source that nobody told us about is not connected to, in case a better one comes."""
NEW_STREAM_TICKS: Final = 100
"""So long a known peer must be silent before another stream from another address is taken for its."""
_PROBATION = 2
"""Packets in sequence from one source (RFC 3550 §A.1)."""
_MOST_CANDIDATES = 8
_LEFT, _ANY, _SAME_HOST, _KNOWN = range(4)


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect the lane's RTP socket to `address`; None disconnects it."""

    row: int
    address: Address | None


@dataclass(slots=True)
class _Candidate:
    next_sequence: int
    packets: int


@dataclass(slots=True)
class _Lane:
    """What is known of a lane's peer."""

    following: bool = False
    signalled: Address | None = None
    signalled_rtcp: Address | None = None
    host: str | None = None
    """Where the peer's signalling comes from."""
    home: Address | None = None
    """Where the lane was last connected to."""
    home_ssrc: int | None = None
    left: Address | None = None
    """Where it was before the peer signalled another address."""
    learned_rtcp: Address | None = None
    confirmed: Address | None = None
    latched_tick: int = 0
    released_tick: int = 0
    candidates: dict[Address, _Candidate] = field(default_factory=dict)

    def rank(self, source: Address, ssrc: int | None = None) -> int:
        """How far packets from there are to be believed."""
        if source in (self.signalled, self.home) or (ssrc is not None and ssrc == self.home_ssrc):
            return _KNOWN
        if source[0] == self.host or (self.signalled is not None and source[0] == self.signalled[0]):
            return _SAME_HOST
        return _LEFT if source == self.left else _ANY

    def passes_probation(self, source: Address, sequence: int) -> bool:
        """Count a packet of an unknown source."""
        candidate = self.candidates.get(source)
        if candidate is None or candidate.next_sequence != sequence:
            while len(self.candidates) >= _MOST_CANDIDATES and source not in self.candidates:
                del self.candidates[next(iter(self.candidates))]
            candidate = self.candidates[source] = _Candidate(sequence, 0)
        candidate.packets += 1
        candidate.next_sequence = (sequence + 1) & 0xFFFF
        return candidate.packets >= _PROBATION


class Peers:
    """The peers of `capacity` lanes. `orders` collects what is to be done with their sockets."""

    def __init__(self, capacity: int) -> None:
        self.address: list[Address | None] = [None] * capacity
        """Where RTP is sent."""
        self.reachable: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        """Whether there is an address."""
        self.latched: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        """Whether the address was heard from lately."""
        self.orders: list[Connect] = []
        self._connected: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        self._following: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        self._lanes = [_Lane() for _ in range(capacity)]

    def open(self, row: int) -> None:
        """A fresh lane knows nobody."""
        self._lanes[row] = _Lane()
        self.address[row] = None
        self.latched[row] = self.reachable[row] = self._connected[row] = self._following[row] = False

    def configure(
        self,
        row: int,
        remote: Address | None,
        *,
        latching: bool,
        remote_rtcp: Address | None = None,
        host: str | None = None,
    ) -> None:
        """The peer signalled `remote`. A new address starts over; without `latching` it is the only one.

        None (an old way to say hold) leaves all as it is.
        """
        lane = self._lanes[row]
        lane.host = host
        if remote_rtcp != lane.signalled_rtcp:
            lane.signalled_rtcp, lane.learned_rtcp = remote_rtcp, None
        if remote is None or (remote == lane.signalled and latching == lane.following):
            lane.following = self._following[row] = latching
            return
        left = self.address[row]
        self._lanes[row] = lane = _Lane(
            latching, remote, remote_rtcp, host, left=left, confirmed=lane.confirmed
        )
        self._following[row] = latching
        self._send_to(row, remote)
        self.latched[row] = False
        if self._connected[row]:
            self._connect(row, None)
        if not latching:
            self.latched[row] = True
            self._connect(row, remote)

    def resume(self, row: int, connected: Address | None) -> None:
        """Take over a lane whose socket another process has left connected to this address, or not."""
        lane = self._lanes[row]
        self.latched[row] = self._connected[row] = connected is not None
        if connected is not None:
            self._send_to(row, connected)
            lane.confirmed = lane.home = connected
        elif not lane.following and lane.signalled is not None:
            self.latched[row] = True
            self._connect(row, lane.signalled)

    def disconnected(self, row: int) -> None:
        """The socket could not be connected."""
        self.latched[row] = self._connected[row] = False

    def ignores(self, row: int, source: Address, ssrc: int) -> bool:
        """Whether such a packet can't matter, whatever else it is; so a flood of them costs little."""
        lane, address = self._lanes[row], self.address[row]
        if source == address:
            return False
        if self._connected[row] or not lane.following:
            return True
        if not self.latched[row] or address is None:
            return False
        return lane.rank(source, ssrc) <= lane.rank(address)

    def admit(self, row: int, source: Address, sequence: int, ssrc: int, tick: int) -> bool:
        """Whether to hear a valid packet of an unconnected socket. May latch, and connect."""
        lane, address = self._lanes[row], self.address[row]
        if not lane.following:
            return source == address
        rank = lane.rank(source, ssrc)
        if self.latched[row] and source == address:
            alone = lane.home is None and tick - lane.latched_tick >= WATCHED_TICKS
            if rank == _KNOWN or alone:
                self._stay(row, source)
            return True
        if self.latched[row] and address is not None and rank <= lane.rank(address):
            return False
        if rank < _KNOWN and source != address:
            known = lane.home is not None and not self.latched[row]
            if known and tick - lane.released_tick < NEW_STREAM_TICKS - SILENT_TICKS:
                return False
            if not lane.passes_probation(source, sequence):
                return False
        lane.candidates.clear()
        if source != address:
            lane.latched_tick = tick
        self.latched[row] = True
        self._send_to(row, source)
        if rank == _KNOWN:
            self._stay(row, source)
        return True

    def admit_report(self, row: int, source: Address) -> bool:
        """Whether to read what came to the RTCP socket. Our reports go there from now on."""
        lane, address = self._lanes[row], self.address[row]
        if address is None:
            return False
        if source[0] == address[0] and lane.following:
            lane.learned_rtcp = source
        return source[0] == address[0] or source == lane.signalled_rtcp

    def report_address(self, row: int) -> Address | None:
        """Where reports go that don't share the port of RTP."""
        lane, address = self._lanes[row], self.address[row]
        if address is None:
            return None
        if lane.learned_rtcp is not None and lane.learned_rtcp[0] == address[0]:
            return lane.learned_rtcp
        signalled = lane.signalled_rtcp
        if signalled is not None and (address == lane.signalled or signalled[0] == address[0]):
            return signalled
        return (address[0], address[1] + 1) if address[1] < 65_535 else None

    def is_news(self, row: int) -> bool:
        """Whether the address just latched is another one than before."""
        lane = self._lanes[row]
        if self.address[row] == lane.confirmed:
            return False
        lane.confirmed = self.address[row]
        return True

    def release_silent(
        self,
        tick: int,
        rows: NDArray[np.int64],
        silent_ticks: NDArray[np.int64],
        stream_of: Callable[[int], Sequence[int] | None],
    ) -> None:
        """Listen to everybody again on lanes (n,) whose peer has been silent for so many ticks (n,).

        `stream_of` a row begins with the SSRC that was heard last.
        """
        for row in rows[self.latched[rows] & self._following[rows] & (silent_ticks >= SILENT_TICKS)].tolist():
            lane, stream = self._lanes[row], stream_of(row)
            self.latched[row] = False
            lane.released_tick = tick
            if self._connected[row]:
                lane.home_ssrc = stream[0] if stream is not None else None
                self._connect(row, None)

    def _stay(self, row: int, address: Address) -> None:
        lane = self._lanes[row]
        if not self._connected[row] or lane.home != address:
            lane.home = address
            self._connect(row, address)

    def _send_to(self, row: int, address: Address) -> None:
        self.address[row] = address
        self.reachable[row] = True

    def _connect(self, row: int, address: Address | None) -> None:
        self._connected[row] = address is not None
        self.orders.append(Connect(row, address))


def numeric(address: Address) -> Address | None:
    """The address in the spelling that sockets use; None if it is a name, which must not be resolved here.

    Also None for a port that can't be, and for 0.0.0.0 and ::, an old way to say hold.
    """
    try:
        host = ip_address(address[0])
    except ValueError:
        return None
    if host.is_unspecified or not 0 < address[1] < 65_536:
        return None
    return str(host), address[1]
