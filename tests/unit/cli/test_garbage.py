"""Full collections wait for a quiet moment."""

import asyncio
import gc
import weakref
from collections.abc import Coroutine

import pytest

from active_call.cli.garbage import collect, due
from active_call.testing.clock import run


class Cycle:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize(
    ("live", "ended", "expected"),
    [(0, 0, False), (0, 1, True), (1, 1, False), (7, 1999, False), (7, 2000, True), (7, 0, False)],
)
def test_it_is_due_when_nobody_talks_or_after_many_calls(live: int, ended: int, expected: bool) -> None:
    assert due(live, ended) is expected


def _with_collector(scene: Coroutine[None, None, None], counts: list[int]) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            collector = tasks.create_task(collect(lambda: (counts[0], counts[1])))
            await scene
            collector.cancel()

    run(main())


def test_an_old_cycle_goes_when_the_last_call_has_ended() -> None:
    counts = [1, 0]

    async def scene() -> None:
        await asyncio.sleep(0.5)
        garbage = weakref.ref(Cycle())
        gc.collect(1)  # it survives into the oldest generation only if someone holds it; here it is gone
        held = Cycle()
        old = weakref.ref(held)
        gc.collect(1)
        del held
        await asyncio.sleep(5)
        assert garbage() is None
        assert old() is not None
        counts[:] = [0, 1]
        await asyncio.sleep(1.5)
        assert old() is None

    _with_collector(scene(), counts)


def test_afterwards_the_interpreter_collects_as_before() -> None:
    before = gc.get_threshold()

    async def scene() -> None:
        await asyncio.sleep(1)
        assert gc.get_threshold() != before

    _with_collector(scene(), [0, 0])
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
