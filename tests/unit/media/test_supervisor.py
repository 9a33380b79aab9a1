"""What the supervisor makes of what media processes say, without processes. See tests/e2e for the rest."""

import asyncio
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from active_call.core.audio import Pcm
from active_call.lanes.messages import DigitReceived, LaneClosed, LaneEvent, PlaneEvent, RecordingClosed
from active_call.media.lane import Lane
from active_call.media.ports import PortRange
from active_call.media.supervisor import MediaPlane, _Child


@pytest.fixture
def plane() -> Iterator[MediaPlane]:
    plane = MediaPlane(capacity=4, ports=PortRange(47_000, 47_100, "127.0.0.1"), cname="test")
    yield plane
    asyncio.run(plane.aclose())


def says(plane: MediaPlane, *events: PlaneEvent) -> None:
    for event in events:
        plane._dispatch(cast("_Child", None), event)


def closed(lane: Lane, *, active: bool = True) -> LaneClosed:
    return LaneClosed(lane.ref.row, lane.ref.generation, 5, active)


def fail(*anything: object) -> None:
    raise ValueError("a bug in one call")


def test_a_row_is_free_again_when_the_active_process_and_the_recorder_let_go(plane: MediaPlane) -> None:
    lane = plane.open_lane()
    lane.start_recording("r.wav", rate_hz=16_000, flush_ms=200)
    lane.stop_recording()
    lane.close()
    says(plane, closed(lane, active=False), closed(lane))
    assert lane.ref.row in plane.lanes
    says(plane, RecordingClosed(lane.ref.row, lane.ref.generation, 6, "r.wav", 10))
    assert plane.lanes == {}
    assert lane.closed.is_set()
    assert plane.open_lane().ref.row == lane.ref.row


def test_what_names_a_former_lane_is_ignored(plane: MediaPlane) -> None:
    lane = plane.open_lane()
    told: list[LaneEvent] = []
    lane.listener = told.append
    says(plane, DigitReceived(lane.ref.row, lane.ref.generation - 1, 5, "1", 100))
    assert told == []


def test_a_listener_that_fails_costs_nobody_else_an_event(plane: MediaPlane) -> None:
    first, second = plane.open_lane(), plane.open_lane()
    told: list[LaneEvent] = []
    first.listener, second.listener = fail, told.append
    first.close()
    second.close()
    says(plane, closed(first), closed(second))
    assert len(told) == 1
    assert plane.lanes == {}


def test_a_consumer_that_fails_does_not_starve_the_others(plane: MediaPlane) -> None:
    got: list[int] = []

    def note(pcm: Pcm, position: int) -> None:
        got.append(len(pcm))

    consumers: list[Callable[[Pcm, int], None]] = [fail, note]

    async def main() -> None:
        plane._loop = asyncio.get_running_loop()
        for consumer in consumers:
            lane = plane.open_lane()
            lane.listen(consumer)
            plane.table.opened_tick[lane.ref.row] = 0
            plane.table.position[lane.ref.row] = 640
        for _ in range(5):
            plane._feed()
        await plane.aclose()

    asyncio.run(main())
    assert got == [640]


def test_closing_twice_is_harmless(plane: MediaPlane) -> None:
    asyncio.run(plane.aclose())
