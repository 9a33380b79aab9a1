"""The demo, as a new user runs it: a whole conversation on the embedded providers."""

import json
import shutil
import subprocess
import sys
import wave
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("needs_local_speech")]

CONFIG = Path(__file__).parents[2] / "config"


def loudness(samples: np.ndarray[tuple[int], np.dtype[np.int16]], start: float, end: float) -> float:
    part = samples[int(start * 16_000) : int(end * 16_000)].astype(np.float64)
    return float(np.sqrt((part * part).mean()))


def test_the_demo_goes_as_scripted_and_leaves_a_record_and_a_stereo_recording(tmp_path: Path) -> None:
    shutil.copytree(CONFIG / "playbook", tmp_path / "config" / "playbook")
    demo = subprocess.run(
        [sys.executable, "-m", "active_call", "demo", "--once"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "the conversation went as scripted" in demo.stdout

    (path,) = (tmp_path / "config" / "cdr").glob("*/*.json")
    record = json.loads(path.read_text())
    turns = record["turns"]
    assert [turn.get("userText") for turn in turns if turn.get("userText")] == [
        "I would like to book a table",
        "four people",
        "yes please",
    ]
    assert sum(turn["interrupted"] for turn in turns) == 1
    assert [turn["digits"] for turn in turns if turn.get("digits")] == ["1"]
    for turn in turns:
        if turn.get("latencyMs") is not None:
            assert sum(turn["stages"].values()) == turn["latencyMs"]
            assert turn["latencyMs"] == turn["firstPacket"] - turn["callerEnd"]

    with wave.open(str(tmp_path / record["recorder"][0]["path"])) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 16_000)
        frames = file.getnframes()
        stereo = np.frombuffer(file.readframes(frames), np.int16).reshape(-1, 2)
    answered, ended = (datetime.fromisoformat(record[name]) for name in ("answerTime", "endTime"))
    assert frames % 320 == 0
    assert abs(frames / 320 - (ended - answered).total_seconds() * 50) <= 3

    # The first turn: the caller speaks left, then the agent answers right.
    turn = next(turn for turn in turns if turn.get("userText"))
    caller_end, reply = (turn[name] / 1000 - answered.timestamp() for name in ("callerEnd", "firstPacket"))
    left, right = stereo[:, 0], stereo[:, 1]
    assert loudness(left, caller_end - 1.0, caller_end) > 300 > loudness(right, caller_end - 1.0, caller_end)
    assert loudness(right, reply + 0.1, reply + 1.0) > 300 > loudness(left, reply + 0.1, reply + 1.0)
