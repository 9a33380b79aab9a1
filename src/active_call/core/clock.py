"""Time, as an object that tests can replace. The only module that reads the system's clocks."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where the control plane gets its time from."""

    def monotonic(self) -> float:
        """Seconds that never jump; comparable with CLOCK_MONOTONIC in other processes."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


class ManualClock:
    """A clock that only moves when told to."""

    def __init__(self, monotonic: float = 1_000.0, wall: float = 1_700_000_000.0) -> None:
        self._monotonic = monotonic
        self._wall = wall

    def monotonic(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self._monotonic += seconds
        self._wall += seconds


def monotonic_ns() -> int:
    """CLOCK_MONOTONIC in nanoseconds: the media plane's clock."""
    return time.monotonic_ns()


def wall_ns() -> int:
    """Nanoseconds since the Unix epoch."""
    return time.time_ns()
