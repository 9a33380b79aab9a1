"""A stream is closed with the block that uses it."""

import asyncio
from collections.abc import AsyncIterator

from active_call.core.streams import closing


def test_leaving_early_stops_the_source() -> None:
    stopped: list[str] = []

    async def source() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            stopped.append("now")

    async def scene() -> None:
        async with closing(source()) as items:
            async for _ in items:
                break
        assert stopped == ["now"]

    asyncio.run(scene())


def test_an_iterator_without_aclose_is_left_alone() -> None:
    class Endless:
        def __aiter__(self) -> "Endless":
            return self

        async def __anext__(self) -> int:
            return 1

    async def scene() -> int:
        async with closing(Endless()) as items:
            return await anext(items)

    assert asyncio.run(scene()) == 1
