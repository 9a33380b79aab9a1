"""Two hundred calls over WebSockets: is any audio lost, how late is it, and what does it cost?"""

import asyncio
import json
import sys
import tempfile
import time
import wave
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection, serve

from active_call.client.encoding import to_json
from active_call.testing.process import GatewayProcess
from active_call.wire.commands import Play, Start
from active_call.wire.options import CallOption, MediaPassOption, RecorderOption, VadOption
from bench.figures import Figure, one, spread
from bench.machine import Stalls, cpu_ns, sleeper
from bench.measure import HOST, Options, Tell, ensure, health
from bench.socketload import FRAME, GROUPS, PAUSE, jumps

CALLS = 200
PASSED = 20
"""Of them with a mediaPass service."""
PROCESSES = 2
RATE = 16_000
_WARM_UP_SECONDS = 5.0
_PACKET = 640


@dataclass
class Load:
    """A process of clients."""

    name: str
    process: asyncio.subprocess.Process
    found: dict[str, Any] = field(default_factory=dict)

    async def stop(self) -> None:
        """End the calls and take the report."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        self.found = json.loads(await asyncio.wait_for(self.process.stdout.readline(), 60))


async def run(options: Options, tell: Tell) -> list[Figure]:
    """Clients send a counter, which is recorded, and hear one from a file; some click to a service and back."""
    count = options.times(CALLS)
    passed = PASSED * count // CALLS
    seconds = options.seconds
    with tempfile.TemporaryDirectory(prefix="active-call-bench-") as folder:
        directory = Path(folder)
        _write_counter(directory / "config" / "media" / "counter.wav", seconds + 30)
        with GatewayProcess(directory, log_level="warn") as gateway:
            async with _calls(gateway, count, passed) as loads:
                await asyncio.sleep(_WARM_UP_SECONDS)
                before, stalls, after = await _measure(gateway, seconds)
                ensure(after.health["calls"]["active"] == count, "calls ended before their time")
                for load in loads:
                    await load.stop()
            await asyncio.to_thread(gateway.wait_records, count, 30.0)
        tell(f"{count} calls, {passed} of them with a mediaPass service")
        return _figures(count, before, after, stalls, loads, directory / "config" / "recorders")


@dataclass(frozen=True, slots=True)
class _Sample:
    time_ns: int
    control_ns: int
    media_ns: int
    health: dict[str, Any]


async def _measure(gateway: GatewayProcess, seconds: float) -> tuple[_Sample, Stalls, _Sample]:
    before = await _sample(gateway)
    stalls = await sleeper(seconds)
    return before, stalls, await _sample(gateway)


async def _sample(gateway: GatewayProcess) -> _Sample:
    state = await health(gateway)
    return _Sample(time.time_ns(), cpu_ns(gateway.process.pid), cpu_ns(state["media"]["pid"]), state)


@asynccontextmanager
async def _calls(gateway: GatewayProcess, count: int, passed: int) -> AsyncIterator[list[Load]]:
    """All load processes, ready."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve(_echo, HOST, 0, compression=None))
        service = f"ws://{HOST}:{next(iter(server.sockets)).getsockname()[1]}/"
        plain = CallOption(
            codec="pcm",
            sample_rate=RATE,
            vad=VadOption(type="off"),
            recorder=RecorderOption(recorder_file="{id}.wav"),
        )
        media = MediaPassOption(url=service, packet_size=_PACKET)
        through = CallOption(codec="pcm", sample_rate=RATE, vad=VadOption(type="off"), media_pass=media)
        each = (count - passed) // PROCESSES
        counting = to_json(Play(url="counter.wav"))
        specs: list[tuple[str, int, CallOption, str | None]] = [
            *((f"c{at}", each, plain, counting) for at in range(PROCESSES)),
            ("m", count - each * PROCESSES, through, None),
        ]
        loads = []
        for name, calls, option, then in specs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.socketload"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 28,
            )
            stack.callback(_kill, process)
            assert process.stdin is not None
            spec = {
                "port": gateway.http_port,
                "calls": calls,
                "name": name,
                "command": to_json(Start(option=option)),
                "then": then,
                "markers": then is None,
            }
            process.stdin.write(json.dumps(spec).encode() + b"\n")
            loads.append(Load(name, process))
        for load in loads:
            assert load.process.stdout is not None
            line = await asyncio.wait_for(load.process.stdout.readline(), 60)
            ensure(line == b"ready\n", f"the clients of {load.name} did not get through")
        yield loads


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


def _write_counter(path: Path, seconds: float) -> None:
    """A file whose samples count, modulo 65,536."""
    path.parent.mkdir(parents=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.arange(1, round(seconds * RATE) + 1).astype("<u2").tobytes())


