"""SIPp, the reference load tester, against a real gateway."""

import json
from pathlib import Path

import pytest

from active_call.testing.process import GatewayProcess
from tests.e2e.sipp import SHARE, run_sipp

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("needs_sipp")]

LISTEN = """---
llm:
  provider: scripted
tts: {provider: espeak}
vad: {type: silero}
---
# Scene: main
Only listen.
"""


def uac(tmp_path: Path, calls: int) -> None:
    with GatewayProcess(tmp_path / "gw", {"listen.md": LISTEN}, "listen.md") as gateway:
        result = run_sipp(
            tmp_path / "sipp", "-sn", "uac", f"127.0.0.1:{gateway.sip_port}", "-m", str(calls), "-r", "20"
        )
        assert (result.successful, result.failed, result.status) == (calls, 0, 0), result.output
        gateway.wait_calls(0)
        assert gateway.health()[1]["calls"] == {"active": 0, "total": calls, "failed": 0, "refused": 0}
        log = gateway.log()
    assert "Traceback" not in log
    assert " ERROR " not in log


def test_uac_completes_its_calls(tmp_path: Path) -> None:
    uac(tmp_path, 100)


@pytest.mark.long
def test_uac_completes_a_thousand_calls(tmp_path: Path) -> None:
    uac(tmp_path, 1000)


def test_uac_pcap_is_heard_speaking(tmp_path: Path) -> None:
    if not (SHARE / "g711a.pcap").exists():
        pytest.skip("this SIPp has no g711a.pcap")
    with GatewayProcess(tmp_path / "gw", {"listen.md": LISTEN}, "listen.md") as gateway:
        result = run_sipp(tmp_path / "sipp", "-sn", "uac_pcap", f"127.0.0.1:{gateway.sip_port}", "-m", "1")
        assert (result.successful, result.failed) == (1, 0), result.output
        gateway.wait_calls(0)
        (dump,) = (tmp_path / "gw" / "config" / "recorders").glob("*.events.jsonl")
        lines = [json.loads(line) for line in dump.read_text().splitlines()]
        names = [json.loads(line["content"]).get("event") for line in lines if line["type"] == "event"]
    assert "speaking" in names
