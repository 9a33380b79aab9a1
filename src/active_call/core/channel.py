"""Bounded queues whose overflow policy is in their name."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelFull(Exception):
    """A control channel has reached its limit."""


class _Channel(Generic[T]):
    """What both have in common: items in order, for one reader on the loop."""

    def __init__(self, limit: int) -> None:
        self._items: deque[T] = deque()
        self._limit = limit
        self._ready = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def _full(self) -> bool:
        return len(self._items) >= self._limit

    def _append(self, item: T) -> None:
        self._items.append(item)
        self._ready.set()

    async def get(self) -> T:
        """Take the oldest item, waiting for one."""
        while not self._items:
            self._ready.clear()
            await self._ready.wait()
        return self._items.popleft()


class ControlChannel(_Channel[T]):
    """Never loses an item: `put` raises ChannelFull at the limit, and the owner decides what that means."""

    def put(self, item: T) -> None:
        """Append, from the loop's thread."""
        if self._full:
            raise ChannelFull(f"more than {self._limit} items are waiting")
        self._append(item)

    def discard(self, useless: Callable[[T], bool]) -> None:
        """Take out what has become `useless`."""
        self._items = deque(item for item in self._items if not useless(item))


class AudioChannel(_Channel[T]):
    """Drops the oldest item when full and counts what it dropped."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.dropped = 0

    def put(self, item: T) -> None:
        """Append, from the loop's thread."""
        if self._full:
            self._items.popleft()
            self.dropped += 1
        self._append(item)
