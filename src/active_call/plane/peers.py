"""Where a lane's packets come from and go to: symmetric RTP with probation.

A connected UDP socket is cheaper and deaf to strangers, but it cannot see a peer that moved. So a socket is
connected once the peer's address is sure, and disconnected again when nothing has come from there for 500 ms.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Address: TypeAlias = tuple[str, int]

SILENT_TICKS: Final = 25
_PROBATION = 2
"""Packets in sequence from one source (RFC 3550 §A.1)."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect the lane's RTP socket to `address`; None disconnects it."""

    row: int
    address: Address | None


@dataclass(slots=True)
class _Candidate:
    source: Address
    next_sequence: int
    packets: int


class Peers:
    """The peers of `capacity` lanes. `orders` collects what is to be done with their sockets."""

    def __init__(self, capacity: int) -> None:
        self.address: list[Address | None] = [None] * capacity
        """Where RTP is sent."""
        self.reachable: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        """Whether there is an address."""
        self.latched: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        self.orders: list[Connect] = []
        self._following: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        self._signalled: list[Address | None] = [None] * capacity
        self._confirmed: list[Address | None] = [None] * capacity
        self._candidates: dict[int, _Candidate] = {}

    def open(self, row: int) -> None:
        """A fresh lane knows nobody."""
        self.address[row] = self._signalled[row] = self._confirmed[row] = None
        self.latched[row] = self.reachable[row] = self._following[row] = False
        self._candidates.pop(row, None)

    def configure(self, row: int, remote: Address | None, *, latching: bool) -> None:
        """The peer signalled `remote`. A new address starts over; without `latching` it is the only one."""
        if remote == self._signalled[row] and latching == self._following[row]:
            return
        self._signalled[row] = remote
        self._following[row] = latching
        self._candidates.pop(row, None)
        if remote is not None:
            self._send_to(row, remote)
        if self.latched[row]:
            self._connect(row, None)
        if not latching and remote is not None:
            self._connect(row, remote)

    def resume(self, row: int, connected: Address | None) -> None:
        """Take over a lane whose socket another process has left connected to this address, or not."""
        self.latched[row] = connected is not None
        if connected is not None:
            self._send_to(row, connected)
            self._confirmed[row] = connected
        elif not self._following[row] and self._signalled[row] is not None:
            self._connect(row, self._signalled[row])

    def disconnected(self, row: int) -> None:
        """The socket could not be connected."""
        self.latched[row] = False

    def admit(self, row: int, source: Address, sequence: int) -> bool:
        """Whether to hear a valid packet of an unconnected socket; connects after probation."""
        expected = source == self.address[row]
        if not self._following[row]:
            return expected
        candidate = self._candidates.get(row)
        if candidate and candidate.source == source and candidate.next_sequence == sequence:
            candidate.packets += 1
            candidate.next_sequence = (sequence + 1) & 0xFFFF
        else:
            candidate = self._candidates[row] = _Candidate(source, (sequence + 1) & 0xFFFF, 1)
        if candidate.packets >= _PROBATION and not self.latched[row]:
            self._send_to(row, source)
            self._connect(row, source)
        return expected or source == self.address[row]

    def is_news(self, row: int) -> bool:
        """Whether the address just latched is another one than before."""
        if self.address[row] == self._confirmed[row]:
            return False
        self._confirmed[row] = self.address[row]
        return True

    def release_silent(self, rows: NDArray[np.int64], silent_ticks: NDArray[np.int64]) -> None:
        """Listen to everybody again on lanes (n,) whose peer has been silent for so many ticks (n,)."""
        for row in rows[self.latched[rows] & self._following[rows] & (silent_ticks >= SILENT_TICKS)]:
            self._candidates.pop(int(row), None)
            self._connect(int(row), None)

    def _send_to(self, row: int, address: Address) -> None:
        self.address[row] = address
        self.reachable[row] = True

    def _connect(self, row: int, address: Address | None) -> None:
        self.latched[row] = address is not None
        self.orders.append(Connect(row, address))
