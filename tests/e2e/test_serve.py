"""`cli.serve.run` as a process of its own, around a gateway that only pretends."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

pytestmark = pytest.mark.e2e

PROGRAM = """
import asyncio, sys
from types import SimpleNamespace as Object
from active_call.api.listener import bind
from active_call.cli.serve import run
from active_call.config import load_config

class Gateway:
    def __init__(self):
        self.calls = Object(on_record=None, calls={}, pending_playbooks=None)
        self.outbound = None
        self.running = False
    async def __aenter__(self):
        self.running = True
    async def __aexit__(self, *_):
        print("closed", flush=True)
    def counts(self):
        return 0, 0
    def status(self):
        return {"status": "running" if self.running else "unavailable"}
    async def drain(self, timeout):
        print("drain", timeout, flush=True)
        await asyncio.sleep(DRAIN)
    async def call(self, uri, playbook):
        call = Object(times=Object(answer=ANSWER))
        asyncio.get_running_loop().call_later(0.05, lambda: self.calls.on_record(call, None))
        return call

listener = bind("127.0.0.1", 0)
print("port", listener.getsockname()[1], flush=True)
sys.exit(asyncio.run(run(Gateway(), load_config(), listener, call=CALL, playbook="a.md")))
"""


def start(*, drain: float = 0.0, call: str | None = None, answer: float | None = None) -> subprocess.Popen[str]:
    """The program, with how long its gateway drains and how its one call goes."""
    values = f"DRAIN = {drain}\nCALL = {call!r}\nANSWER = {answer}\n"
    return subprocess.Popen([sys.executable, "-c", values + PROGRAM], stdout=subprocess.PIPE, text=True)


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """What the program prints."""
    assert process.stdout is not None
    for line in process.stdout:
        yield line.strip()


def test_a_signal_drains_and_closes() -> None:
    with start() as process:
        output = lines(process)
        port = re.fullmatch(r"port (\d+)", next(output))
        assert port is not None
        assert httpx.get(f"http://127.0.0.1:{port[1]}/health", timeout=5).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert list(output) == ["drain 30.0", "closed"]
        assert process.wait(5) == 0


def test_a_second_signal_ends_at_once() -> None:
    with start(drain=60) as process:
        output = lines(process)
        port = next(output).split()[1]
        httpx.get(f"http://127.0.0.1:{port}/health", timeout=5)
        process.send_signal(signal.SIGTERM)
        assert next(output) == "drain 30.0"
        process.send_signal(signal.SIGINT)
        assert process.wait(2) == -signal.SIGINT


@pytest.mark.parametrize(("answer", "code"), [(1.0, 0), (None, 1)])
def test_the_process_ends_with_its_call_and_tells_whether_it_was_answered(
    answer: float | None, code: int
) -> None:
    with start(call="sip:1001@127.0.0.1", answer=answer) as process:
        assert process.wait(10) == code
