"""A network of sans-IO endpoints in virtual time; it loses, repeats, delays and reorders by a seed.

What goes over TCP or TLS arrives once and in order, whatever happens to datagrams.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from active_call.sip.hop import Hop


class Endpoint(Protocol):
    """Anything with the sans-IO vocabulary."""

    def receive_datagram(self, data: bytes, source: Hop, now: float) -> None:
        """A datagram has arrived."""
        ...

    def datagrams_to_send(self) -> list[tuple[bytes, Hop]]:
        """What waits to be sent, once."""
        ...

    def next_deadline(self) -> float | None:
        """When `handle_timer` wants to be called."""
        ...

    def handle_timer(self, now: float) -> None:
        """The deadline has come."""
        ...


@dataclass(frozen=True, slots=True)
class Datagram:
    """Something that was sent, whether it arrived or not."""

    time: float
    source: Hop
    destination: Hop
    data: bytes


class FakeNet:
    """Connects endpoints. Time only passes in `run`; nothing sleeps."""

    def __init__(
        self,
        *,
        seed: int = 1,
        loss: float = 0.0,
        duplicate: float = 0.0,
        delay: float = 0.01,
        jitter: float = 0.0,
    ) -> None:
        """`loss` and `duplicate` are shares of 0 to 1; each copy takes `delay` plus 0 to `jitter` seconds."""
        self.now = 0.0
        self.sent: list[Datagram] = []
        self.loss = loss
        self.duplicate = duplicate
        self.delay = delay
        self.jitter = jitter
        self._random = random.Random(seed)
        self._endpoints: dict[tuple[str, int], Endpoint] = {}
        self._on_the_way: list[tuple[float, int, Datagram]] = []
        self._count = 0
        self._streams: dict[tuple[Hop, Hop], float] = {}

    def attach(self, address: Hop, endpoint: Endpoint) -> None:
        """Connect `endpoint` at `address`, for all transports."""
        self._endpoints[address[:2]] = endpoint

    def send(self, data: bytes, source: Hop, destination: Hop) -> None:
        """Put a datagram on the network, as an endpoint would."""
        datagram = Datagram(self.now, source, destination, data)
        self.sent.append(datagram)
        if destination.reliable:
            stream = (source, destination.peer)
            arrival = max(self._streams.get(stream, 0.0), self.now + self.delay)
            self._streams[stream] = arrival
            self._count += 1
            heapq.heappush(self._on_the_way, (arrival, self._count, datagram))
            return
        for _ in range(1 + (self._random.random() < self.duplicate)):
            if self._random.random() >= self.loss:
                self._count += 1
                arrival = self.now + self.delay + self._random.random() * self.jitter
                heapq.heappush(self._on_the_way, (arrival, self._count, datagram))

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Let time pass: `seconds`, or less if `until` becomes true."""
        end = self.now + seconds
        self._collect()
        while until is None or not until():
            when = self._next()
            if when is None or when > end:
                self.now = end
                return
            self.now = max(self.now, when)
            self._deliver()
            for endpoint in self._endpoints.values():
                deadline = endpoint.next_deadline()
                if deadline is not None and deadline <= self.now:
                    endpoint.handle_timer(self.now)
            self._collect()

    def _next(self) -> float | None:
        times = [one for endpoint in self._endpoints.values() if (one := endpoint.next_deadline()) is not None]
        if self._on_the_way:
            times.append(self._on_the_way[0][0])
        return min(times, default=None)

    def _deliver(self) -> None:
        while self._on_the_way and self._on_the_way[0][0] <= self.now:
            datagram = heapq.heappop(self._on_the_way)[2]
            endpoint = self._endpoints.get(datagram.destination[:2])
            if endpoint is not None:
                endpoint.receive_datagram(datagram.data, datagram.source, self.now)

    def _collect(self) -> None:
        for address, endpoint in self._endpoints.items():
            for data, destination in endpoint.datagrams_to_send():
                self.send(data, Hop(*address, destination.transport), destination)
