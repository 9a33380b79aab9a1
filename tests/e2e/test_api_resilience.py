"""What clients leave behind, and what one that does not read costs the others: nothing."""

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as open_websocket

from active_call.client import Session, connect
from active_call.client.encoding import to_json
from active_call.testing.process import GatewayProcess
from active_call.wire import commands, events
from active_call.wire.events import parse_event
from tests.e2e.api import Codec, option, run

pytestmark = pytest.mark.e2e


def footprint(gateway: GatewayProcess) -> tuple[int, int, list[int]]:
    """Tasks, lanes, and open files of control plane and media processes."""
    health, pids = gateway.health()[1], gateway.pids()
    time.sleep(0.3)  # the connections of these requests are closed by then
    files = [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]
    return health["tasks"], health["media"]["lanes"], files


async def come_and_go(gateway: GatewayProcess, number: int) -> None:
    """One call: hung up, closed, aborted, or not even started."""
    async with connect(gateway.ws_url, "webSocket") as call:
        if number % 4 == 0:
            return
        await call.start(option(codec="pcm", sample_rate=16_000))
        await call.until(events.Answer)
        await call.tts("a" * 50)
        match number % 4:
            case 1:
                await call.hangup()
                await call.until(events.Hangup)
            case 2:
                call._socket.transport.abort()
            case _:
                pass


def connects_and_disconnects(tmp_path: Path, count: int) -> None:
    async def some(gateway: GatewayProcess, count: int) -> None:
        for at in range(0, count, 10):
            await asyncio.gather(*(come_and_go(gateway, at + number) for number in range(10)))
        await asyncio.to_thread(gateway.wait_calls)
        await asyncio.to_thread(gateway.wait_lanes)
        await asyncio.sleep(0.5)

    with GatewayProcess(tmp_path) as gateway:
        run(some(gateway, 20))
        before = footprint(gateway)
        run(some(gateway, count), timeout=120)
        assert footprint(gateway) == before
        assert gateway.health()[1]["calls"]["failed"] == 0
        log = gateway.log()
    assert "Traceback" not in log
    assert " ERROR " not in log


def test_connects_and_disconnects_leave_nothing(tmp_path: Path) -> None:
    connects_and_disconnects(tmp_path, 60)


@pytest.mark.long
def test_five_hundred_connects_and_disconnects_leave_nothing(tmp_path: Path) -> None:
    connects_and_disconnects(tmp_path, 500)


WIDE = Codec("pcm", 48_000, 1_920)


def test_a_client_that_does_not_read_loses_audio_and_no_events(tmp_path: Path) -> None:
    """20 s of audio at 96 kB/s, far more than sockets hold, pile up before the client reads."""

    async def beat(call: Session, seconds: float) -> int:
        """Frames that a well-behaved client gets meanwhile."""
        frames = 0
        try:
            async with asyncio.timeout(seconds):
                async for _ in call.audio():
                    frames += 1
        except TimeoutError:
            pass
        return frames

    async def scene(gateway: GatewayProcess) -> tuple[int, list[events.Event], int]:
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        narrow.connect(("127.0.0.1", gateway.http_port))
        narrow.setblocking(False)
        url = f"{gateway.ws_url}/call?events=canonical&id=lazy"
        async with (
            open_websocket(url, sock=narrow, compression=None, max_queue=1, ping_interval=None) as lazy,
            connect(gateway.ws_url, "webSocket") as busy,
        ):
            start = commands.Start(option=option(codec="pcm", sample_rate=48_000))
            await lazy.send(to_json(start))
            await lazy.send(to_json(commands.Tts(text="a" * 500, play_id="long", end_of_stream=True)))
            await busy.start(option(codec="pcm", sample_rate=16_000))
            await busy.until(events.Answer)
            beats = await beat(busy, 21.0)
            await lazy.send(to_json(commands.Custom(data="at last")))
            await lazy.send(to_json(commands.Hangup()))
            audio, seen = 0, list[events.Event]()
            async for message in lazy:
                if isinstance(message, bytes):
                    audio += 1
                else:
                    seen.append(parse_event(message))
            return audio, seen, beats

    with GatewayProcess(tmp_path) as gateway:
        audio, seen, beats = run(scene(gateway))
    names = [event.event for event in seen]
    assert audio < 900  # of 1,000 and more
    assert names.count("custom") == names.count("hangup") == 1
    assert names[-1] == "hangup"
    ended = [event.play_id for event in seen if isinstance(event, events.TrackEnd) and event.play_id]
    assert ended == ["long"]
    assert abs(beats - 21 * 50) < 20
