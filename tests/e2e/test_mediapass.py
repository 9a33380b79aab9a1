import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from active_call.call.audio.mediapass import MediaPass
from active_call.core.audio import Pcm
from active_call.outbound import Outbound
from active_call.testing.fakecall import FakeCall
from active_call.wire import events
from active_call.wire.dialogue import CallPort, Dialogue
from active_call.wire.events import Event
from active_call.wire.options import MediaPassOption

pytestmark = pytest.mark.e2e

TICK, FRAME = 0.02, 320
FIRST = 100
"""The caller's frame n is filled with FIRST + n; silence is 0."""
NOT_YET = np.zeros(0, np.int16)


class Silent(Dialogue):
    async def run(self, call: CallPort) -> None:
        return

    def receive(self, event: Event) -> None:
        return


class Lane:
    """Ticks by itself: the caller says numbered frames, and what the caller hears is kept with its time."""

    ssrc = 7

    def __init__(self) -> None:
        self.said: dict[int, float] = {}
        self.heard: dict[int, float] = {}
        self.all_heard = NOT_YET
        self.write_position = 0
        self.read_position = 0
        self._queue = NOT_YET
        self._consumer: Callable[[int, Pcm, int], None] | None = None
        self._room = asyncio.Event()

    async def play(self, pcm: Pcm) -> None:
        self._queue = np.concatenate((self._queue, pcm))
        self.write_position += len(pcm)
        while len(self._queue) > 8 * 16_000:
            self._room.clear()
            await self._room.wait()

    def flush(self) -> bool:
        self._queue = NOT_YET
        self.write_position = self.read_position
        self._room.set()
        return True

    def tap(self, consumer: Callable[[int, Pcm, int], None] | None) -> None:
        self._consumer = consumer

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        start, tick = loop.time(), 0
        while True:
            frame, self._queue = self._queue[:FRAME], self._queue[FRAME:]
            self.read_position += len(frame)
            self.all_heard = np.concatenate((self.all_heard, frame))
            for sample in set(frame.tolist()) - {0}:
                self.heard.setdefault(sample, loop.time())
            self._room.set()
            number = FIRST + tick
            self.said[number] = loop.time()
            if self._consumer is not None:
                self._consumer(0, np.full(FRAME, number, np.int16), tick * FRAME)
                self._consumer(1, np.full(FRAME, -1, np.int16), tick * FRAME)
            tick += 1
            await asyncio.sleep(start + tick * TICK - loop.time())


@dataclass
class Service:
    """A media service: echoes, or does what `script` does. Notes the messages it gets."""

    script: Callable[[ServerConnection], AsyncIterator[None]] | None = None
    paths: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    got: bytes = b""
    closed: list[int | None] = field(default_factory=list)

    async def serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.paths.append(socket.request.path)
        if self.script is not None:
            async for _ in self.script(socket):
                pass
            return
        async for message in socket:
            assert isinstance(message, bytes)
            self.sizes.append(len(message))
            self.got += message
            await socket.send(message)
            await socket.send("text is ignored")
        self.closed.append(socket.close_code)


@dataclass
class Scene:
    lane: Lane
    call: FakeCall
    media_pass: MediaPass

    def told(self) -> list[str]:
        return [event.event for event in self.call.emitted]


@asynccontextmanager
async def passing(service: Service, **option: int) -> AsyncIterator[Scene]:
    """A call whose media pass is connected."""
    async with (
        serve(service.serve, "127.0.0.1", 0, compression=None) as server,
        Outbound() as outbound,
        asyncio.TaskGroup() as tasks,
    ):
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/media?room=1"
        lane, call = Lane(), FakeCall(tasks, Silent())
        media_pass = MediaPass(
            lane, MediaPassOption.model_validate({"url": url, **option}), outbound, call, "serverSideTrack"
        )
        call.spawn(lane.run(), "lane")
        call.spawn(media_pass.run(), "media pass")
        async with asyncio.timeout(5):
            await media_pass.connected.wait()
        yield Scene(lane, call, media_pass)
        call.end()


def run(scenario: AsyncIterator[None]) -> None:
    async def play() -> None:
        async with asyncio.timeout(20):
            async for _ in scenario:
                pass

    asyncio.run(play())


