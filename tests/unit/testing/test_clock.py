import asyncio

import pytest

from active_call.testing.clock import run


async def _now() -> float:
    return asyncio.get_running_loop().time()


def test_sleeping_takes_no_real_time() -> None:
    async def nap() -> float:
        await asyncio.sleep(7200)
        return await _now()

    assert run(nap()) == pytest.approx(7200)


def test_timeouts_and_groups_work() -> None:
    done: list[int] = []

    async def after(seconds: int) -> None:
        await asyncio.sleep(seconds)
        done.append(seconds)

    async def race() -> None:
        async with asyncio.timeout(2.5), asyncio.TaskGroup() as group:
            for seconds in (3, 2, 1):
                group.create_task(after(seconds))

    with pytest.raises(TimeoutError):
        run(race())
    assert done == [1, 2]


def test_threads_run_inline() -> None:
    assert run(asyncio.to_thread(lambda: 41 + 1)) == 42


def test_waiting_for_nothing_is_an_error() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nothing can ever happen"):
        run(forever())
