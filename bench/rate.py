"""How many calls per second can be set up: SIPp on one core, the gateway on the other, no playbook."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

from active_call.core.errors import ActiveCallError
from active_call.testing.process import GatewayProcess
from bench.figures import Figure, one, spread
from bench.measure import HOST, Options, Tell

CALLS_PER_SECOND = 100
TALK_SECONDS = 2.0
SECONDS = 60.0

_NONE = asyncio.subprocess.DEVNULL
_PROGRAM = (str(Path(__file__).parent / "answering.py"),)


async def run(options: Options, tell: Tell) -> list[Figure]:
    """`CALLS_PER_SECOND` calls of `TALK_SECONDS` each for a minute; the times are SIPp's."""
    if shutil.which("sipp") is None:
        raise ActiveCallError("SIPp (Debian's sip-tester) is not installed")
    seconds = 10.0 if options.quick else SECONDS
    count = round(CALLS_PER_SECOND * seconds)
    cores = sorted(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory(prefix="active-call-rate-") as folder,
        GatewayProcess(Path(folder) / "gateway", program=_PROGRAM, log_level="warn") as gateway,
    ):
        if len(cores) > 1:
            for pid in gateway.pids():
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(thread), {cores[0]})
        busy = _cpu_seconds(gateway.process.pid)
        work = Path(folder) / "sipp"
        work.mkdir()
        command = ["sipp", "-sn", "uac", f"{HOST}:{gateway.sip_port}", "-i", HOST, "-mi", HOST]
        command += ["-r", str(CALLS_PER_SECOND), "-m", str(count), "-d", str(round(TALK_SECONDS * 1000))]
        command += ["-l", "2000", "-nostdin", "-trace_rtt", "-rtt_freq", "100", "-trace_stat"]
        if len(cores) > 1:
            command = ["taskset", "-c", str(cores[-1]), *command]
        tell(f"{count} calls at {CALLS_PER_SECOND} per second")
        process = await asyncio.create_subprocess_exec(
            *command, cwd=work, stdin=_NONE, stdout=_NONE, stderr=_NONE
        )
        status = await asyncio.wait_for(process.wait(), seconds + 60)
        used = _cpu_seconds(gateway.process.pid) - busy
        answered = gateway.health()[1]["calls"]
        milliseconds = _response_times(work)
    return [
        spread("INVITE to 200 by SIPp", milliseconds, "ms", (50, 95, 99), limited=95, limit=30.0),
        one("calls failed by SIPp's count", count - len(milliseconds), "", limit=0, note=f"of {count}"),
        one("calls failed by ours", answered["failed"], "", limit=0, note=f"SIPp's exit status {status}"),
        one("CPU of the control plane per call", 1000 * used / count, "ms", stat="mean"),
    ]


def _response_times(folder: Path) -> list[float]:
    """Of SIPp's `-trace_rtt`, in milliseconds."""
    (file,) = folder.glob("*_rtt.csv")
    return [float(line.split(";")[1]) for line in file.read_text().splitlines()[1:] if line.count(";") >= 2]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
