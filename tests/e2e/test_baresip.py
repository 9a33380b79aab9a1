"""A real softphone calls, and is called."""

import time
from pathlib import Path

import numpy as np
import pytest

from active_call.testing.process import GatewayProcess
from tests.e2e.baresip import Baresip

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("needs_baresip", "needs_local_speech")]

GREETING = """---
llm:
  provider: scripted
greeting: "Welcome to the baresip test. Press five to leave."
dtmf:
  "5": {action: hangup}
---
# Scene: main
You are a test.
"""

ROOT = Path(__file__).parents[2]


def rms(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def test_baresip_calls_hears_the_greeting_presses_a_key_and_is_hung_up_on(tmp_path: Path) -> None:
    with (
        GatewayProcess(tmp_path / "gw", {"greet.md": GREETING}, "greet.md") as gateway,
        Baresip(tmp_path / "phone") as phone,
    ):
        phone.command("dial", gateway.uri)
        phone.wait_for("Call established")
        phone.wait_for("incoming rtp")
        time.sleep(2.0)  # the greeting is being spoken
        phone.command("sndcode", "5")
        phone.wait_for("session closed")
        (record,) = gateway.wait_records(1)
    assert record["hangupReason"] == {"other": "DTMF Hangup"}
    assert rms(phone.heard()) > 50


def test_the_command_line_calls_baresip_greets_and_hangs_up(tmp_path: Path) -> None:
    greeting = (ROOT / "config/playbook/greeting.md").read_text(encoding="utf-8")
    with Baresip(tmp_path / "phone") as phone:
        arguments = ("--call", phone.uri, "--handler", "greeting.md")
        with GatewayProcess(tmp_path / "gw", {"greeting.md": greeting}, arguments=arguments) as gateway:
            phone.wait_for("Call established")
            phone.wait_for("session closed", timeout=30)
            assert gateway.process.wait(10) == 0
            (record,) = gateway.records()
    assert record["callee"] == phone.uri
    assert record["answerTime"]
    heard = phone.heard()
    loud = np.abs(heard.astype(np.int32)) > 500
    assert rms(heard) > 50
    assert loud.sum() > 8000 // 4
