"""Refused calls are recorded, but not without end."""

import asyncio
from pathlib import Path

from active_call.call.refusals import BURST, RefusedCall, RefusedCalls
from active_call.records.cdr import CallRecord
from active_call.sip.events import Declined
from active_call.testing.clock import run
from tests.unit.call.fakes import LoopClock


def declined(number: int) -> Declined:
    return Declined(503, "no handler", f"c{number}", f"c{number}-a-b", "sip:a@x", "sip:b@x")


def refuse(calls: RefusedCalls, numbers: range) -> list[RefusedCall]:
    noted = (calls.note(declined(number), ()) for number in numbers)
    return [call for call in noted if call is not None]


def test_a_flood_is_counted_but_not_recorded() -> None:
    async def scene() -> tuple[int, int, int]:
        calls = RefusedCalls(LoopClock(), dump_root=None, cdr_root=None)
        at_once = refuse(calls, range(1000))
        await asyncio.sleep(5)
        later = refuse(calls, range(1000, 2000))
        return len(at_once), len(later), calls.count

    assert run(scene()) == (BURST, 5, 2000)


def test_the_allowance_grows_no_further_than_a_burst() -> None:
    async def scene() -> int:
        calls = RefusedCalls(LoopClock(), dump_root=None, cdr_root=None)
        refuse(calls, range(1))
        await asyncio.sleep(10_000)
        return len(refuse(calls, range(1, 1000)))

    assert run(scene()) == BURST


def test_the_dump_waits_a_moment_for_the_ack(tmp_path: Path) -> None:
    async def scene() -> None:
        calls = RefusedCalls(LoopClock(), dump_root=tmp_path, cdr_root=tmp_path)
        (call,) = refuse(calls, range(1))
        assert calls.note(declined(0), ()) is None  # it calls again: one record is enough
        keeping = asyncio.create_task(calls.keep(call))
        await asyncio.sleep(0.5)
        dump = calls.dump_of("c0")
        assert dump is not None
        dump.sip("<", b"ACK sip:b SIP/2.0", "udp 192.0.2.1:5060")
        await keeping
        assert calls.dump_of("c0") is None

    run(scene())
    assert "ACK sip:b" in (tmp_path / "c0-a-b.events.jsonl").read_text()
    (path,) = tmp_path.glob("*/*.json")
    assert CallRecord.load(path).hangup_detail == "no handler"


def test_leaving_waits_for_nothing(tmp_path: Path) -> None:
    async def scene() -> float:
        calls = RefusedCalls(LoopClock(), dump_root=None, cdr_root=tmp_path)
        (call,) = refuse(calls, range(1))
        calls.leave()
        await calls.keep(call)
        return asyncio.get_running_loop().time()

    assert run(scene()) == 0


def test_a_full_disk_is_told_and_harms_nobody(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    async def scene() -> None:
        calls = RefusedCalls(LoopClock(), dump_root=None, cdr_root=file)
        (call,) = refuse(calls, range(1))
        await calls.keep(call)

    run(scene())