def _figures(
    count: int, before: _Sample, after: _Sample, stalls: Stalls, loads: list[Load], recordings: Path
) -> list[Figure]:
    call_seconds = count * (after.time_ns - before.time_ns) / 1e9
    heard, delays = [], list[float]()
    for load in loads[:-1]:
        for name, call in load.found["calls"].items():
            recorded = Recorded.read(recordings / f"{name}.wav", call["heard_ms"])
            window = recorded.window(before.time_ns, after.time_ns)
            heard.append(jumps(recorded.left[window]))
            delays += _delays_ms(recorded, window, load.found["round_ns"][call["group"]])
    came = [(call["breaks"], call["samples"]) for load in loads[:-1] for call in load.found["calls"].values()]
    clicks = [click for call in loads[-1].found["calls"].values() for click in call["clicks"]]
    back = [ms for sent_ns, ms in clicks if before.time_ns <= sent_ns < after.time_ns]
    late = np.concatenate([_late_ms(load, before.time_ns, after.time_ns) for load in loads])
    errors = [text for load in loads for call in load.found["calls"].values() for text in call["errors"]]
    ensure(not errors, f"{len(errors)} error events, the first: {errors[:1]}")
    missed = int(after.health["media"]["lateTicks"]) - int(before.health["media"]["lateTicks"])
    note = f"{count} calls; clients late by p99 {np.percentile(late, 99):.1f}, at most {late.max():.0f} ms"
    return [
        one(
            "control plane CPU",
            (after.control_ns - before.control_ns) / 1e6 / call_seconds,
            "ms/call-s",
            stat="mean",
            limit=3.0,
            note=note,
        ),
        one(
            "media plane CPU", (after.media_ns - before.media_ns) / 1e6 / call_seconds, "ms/call-s", stat="mean"
        ),
        one("late ticks", missed, "", limit=stalls.over_20_ms, note=f"a sleeper {stalls.over_20_ms}"),
        _breaks("breaks in what was recorded", heard),
        _breaks("breaks in what clients heard", came),
        spread("frame sent to lane position", delays, "ms", (50, 99, 100), limited=100, limit=40.0),
        spread("click to service and back", back, "ms", (50, 99, 100), limited=99, limit=120.0),
    ]


def _breaks(name: str, found: list[tuple[int, int]]) -> Figure:
    broken = sum(breaks > 0 for breaks, _ in found)
    samples = sum(count for _, count in found)
    note = f"in {broken} of {len(found)} calls, {samples / RATE:.0f} s"
    return one(name, sum(breaks for breaks, _ in found), "", limit=0, note=note)


def _late_ms(load: Load, start_ns: int, end_ns: int) -> NDArray[np.float64]:
    """How late a process sent its rounds between two moments."""
    late = np.array(load.found["late_ms"])
    rounds = load.found["round_ns"]
    times = np.array([rounds[step % GROUPS][step // GROUPS] for step in range(len(late))])
    within: NDArray[np.float64] = late[(times >= start_ns) & (times < end_ns)]
    return within


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded call: what came from the caller, what the caller heard, and when."""

    left: NDArray[np.uint16]
    right: NDArray[np.uint16]
    heard_ms: int
    """When the tick was that sent the first audio: the first sample on the right."""

    @classmethod
    def read(cls, path: Path, heard_ms: int) -> "Recorded":
        """From a file."""
        with wave.open(str(path)) as file:
            samples: NDArray[np.uint16] = np.frombuffer(file.readframes(file.getnframes()), "<u2")
        return cls(samples[::2], samples[1::2], heard_ms)

    def tick_ms(self, position: int) -> float:
        """Unix milliseconds of the tick that a position belongs to."""
        return self.heard_ms + (position - self._known) // FRAME * 20

    def window(self, start_ns: int, end_ns: int) -> slice:
        """The positions between two moments."""
        start, end = (
            self._known + round((ns / 1e6 - self.heard_ms) * RATE / 1000) for ns in (start_ns, end_ns)
        )
        return slice(max(start, 0), end)

    @property
    def _known(self) -> int:
        return int(np.flatnonzero(self.right)[0])


def _delays_ms(recorded: Recorded, window: slice, sent_ns: list[int]) -> list[float]:
    """From sending a frame to the tick that gave its last sample a lane position, ten times a second."""
    first = int(np.flatnonzero(recorded.left)[0])
    delays = []
    for position in range(window.start, window.stop, RATE // 10):
        here = recorded.left[position : position + 8]
        if np.any(np.diff(here) != 1):
            continue  # a gap, covered up
        value = int(here[0])
        guess = position - first + PAUSE * FRAME
        index = guess + (value - 1 - guess + 0x8000) % 0x10000 - 0x8000
        frame = index // FRAME
        if 0 <= frame < len(sent_ns):
            last = position + (frame + 1) * FRAME - 1 - index
            delays.append(recorded.tick_ms(last) - sent_ns[frame] / 1e6)
    return delays
