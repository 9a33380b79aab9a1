"""Broken messages over real sockets at a gateway process, which must live, answer, and not grow."""

import itertools
import socket
import time
from pathlib import Path

from active_call.testing.process import GatewayProcess
from tests.fuzz.corpus import MESSAGES, torture
from tests.fuzz.mutation import Mutator
from tests.fuzz.run import Report

_BATCH = 200
_PLAYBOOK = """---
llm: {provider: scripted}
greeting: "hello"
tts: {provider: instant}
asr: {provider: instant}
---
# Scene: main
Say hello.
"""
_OPTIONS = (
    b"OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bKalive%d;rport\r\n"
    b"Max-Forwards: 70\r\nFrom: <sip:f@127.0.0.1>;tag=f\r\nTo: <sip:a@127.0.0.1>\r\nCall-ID: alive%d\r\n"
    b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


def fuzz_gateway(folder: Path, seconds: float, seed: int = 1) -> Report:
    """Throw for so long, over UDP and TCP. The defects tell what the gateway's log says."""
    report = Report()
    with GatewayProcess(folder, {"hello.md": _PLAYBOOK}, "hello.md", log_level="warn") as gateway:
        begun, warm = time.monotonic(), 0.0
        for turn in itertools.count(seed):
            passed = time.monotonic() - begun
            if passed >= seconds or report.defects:
                break
            mutator = Mutator(turn, (*MESSAGES, *torture()))
            _over_udp(gateway, mutator)
            _over_tcp(gateway, mutator)
            report.counts["wire"] = report.counts.get("wire", 0) + 2 * _BATCH
            log = gateway.log()
            if not _answers(gateway, turn):
                report.defects.append(f"seed {turn}: no answer to OPTIONS\n{log[-3000:]}")
            if "Traceback" in log:
                break
            if not warm and passed > seconds / 3:
                warm = _rss_mib(gateway.process.pid)
        log = gateway.log()
        if "Traceback" in log:
            report.defects.append(log[max(0, log.index("Traceback") - 500) :][:4000])
        if warm:
            report.growth_mib = _rss_mib(gateway.process.pid) - warm
        status, _ = gateway.health()
        if status != 200:
            report.defects.append(f"/health answers {status}")
    return report


def _over_udp(gateway: GatewayProcess, mutator: Mutator) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", gateway.sip_port))
        for number in range(_BATCH):
            try:
                sock.send(mutator.message()[:60_000])
            except OSError:
                pass  # refused answers to earlier ones
            if number % 20 == 0:
                time.sleep(0.002)


def _over_tcp(gateway: GatewayProcess, mutator: Mutator) -> None:
    for _ in range(_BATCH // 20):
        with socket.create_connection(("127.0.0.1", gateway.sip_port), 5) as sock:
            sock.settimeout(1.0)
            try:
                for _ in range(20):
                    sock.sendall(mutator.message())
            except OSError:
                continue  # it closed a connection that made no sense


def _answers(gateway: GatewayProcess, turn: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(2.0)
        for attempt in range(3):
            number = 10 * turn + attempt
            sock.sendto(_OPTIONS % (sock.getsockname()[1], number, number), ("127.0.0.1", gateway.sip_port))
            try:
                if sock.recv(4096).startswith(b"SIP/2.0 200"):
                    return True
            except TimeoutError:
                continue
    return False


def _rss_mib(pid: int) -> float:
    with open(f"/proc/{pid}/status") as file:
        (line,) = (line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
