"""Media processes that die, as the supervisor sees it: real processes, no calls."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from active_call.media.ports import PortRange
from active_call.media.supervisor import MediaPlane

pytestmark = pytest.mark.e2e


def with_plane(scene: Callable[[MediaPlane], Coroutine[Any, Any, None]], *, spare: bool = True) -> None:
    async def main() -> None:
        ports = PortRange(47_200, 47_300, "127.0.0.1")
        plane = MediaPlane(capacity=8, ports=ports, cname="test", spare=spare, realtime=False)
        await plane.start()
        try:
            await scene(plane)
        finally:
            await plane.aclose()

    asyncio.run(asyncio.wait_for(main(), 20))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError


def kill(*pids: int | None) -> None:
    for pid in pids:
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("spare_first", [False, True])
def test_when_both_processes_die_others_take_the_lanes_over(spare_first: bool) -> None:
    async def scene(plane: MediaPlane) -> None:
        await until(lambda: plane.spare_ready)
        lane = plane.open_lane()
        await until(lambda: lane.position > 0)
        active, spare = plane.pids
        kill(*((spare, active) if spare_first else (active, spare)))
        await until(lambda: plane.promotions == 1 and plane.spare_ready)
        position = lane.position
        await until(lambda: lane.position > position)
        lane.close()
        await asyncio.wait_for(lane.closed.wait(), 2)

    with_plane(scene)


def test_a_lane_that_was_closing_when_the_process_died_is_given_back() -> None:
    async def scene(plane: MediaPlane) -> None:
        lane = plane.open_lane()
        await until(lambda: lane.position > 0)
        kill(plane.pids[0])
        lane.close()
        await asyncio.wait_for(lane.closed.wait(), 5)
        assert plane.lanes == {}

    with_plane(scene, spare=False)


def test_a_process_that_cant_start_is_not_started_at_once_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(plane: MediaPlane) -> None:
        started: list[int | None] = []
        begin = plane._start_child

        def stillborn(**settings: Any) -> Any:
            child = begin(**settings)
            child.process.kill()
            started.append(child.process.pid)
            return child

        monkeypatch.setattr(plane, "_start_child", stillborn)
        kill(plane.pids[0])
        await asyncio.sleep(1.0)
        assert 1 < len(started) <= 4

    with_plane(scene, spare=False)
