"""What survives when processes die, stop or are told to go, seen from the wire."""

import asyncio
import os
import signal
import socket
import time
import wave
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from active_call.testing.caller import Telephones
from active_call.testing.process import GatewayProcess, is_free
from bench.measure import ProbeCall, largest_gap_ms, lost, missing
from tests.e2e.api import until

pytestmark = pytest.mark.e2e
T = TypeVar("T")

TALKATIVE = """---
llm: {provider: scripted}
tts: {provider: instant}
asr: {provider: instant}
vad: {type: silero}
greeting: "%s"
---
# Scene: main
A test.
""" % ("a long tone " * 40)
RECORDING = "[recording]\nenabled = true\nauto_start = true\n"


def run(scene: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(scene, 50))


def gateway(tmp_path: Path, **settings: Any) -> GatewayProcess:
    return GatewayProcess(
        tmp_path,
        {"talk.md": settings.pop("playbook", TALKATIVE)},
        "talk.md",
        **{"config": RECORDING} | settings,
    )


async def spare_ready(process: GatewayProcess) -> None:
    for _ in range(200):
        if process.health()[1]["media"]["spare"]:
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("no spare")


@pytest.mark.parametrize("blocked", [False, True], ids=["control plane alive", "control plane stopped"])
def test_a_killed_media_plane_costs_at_most_one_packet(tmp_path: Path, blocked: bool) -> None:
    async def scene(process: GatewayProcess) -> ProbeCall:
        await spare_ready(process)
        async with Telephones(capacity=4) as phones:
            call = await ProbeCall.dial(phones, process.uri)
            await call.first_audible()
            await asyncio.sleep(1.0)
            victim = process.media_pid
            if blocked:
                process.process.send_signal(signal.SIGSTOP)
            try:
                os.kill(victim, signal.SIGKILL)
                await asyncio.sleep(1.0)
            finally:
                process.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(1.0)
            assert process.media_pid != victim
            call.hang_up()
            await asyncio.sleep(0.2)
        return call

    with gateway(tmp_path) as process:
        call = run(scene(process))
        (record,) = process.wait_records(1)
    assert largest_gap_ms(call.probe.packets) <= 60
    assert lost(call.probe.packets) <= 1
    assert missing(call.probe.packets) <= 1
    assert max(abs(value) for value in call.probe.clock_deviations_ms()) < 60
    assert record["hangupReason"] == "byCaller"
    with wave.open(str(tmp_path / record["recorder"][0]["path"])) as file:
        frames = file.getnframes()
        answered = frames / file.getframerate()
        file.setpos(frames - file.getframerate())
        tail = file.readframes(file.getframerate())
    assert 3.0 <= answered <= 4.5
    assert any(tail), "the second part was recorded too"


def test_without_the_control_plane_the_media_plane_leaves(tmp_path: Path) -> None:
    async def scene(process: GatewayProcess) -> tuple[list[int], int]:
        await spare_ready(process)
        async with Telephones(capacity=4) as phones:
            call = await ProbeCall.dial(phones, process.uri)
            await call.first_audible()
            media = process.pids()[1:]
            assert call.probe.remote is not None
            port = call.probe.remote[1]
            process.process.kill()
            call.probe.close()
        return media, port

    process = gateway(tmp_path)
    with process:
        media, port = run(scene(process))
        died = time.monotonic()
        # A process counts as a zombie as soon as its first thread is gone, while the last one still closes
        # the sockets.
        while (any(alive(pid) for pid in media) or not is_free(port)) and time.monotonic() < died + 3:
            time.sleep(0.02)
        assert time.monotonic() - died <= 1.0
        (recording,) = (tmp_path / "config/recorders").glob("*.wav")
        with wave.open(str(recording)) as file:
            assert file.getnframes() > 0


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_says_goodbye_to_live_calls(tmp_path: Path, number: signal.Signals) -> None:
    async def scene(process: GatewayProcess) -> float:
        async with Telephones(capacity=4) as phones:
            calls = [await ProbeCall.dial(phones, process.uri) for _ in range(2)]
            await calls[0].first_audible()
            began = time.monotonic()
            process.process.send_signal(number)
            for call in calls:
                await asyncio.wait_for(call.ended.wait(), 5)
                call.probe.close()
        assert process.process.wait(5) == 0
        return time.monotonic() - began

    with gateway(tmp_path) as process:
        assert run(scene(process)) <= 5.0
        records = process.records()
    assert [record["hangupReason"] for record in records] == ["bySystem", "bySystem"]


def test_a_peer_that_vanishes_frees_everything(tmp_path: Path) -> None:
    async def scene(process: GatewayProcess) -> None:
        async with Telephones(capacity=4) as phones:
            call = await ProbeCall.dial(phones, process.uri)
            await call.first_audible()
            call.probe.close()
            await asyncio.wait_for(call.ended.wait(), 10)

    playbook = TALKATIVE.replace("vad:", "inactivityTimeout: 3\nvad:")
    with gateway(tmp_path, playbook=playbook) as process:
        run(spare_ready(process))
        before = descriptors(process)
        run(scene(process))
        (record,) = process.wait_records(1)
        process.wait_calls(0)
        health = process.health()[1]
        assert health["media"]["lanes"] == 0
        # A connection of ours to /health is closed by the server a moment later.
        run(until(lambda: descriptors(process)[0] <= before[0]))
    assert record["hangupReason"] == "inactivityTimeout"
    assert record["hangupDetail"].startswith("no RTP arrived for 3 s, after ")


def descriptors(process: GatewayProcess) -> list[int]:
    """Open files of the control plane and of the active media plane."""
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in process.pids()[:2]]


def torture_messages() -> list[Path]:
    folder = Path(os.environ.get("ACTIVE_CALL_TEST_DATA", "../shared/data")) / "rfc4475"
    return sorted(folder.glob("*.dat"))


def test_torture_messages_over_udp_leave_a_gateway_that_answers(tmp_path: Path) -> None:
    messages = torture_messages()
    if not messages:
        pytest.skip("no RFC 4475 messages: set ACTIVE_CALL_TEST_DATA")
    with (
        gateway(tmp_path) as process,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(2)
        port = sock.getsockname()[1]
        for number, message in enumerate(messages):
            sock.sendto(message.read_bytes(), ("127.0.0.1", process.sip_port))
            branch = f"z9hG4bKalive{number}"
            sock.sendto(options(process, port, branch), ("127.0.0.1", process.sip_port))
            while True:
                answer = sock.recv(65_535)
                if branch.encode() in answer:
                    break
            assert answer.startswith(b"SIP/2.0 200 "), message.name
        log = process.log()
    assert "Traceback" not in log
    assert " ERROR " not in log


def options(process: GatewayProcess, port: int, branch: str) -> bytes:
    lines = [
        f"OPTIONS {process.uri} SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch={branch};rport",
        "From: <sip:probe@127.0.0.1>;tag=1",
        f"To: <{process.uri}>",
        f"Call-ID: {branch}",
        "CSeq: 1 OPTIONS",
        "Max-Forwards: 70",
        "Content-Length: 0",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