def test_an_echo_comes_back_soon_and_whole() -> None:
    async def scenario() -> AsyncIterator[None]:
        service = Service()
        async with passing(service, packetSize=640) as scene:
            await asyncio.sleep(2.0)
            lane = scene.lane
            yield
        assert service.paths == ["/media?room=1&sample_rate=16000&packet_size=640"]
        assert set(service.sizes) == {640}
        assert service.closed == [1000]
        first, last = min(lane.heard), max(lane.heard)
        assert last - first >= 85
        assert sorted(lane.heard) == list(range(first, last + 1))
        delays = sorted(lane.heard[number] - lane.said[number] for number in lane.heard)
        print(f"marker sent to marker back: median {delays[len(delays) // 2] * 1000:.0f} ms, ", end="")
        print(f"99% {delays[int(len(delays) * 0.99)] * 1000:.0f} ms")
        assert delays[len(delays) // 2] < 0.1
        assert scene.told() == ["trackStart", "trackEnd"]
        ended = scene.call.emitted[-1]
        assert isinstance(ended, events.TrackEnd)
        assert ended.ssrc == 7
        assert 1500 <= ended.duration <= 2100

    run(scenario())


def test_packets_have_their_size_at_the_services_rate() -> None:
    async def scenario() -> AsyncIterator[None]:
        service = Service()
        async with passing(service, inputSampleRate=8000, outputSampleRate=8000) as scene:
            await asyncio.sleep(1.0)
            yield
        assert set(service.sizes) == {2560}
        assert service.paths[0].endswith("?room=1&sample_rate=8000&packet_size=2560")
        said = np.frombuffer(service.got, np.int16)
        assert len(said) >= 4 * 1280
        assert abs(int(said[-1]) - (FIRST + len(said) // 160)) <= 2
        assert len(scene.lane.heard) > 10

    run(scenario())


def test_a_service_that_goes_away_is_found_again() -> None:
    async def leave_once(socket: ServerConnection) -> AsyncIterator[None]:
        if len(service.paths) == 1:
            await socket.close(1011, "restarting")
        else:
            await socket.wait_closed()
        yield

    service = Service(leave_once)

    async def scenario() -> AsyncIterator[None]:
        async with passing(service) as scene:
            await asyncio.sleep(1.0)
            assert scene.media_pass.connected.is_set()
            yield
        assert scene.told() == ["trackStart", "trackEnd", "error", "trackStart", "trackEnd"]
        [(sender, text)] = scene.call.errors()
        assert sender.startswith("media_pass: ws://127.0.0.1:")
        assert sender.endswith("/media?room=1")
        assert "restarting" in text

    run(scenario())


def test_a_burst_is_played_in_full_and_an_interruption_ends_it() -> None:
    numbers = np.repeat(np.arange(1, 1001, dtype=np.int16), 320)  # 20 s

    async def burst(socket: ServerConnection) -> AsyncIterator[None]:
        data = numbers.tobytes()
        for at in range(0, len(data), 3201):  # odd sizes
            await socket.send(data[at : at + 3201])
        await asyncio.sleep(1.2)  # for as long the rest waits, at the other side or on its way
        await socket.send(np.full(3200, 5000, np.int16).tobytes())
        await socket.wait_closed()
        yield

    async def scenario() -> AsyncIterator[None]:
        async with passing(Service(burst)) as scene:
            lane = scene.lane
            await asyncio.sleep(1.0)
            scene.media_pass.interrupt()
            before = lane.all_heard.copy()
            await asyncio.sleep(1.5)
            yield
        start = np.flatnonzero(before)[0]
        assert np.array_equal(before[start:], numbers[: len(before) - start])
        assert len(before) - start >= 10_000
        later = lane.all_heard[len(before) :]
        assert set(later.tolist()) == {0, 5000}

    run(scenario())


def test_while_it_rests_nothing_passes_either_way() -> None:
    async def scenario() -> AsyncIterator[None]:
        async with passing(service, packetSize=640) as scene:
            lane = scene.lane
            await asyncio.sleep(0.5)
            scene.media_pass.rest(on=True)
            await asyncio.sleep(0.2)  # what was on its way has come back
            heard, got = len(lane.heard), len(service.got)
            await asyncio.sleep(0.5)
            assert (len(lane.heard), len(service.got)) == (heard, got)
            scene.media_pass.rest(on=False)
            await asyncio.sleep(0.5)
            assert len(lane.heard) > heard + 10
            yield

    service = Service()
    run(scenario())
