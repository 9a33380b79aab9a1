import json
from pathlib import Path
from typing import Any

import pytest

from active_call.core.clock import ManualClock
from active_call.records import dump as dumps
from active_call.records.dump import Dump
from active_call.wire.commands import Tts
from active_call.wire.events import Answer, Dtmf


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def digit(which: str) -> Dtmf:
    return Dtmf(track_id="t", timestamp=5, digit=which)


def test_lines_are_in_order_with_content_as_text(tmp_path: Path) -> None:
    clock = ManualClock(monotonic=10.0, wall=1_700_000_000.5)
    dump = Dump.open(tmp_path / "new" / "a.events.jsonl", clock)
    dump.command(Tts(text="\u4f60\u597d"))
    clock.advance(1.5)
    dump.event(digit("5"))
    dump.sip("<", b"BYE sip:a SIP/2.0\r\n\r\n")
    dump.close()
    command, event, sip = lines(tmp_path / "new" / "a.events.jsonl")
    assert [line["type"] for line in (command, event, sip)] == ["command", "event", "sip"]
    assert [line["seq"] for line in (command, event, sip)] == [1, 2, 3]
    assert json.loads(command["content"])["text"] == "\u4f60\u597d"
    assert json.loads(event["content"]) == digit("5").dump()
    assert (event["timestamp"], event["mono"]) == (1_700_000_002_000, 11.5)
    assert sip["content"].startswith("< BYE")


def test_secrets_are_masked(tmp_path: Path) -> None:
    dump = Dump.open(tmp_path / "a", ManualClock())
    dump.command(Tts.model_validate({"text": "x", "option": {"secretKey": "hush", "secretId": "hush"}}))
    dump.event(Answer(track_id="t", timestamp=1, sdp="a=crypto:1 X inline:hush"))
    dump.sip(">", b"REGISTER sip:a SIP/2.0\r\nAuthorization: Digest hush\r\n\r\n")
    dump.close()
    assert "hush" not in (tmp_path / "a").read_text()


def test_it_appends(tmp_path: Path) -> None:
    for _ in range(2):
        dump = Dump.open(tmp_path / "a", ManualClock())
        dump.event(digit("1"))
        dump.close()
    assert len(lines(tmp_path / "a")) == 2


def test_nothing_is_made_without_a_line_or_when_off(tmp_path: Path) -> None:
    Dump.open(tmp_path / "a", ManualClock()).close()
    off = Dump.null()
    off.event(digit("1"))
    off.close()
    assert list(tmp_path.iterdir()) == []


def test_lines_after_the_end_are_ignored(tmp_path: Path) -> None:
    dump = Dump.open(tmp_path / "a", ManualClock())
    dump.event(digit("1"))
    dump.close()
    dump.event(digit("2"))
    dump.close()
    assert len(lines(tmp_path / "a")) == 1


def test_a_disk_that_fails_is_told_once_and_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    dump = Dump.open(tmp_path / "file" / "a", ManualClock())
    for which in "123":
        dump.event(digit(which))
    dump.close()
    assert caplog.text.count("can't be written") == 1
    assert "3 lines were dropped" in caplog.text


def test_what_waits_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dumps, "_WAITING", 300)
    dump = Dump.open(tmp_path / "a", ManualClock())
    monkeypatch.setattr(dump, "_scheduled", True)  # as if the disk were busy
    for which in "123456789":
        dump.event(digit(which))
    dump.close()
    assert len(lines(tmp_path / "a")) < 4
    assert "lines were dropped" in caplog.text


def test_a_dump_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dumps, "_LONGEST", 1000)
    dump = Dump.open(tmp_path / "a", ManualClock())
    for _ in range(100):
        dump.sip("<", b"INFO sip:a SIP/2.0\r\n\r\n")
    dump.close()
    assert (tmp_path / "a").stat().st_size <= 1000
    assert "lines were dropped" in caplog.text


def test_keys_in_sip_messages_are_masked_if_so_wished(tmp_path: Path) -> None:
    info = b"INFO sip:a SIP/2.0\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=5\r\n"
    dump = Dump.open(tmp_path / "a", ManualClock())
    dump.sip("<", info)
    dump.mask_digits = True
    dump.sip("<", info)
    dump.close()
    assert [line["content"].splitlines()[-1] for line in lines(tmp_path / "a")] == ["Signal=5", "Signal=*"]
