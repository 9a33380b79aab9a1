"""Timers without a clock: who wants to be called when (RFC 3261 §17, table 4)."""

import heapq
from collections.abc import Iterator
from typing import Protocol

T1 = 0.5
"""Estimate of the round-trip time, and the first interval between retransmissions."""
T2 = 4.0
"""The longest interval between retransmissions of responses and of requests other than INVITE."""
T4 = 5.0
"""How long a message can live in the network."""
GIVE_UP = 64 * T1
"""Timers B, F, H, J, L and M, and the wait for an ACK."""


class Timed(Protocol):
    """Something with at most one next deadline."""

    deadline: float | None

    def handle_timer(self, now: float) -> None:
        """The deadline has come; sets a new `deadline`, scheduling it, or None."""
        ...


_ROOM = 1024
"""Entries below which outdated ones are not worth clearing out."""


class Timers:
    """A queue of deadlines. Changing one is cheap: outdated entries are skipped when they come up.

    Those that won't come up for long, such as the session timers of calls that are over, are cleared out
    whenever the queue has doubled.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._count = 0
        self._limit = _ROOM

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, owner: Timed) -> None:
        """Take note of `owner.deadline`; call it after each change to an earlier time."""
        if owner.deadline is not None:
            self._count += 1
            heapq.heappush(self._heap, (owner.deadline, self._count, owner))
            if len(self._heap) > self._limit:
                self._heap = [entry for entry in self._heap if entry[2].deadline == entry[0]]
                heapq.heapify(self._heap)
                self._limit = max(_ROOM, 2 * len(self._heap))

    def next_deadline(self) -> float | None:
        """The earliest deadline of all, None if there is none."""
        while self._heap and self._heap[0][2].deadline != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[Timed]:
        """The owners whose deadline has come, in order; a handler that sets another deadline schedules it."""
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            yield heapq.heappop(self._heap)[2]
