"""How long a start takes, from the process to the first 200 of /health."""

import asyncio
import tempfile
from pathlib import Path
from statistics import median

from active_call.testing.process import GatewayProcess
from bench.figures import Figure, one
from bench.measure import Options, Tell

RUNS = 3


async def run(options: Options, tell: Tell) -> list[Figure]:
    """The first start fills the caches of the machine and does not count."""
    seconds = []
    for number in range(RUNS + 1):
        with tempfile.TemporaryDirectory(prefix="active-call-bench-") as folder:
            gateway = GatewayProcess(Path(folder), log_level="warn")
            await asyncio.to_thread(gateway.__enter__)
            seconds.append(gateway.ready_seconds)
            await asyncio.to_thread(gateway.stop)
        tell(f"start {number}: {gateway.ready_seconds:.2f} s")
    note = f"the first start took {seconds[0]:.2f}"
    return [one("start to ready", median(seconds[1:]), "s", stat="median", limit=2.0, note=note)]
