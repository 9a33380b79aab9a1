import os
from pathlib import Path

from active_call.api.records import find_records
from active_call.records.cdr import CallRecord, save_local

START = 1_700_000_000


def record(folder: Path, call_id: str, *, end: int, answer: int | None = None) -> None:
    """A record below cdr/, and its dump below recorders/."""
    dump_of(folder, f"{call_id}.events.jsonl", end)
    save_local(
        CallRecord(
            call_id=call_id,
            start_time=START,
            answer_time=None if answer is None else START + answer,
            end_time=START + end,
            dump_event_file=f"config/recorders/{call_id}.events.jsonl",
        ),
        folder / "cdr",
    )


def dump_of(folder: Path, name: str, at: int) -> None:
    path = folder / "recorders" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}\n")
    os.utime(path, (START + at, START + at))


def found(folder: Path, *live: str, limit: int = 100) -> list[tuple[str, str, str, str]]:
    listed = find_records(folder / "cdr", folder / "recorders", set(live), limit)
    return [(each.id, each.date[11:19], each.duration, each.status) for each in listed]


def test_past_calls_come_latest_first(tmp_path: Path) -> None:
    record(tmp_path, "a", answer=5, end=65)
    record(tmp_path, "b", end=90)
    dump_of(tmp_path, "c.events.jsonl", 80)
    assert found(tmp_path) == [
        ("b", "22:14:50", "0s", "failed"),
        ("c", "22:14:40", "0s", "unknown"),
        ("a", "22:14:25", "60s", "completed"),
    ]


def test_live_calls_are_not_past(tmp_path: Path) -> None:
    dump_of(tmp_path, "a%40b.events.jsonl", 1)
    dump_of(tmp_path, "c.events.jsonl", 2)
    assert [each[0] for each in found(tmp_path, "a%40b.events.jsonl")] == ["c"]


def test_only_the_latest_are_told(tmp_path: Path) -> None:
    for number in range(5):
        dump_of(tmp_path, f"{number}.events.jsonl", number)
    assert [each[0] for each in found(tmp_path, limit=2)] == ["4", "3"]


def test_files_that_are_no_records_are_passed_over(tmp_path: Path) -> None:
    record(tmp_path, "a", end=1)
    (tmp_path / "cdr" / "20260101").mkdir()
    (tmp_path / "cdr" / "20260101" / "broken.json").write_text("{")
    assert [each[0] for each in found(tmp_path)] == ["a"]


def test_without_folders_there_are_none(tmp_path: Path) -> None:
    assert find_records(None, tmp_path / "none", set(), 10) == []
