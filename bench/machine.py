"""What the kernel says of a process, and what the machine itself can and can't do."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from active_call.lanes.messages import PCMU, ConfigureLane
from active_call.media.lane import Lane
from active_call.media.ports import PortRange
from active_call.media.supervisor import MediaPlane

HOST = "127.0.0.1"
Talk: TypeAlias = Callable[[Lane, int], Coroutine[Any, Any, None]]
"""Makes the lane of the so-manieth caller speak, until it is cancelled."""
_FOLDER = Path(__file__).parent


def cpu_ns(pid: int) -> int:
    """CPU time of all live threads of a process, in nanoseconds."""
    total = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(file.read_text(encoding="ascii").split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended meanwhile
    return total


def pss_mb(pids: Iterable[int]) -> float:
    """Proportional set size of processes together, in megabytes (2^20 bytes)."""
    kilobytes = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes / 1024


@dataclass(frozen=True, slots=True)
class Stalls:
    """How late a process was that did nothing but sleep for 20 ms at a time."""

    over_20_ms: int
    worst_ms: float


async def sleeper(seconds: float) -> Stalls:
    """Watch the machine for so long."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_FOLDER / "sleeper.py"), str(seconds), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return Stalls(**json.loads(output))


async def bare_loop(calls: int, seconds: float, talk: Talk) -> float:
    """CPU of the least that must be done, in ms per call-second (see bareloop.py), under the same load.

    Its peers are lanes of a media plane of our own, as the simulated callers of a gateway are, and `talk` makes
    them speak: so the other core is as busy as it is while a gateway is measured.
    """
    plane = MediaPlane(
        capacity=calls, ports=PortRange(43_000, 49_000, HOST), cname="bench", spare=False, realtime=False
    )
    await plane.start()
    lanes = [plane.open_lane() for _ in range(calls)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(_FOLDER / "bareloop.py"), str(calls), str(seconds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    assert process.stdout is not None
    ports = json.loads(await process.stdout.readline())
    for lane, port in zip(lanes, ports, strict=True):
        ref = lane.ref
        lane.configure(ConfigureLane(ref.row, ref.generation, PCMU, (PCMU,), None, (HOST, port), None))
    async with asyncio.TaskGroup() as tasks:
        talking = [tasks.create_task(talk(lane, at)) for at, lane in enumerate(lanes)]
        output, _ = await process.communicate(json.dumps([lane.port for lane in lanes]).encode() + b"\n")
        for task in talking:
            task.cancel()
    await plane.aclose()
    return float(output)
