"""What the supervisor makes of what media processes say, without processes. See tests/e2e for the rest."""

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
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


def test_t40_ports_are_used_up_in_words_and_free_again_after_the_call() -> None:
    plane = MediaPlane(capacity=4, ports=PortRange(47_110, 47_113, "127.0.0.1"), cname="test")
    lanes = [plane.open_lane(), plane.open_lane()]
    assert sorted(lane.port for lane in lanes) == [47_110, 47_112]
    with pytest.raises(MediaError, match="no RTP port is free in 47110-47113"):
        plane.open_lane()
    lanes[0].close()
    says(plane, closed(lanes[0]))
    assert plane.open_lane().port == lanes[0].port
    asyncio.run(plane.aclose())


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


def test_an_external_lane_has_no_sockets_and_is_attended_until_it_is_closed(plane: MediaPlane) -> None:
    plane.table.external_write[0] = plane.table.external_sent[0] = 99  # another lane's
    lane = plane.open_external_lane("pcm", 24_000)
    assert lane.sockets is None
    assert (plane.table.external_write[0], plane.table.external_sent[0]) == (0, 0)
    assert list(plane._attended.values()) == [lane]
    lane.close()
    assert plane._attended == {}
    says(plane, closed(lane))
    assert plane.lanes == {}


def test_external_lanes_of_other_codecs_or_beyond_the_rows_are_refused(plane: MediaPlane) -> None:
    with pytest.raises(MediaError, match="11025: pcm has 8000"):
        plane.open_external_lane("pcm", 11_025)
    for _ in range(4):
        plane.open_external_lane("pcmu", 8000)
    with pytest.raises(MediaError, match="all 4 lanes"):
        plane.open_external_lane("pcmu", 8000)


def test_every_tick_that_is_told_hands_audio_over_and_a_fault_stays_with_its_lane(plane: MediaPlane) -> None:
    got: list[bytes] = []
    bad, good = (plane.open_external_lane("pcmu", 8000) for _ in range(2))
    bad.on_audio, good.on_audio = fail, got.append
    for sent in (1, 3):
        plane.table.external_sent[:2] = sent
        os.eventfd_write(plane._wake, 1)
        plane._attend()
    plane._attend()  # nothing was told
    assert len(got) == 3
    assert list(plane._attended.values()) == [good]


def test_closing_twice_is_harmless(plane: MediaPlane) -> None:
    asyncio.run(plane.aclose())
