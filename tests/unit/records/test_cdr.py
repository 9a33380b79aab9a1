import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from active_call.records.cdr import CallRecord, MediaStatistics, RecordedFile, save_local
from active_call.records.turns import Turn
from active_call.wire.options import CallOption

START = datetime(2024, 5, 6, 7, 8, 9, 123_000, UTC)


def record(**fields: Any) -> CallRecord:
    known = {"call_id": "abc@10.0.0.1", "start_time": START, "end_time": START + timedelta(seconds=5)}
    return CallRecord.model_validate(known | fields)


def dumped(**fields: Any) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(record(**fields).model_dump_json(exclude_none=True))
    return result


def test_names_and_times_on_the_wire() -> None:
    data = dumped(answer_time=START, hangup_by="caller", dump_event_file="x.jsonl")
    assert data["callId"] == "abc@10.0.0.1"
    assert data["startTime"] == data["answerTime"] == "2024-05-06T07:08:09.123Z"
    assert data["dumpEventFile"] == "x.jsonl"
    assert "ringTime" not in data


def test_times_are_written_in_utc() -> None:
    local = datetime.fromisoformat("2024-05-06T09:08:09.123+02:00")
    assert dumped(answer_time=local)["answerTime"] == "2024-05-06T07:08:09.123Z"


@pytest.mark.parametrize(
    ("reason", "written"),
    [("byCaller", "byCaller"), ("autohangup", "autohangup"), ("bored", {"other": "bored"})],
)
def test_reasons_are_the_enumeration_or_other(reason: str, written: object) -> None:
    assert dumped(hangup_reason=reason)["hangupReason"] == written
    assert record(hangup_reason=written).hangup_reason == reason


def test_secrets_are_masked() -> None:
    option = CallOption.model_validate(
        {
            "asr": {"provider": "x", "secretKey": "hush1", "secretId": "hush2"},
            "sip": {"username": "bob", "password": "hush3"},
            "tts": {"extra": {"api_key": "hush4"}},
        }
    )
    text = record(option=option, extras={"token": "hush5"}).model_dump_json()
    assert "hush" not in text
    assert "bob" in text


def test_an_option_holds_what_was_given() -> None:
    option = CallOption.model_validate({"asr": {"provider": "pocketsphinx"}})
    assert dumped(option=option)["option"] == {"asr": {"provider": "pocketsphinx"}}


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    before = record(
        media=MediaStatistics(packets_received=250, jitter_ms=1.5, mos=4.3),
        recorder=[RecordedFile(track_id="abc", path="/r/abc.wav", size=44)],
        turns=[Turn(user_text="hi", latency_ms=600, stages={"llm": 600})],
        hangup_reason="bored",
        extras={"a": {"b": [1]}},
    )
    assert CallRecord.load(save_local(before, tmp_path)) == before


def test_the_file_is_named_after_the_local_start(tmp_path: Path) -> None:
    path = save_local(record(), tmp_path / "new")
    local = START.astimezone()
    assert path.parent == tmp_path / "new" / f"{local:%Y%m%d}"
    assert path.name == f"{local:%Y%m%d-%H%M%S}_abc%4010.0.0.1.json"


def test_a_hostile_id_stays_below_the_root(tmp_path: Path) -> None:
    path = save_local(record(call_id="../../../etc/x" + "y" * 500), tmp_path)
    assert path.resolve().parent.parent == tmp_path.resolve()


def test_a_second_record_never_replaces_the_first(tmp_path: Path) -> None:
    first, second = save_local(record(), tmp_path), save_local(record(caller="b"), tmp_path)
    assert CallRecord.load(first).caller == ""
    assert CallRecord.load(second).caller == "b"


def test_only_complete_files_are_left(tmp_path: Path) -> None:
    path = save_local(record(), tmp_path)
    assert list(path.parent.iterdir()) == [path]


def test_a_record_that_is_none_names_the_field(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"callId": "a"}')
    with pytest.raises(ValidationError, match="startTime"):
        CallRecord.load(tmp_path / "x.json")
