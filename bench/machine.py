"""What the kernel says of a process, and what the machine itself can and can't do."""

import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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


async def bare_loop(calls: int, seconds: float) -> float:
    """CPU of the least that must be done, in ms per call-second: see bareloop.py. Mean of the two processes."""
    first, second = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            str(_FOLDER / "bareloop.py"),
            str(calls),
            str(seconds),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        for _ in range(2)
    ]
    for process, other in ((first, second), (second, first)):
        assert process.stdout is not None
        assert other.stdin is not None
        other.stdin.write(await process.stdout.readline())
        await other.stdin.drain()
    outputs = await asyncio.gather(first.communicate(), second.communicate())
    return sum(float(output) for output, _ in outputs) / 2
