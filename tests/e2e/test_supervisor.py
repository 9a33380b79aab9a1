"""Media processes that die, as the supervisor sees it: real processes, no calls."""

import asyncio
import os
import random
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from active_call.lanes.messages import PCMA, PCMU, TELEPHONE_EVENT, ConfigureLane, RtpFormat
from active_call.media.lane import Lane
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


def test_external_lanes_go_on_when_the_process_dies() -> None:
    async def scene(plane: MediaPlane) -> None:
        await until(lambda: plane.spare_ready)
        lane = plane.open_external_lane("pcm", 16_000)
        frames: list[bytes] = []
        lane.on_audio = frames.append
        await until(lambda: len(frames) > 5)
        assert {len(frame) for frame in frames} == {640}
        await talk(lane, 0, 20)
        assert heard_without_gap(lane) > 10
        kill(plane.pids[0])
        await until(lambda: plane.promotions == 1)
        before = len(frames)
        await talk(lane, 100, 20)
        assert heard_without_gap(lane) > 10
        await lane.play(np.full(3200, 77, np.int16))
        await until(lambda: np.full(320, 77, np.int16).tobytes() in frames[before:])
        lane.close()
        await asyncio.wait_for(lane.closed.wait(), 2)
        assert lane.statistics is not None
        assert lane.statistics.packets_received > 25

    with_plane(scene)


async def talk(lane: Lane, first: int, frames: int) -> None:
    """Feed frames of samples that count, one every 20 ms."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(frames):
        await asyncio.sleep(max(0.0, start + number * 0.02 - loop.time()))
        lane.feed(np.arange((first + number) * 320, (first + number + 1) * 320).astype(np.int16).tobytes())
    await asyncio.sleep(0.06)


def heard_without_gap(lane: Lane) -> int:
    """The most frames in a row, of what was heard last, that count on."""
    heard = lane.heard(lane.position - 20 * 320, lane.position).astype(np.int64)
    gaps = np.flatnonzero(np.diff(heard) % 65_536 != 1)
    return int(np.diff(np.concatenate(([-1], gaps, [len(heard) - 1]))).max()) // 320


def test_audio_is_handed_over_in_time_with_the_ticks() -> None:
    async def scene(plane: MediaPlane) -> None:
        loop = asyncio.get_running_loop()
        lane = plane.open_external_lane("pcmu", 8000)
        arrived: list[float] = []
        tapped: list[tuple[int, int]] = []
        lane.on_audio = lambda frame: arrived.append(loop.time())
        lane.tap(lambda track, pcm, position: tapped.append((track, position)))
        await until(lambda: len(arrived) > 60)
        assert abs(np.median(np.diff(arrived[10:])) - 0.02) < 0.002
        for track in (0, 1):
            positions = [position for which, position in tapped if which == track]
            assert len(positions) > 50
            assert set(np.diff(positions)) == {320}

    with_plane(scene)


def test_t23_lanes_come_change_and_go_while_packets_flow() -> None:
    async def scene(plane: MediaPlane) -> None:
        choose = random.Random(1)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        open_lanes: list[Lane] = []
        for number in range(400):
            if len(open_lanes) < 6 and choose.random() < 0.3:
                open_lanes.append(lane := plane.open_lane())
                lane.configure(session(lane, sock.getsockname(), PCMU))
            elif open_lanes and choose.random() < 0.2:
                open_lanes.pop(choose.randrange(len(open_lanes))).close()
            for lane in open_lanes:
                if choose.random() < 0.2:
                    lane.configure(session(lane, sock.getsockname(), choose.choice((PCMU, PCMA))))
                if choose.random() < 0.2:
                    lane.mix_in(*choose.sample(open_lanes, choose.randint(0, len(open_lanes) - 1)))
                header = bytes((0x80, choose.choice((0, 8, 101)))) + number.to_bytes(2, "big") + bytes(8)
                sock.sendto(header + bytes(160), ("127.0.0.1", lane.port))
            await asyncio.sleep(0.005)
        position = open_lanes[0].position
        await until(lambda: open_lanes[0].position > position)
        assert plane.promotions == 0
        for lane in open_lanes:
            lane.close()
        for lane in open_lanes:
            await asyncio.wait_for(lane.closed.wait(), 2)
        assert plane.lanes == {}
        sock.close()

    with_plane(scene)


def session(lane: Lane, remote: tuple[str, int], audio: RtpFormat) -> ConfigureLane:
    return ConfigureLane(
        lane.ref.row, lane.ref.generation, audio, (PCMU, PCMA, TELEPHONE_EVENT), TELEPHONE_EVENT, remote, None
    )
