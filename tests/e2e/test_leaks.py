"""After many calls everything is back where it was: sockets, ports, tasks, lanes, memory."""

import os
import time
from pathlib import Path

import pytest

from active_call.testing.process import GatewayProcess
from tests.e2e.sipp import run_sipp

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("needs_sipp")]

PLAYBOOK = """---
llm: {provider: scripted}
tts: {provider: instant}
asr: {provider: instant}
vad: {type: silero}
greeting: hello
---
# Scene: main
A test.
"""
RECORDING = "[recording]\nenabled = true\nauto_start = true\n"
_PORTS = (31_000, 31_099)
"""Room for 25 calls at once: a leak of ports would show as refused calls."""


def resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def calls_in_a_row(tmp_path: Path, count: int, *, warm_up: int, allowed_kb: int) -> None:
    with GatewayProcess(
        tmp_path / "gw", {"p.md": PLAYBOOK}, "p.md", config=RECORDING, rtp_ports=_PORTS
    ) as gateway:

        def run(calls: int) -> None:
            result = run_sipp(
                tmp_path / "sipp",
                *("-sn", "uac", f"127.0.0.1:{gateway.sip_port}"),
                *("-m", str(calls), "-r", "30", "-l", "20", "-d", "200"),
            )
            assert (result.successful, result.failed) == (calls, 0), result.output
            gateway.wait_calls(0)

        run(warm_up)
        time.sleep(1.0)
        control, media, _spare = gateway.pids()
        before = gateway.health()[1]
        opened = files(control), files(media)
        resident = resident_kb(control), resident_kb(media)
        run(count)
        time.sleep(1.0)
        after = gateway.health()[1]
        assert (files(control), files(media)) == opened
        assert after["tasks"] == before["tasks"]
        assert after["media"]["lanes"] == 0
        assert after["calls"]["failed"] == 0
        grown_kb = [
            now - then for now, then in zip((resident_kb(control), resident_kb(media)), resident, strict=True)
        ]
        assert max(grown_kb) < allowed_kb, grown_kb


def test_calls_in_a_row_leave_nothing(tmp_path: Path) -> None:
    # SIP transactions of ended calls rest for 32 s (RFC 3261 §17), so memory still grows towards its plateau.
    calls_in_a_row(tmp_path, 60, warm_up=40, allowed_kb=2_000 + 60 * 20)


@pytest.mark.long
def test_two_hundred_calls_in_a_row_leave_nothing(tmp_path: Path) -> None:
    # After so many calls as many transactions end as begin: what is left to grow would be a leak.
    calls_in_a_row(tmp_path, 200, warm_up=1_500, allowed_kb=1_500)
