"""REST: what is known of past calls, from their records and dumps on this machine."""

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ValidationError

from active_call.api.ports import CallsPort
from active_call.core.names import safe_name
from active_call.records.cdr import CallRecord

log = logging.getLogger(__name__)

_DUMP = ".events.jsonl"
_MOST = 10_000


class ListedRecord(BaseModel):
    """A past call."""

    id: str
    """Session id; of a call without a record, the name of its dump."""
    date: str
    """When it ended, RFC 3339."""
    duration: str
    """From answer to end, like "12s"."""
    status: str
    """`completed`, `failed` (never answered), or `unknown` (no record was written)."""


def records_router(calls: CallsPort, records: Path | None, dumps: Path) -> APIRouter:
    """GET /api/records. `records`: root of the call records, if they are kept here; `dumps`: of the dumps."""
    router = APIRouter(prefix="/api")

    @router.get("/records", response_model=list[ListedRecord])
    async def listed(
        limit: Annotated[int, Query(ge=1, le=_MOST, description="At most so many")] = 1_000,
    ) -> list[ListedRecord]:
        """Past calls, latest first."""
        live = {safe_name(call_id) + _DUMP for call_id in calls.calls}
        return await asyncio.to_thread(find_records, records, dumps, live, limit)

    return router


def find_records(records: Path | None, dumps: Path, live: set[str], limit: int) -> list[ListedRecord]:
    """The latest calls with a record or a dump, latest first, without `live` ones (names of dumps). Blocks."""
    found, told = [], set(live)
    for _, path in _latest(records, "*/*.json", limit):
        record = _read(path)
        if record is not None:
            found.append(_listed(record))
            told.add(Path(record.dump_event_file or "").name)
    for ended, path in _latest(dumps, f"*{_DUMP}", limit + len(told)):
        if path.name not in told:
            name = path.name.removesuffix(_DUMP)
            found.append(ListedRecord(id=name, date=_rfc3339(ended), duration="0s", status="unknown"))
    found.sort(key=lambda record: record.date, reverse=True)
    return found[:limit]


def _latest(folder: Path | None, pattern: str, limit: int) -> list[tuple[float, Path]]:
    """(Unix time of the last change, path) of files, latest first."""
    files = []
    for path in folder.glob(pattern) if folder is not None else ():
        try:
            files.append((path.stat().st_mtime, path))
        except OSError:
            continue  # gone meanwhile
    return sorted(files, reverse=True)[:limit]


def _read(path: Path) -> CallRecord | None:
    try:
        return CallRecord.load(path)
    except (OSError, ValidationError) as error:
        log.warning("- %s is no call record: %s", path, type(error).__name__)
        return None


def _listed(record: CallRecord) -> ListedRecord:
    answered = record.answer_time is not None
    seconds = (record.end_time - record.answer_time).total_seconds() if record.answer_time else 0.0
    return ListedRecord(
        id=record.call_id,
        date=_rfc3339(record.end_time.timestamp()),
        duration=f"{max(0, round(seconds))}s",
        status="completed" if answered else "failed",
    )


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
