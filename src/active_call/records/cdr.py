"""The record of a call (CDR), as JSON in one file per call."""

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, PlainSerializer, field_serializer

from active_call.core.names import safe_name
from active_call.records.masking import mask
from active_call.records.turns import Turn
from active_call.wire.model import Model
from active_call.wire.options import CallOption

HANGUP_REASONS = frozenset(
    (
        "byCaller",
        "byCallee",
        "byRefer",
        "bySystem",
        "autohangup",
        "inactivityTimeout",
        "noAnswer",
        "noBalance",
        "answerMachine",
        "serverUnavailable",
        "canceled",
        "rejected",
        "failed",
    )
)


def _read_reason(value: Any) -> Any:
    return value.get("other") if isinstance(value, dict) else value


def _write_reason(value: str) -> str | dict[str, str]:
    return value if value in HANGUP_REASONS else {"other": value}


HangupReason = Annotated[str, BeforeValidator(_read_reason), PlainSerializer(_write_reason)]
"""One of HANGUP_REASONS, or a client's own words, written as {"other": words}."""


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[AwareDatetime, PlainSerializer(_utc)]
"""RFC 3339 in UTC with milliseconds; also accepts Unix seconds."""


class MediaStatistics(Model):
    """The media plane's counters of one leg, at its end."""

    packets_received: int = 0
    packets_sent: int = 0
    octets_received: int = 0
    octets_sent: int = 0
    lost: int = 0
    """Expected and never received (RFC 3550 \u00a7A.3)."""
    late: int = 0
    """Received after their playout time."""
    duplicate: int = 0
    invalid: int = 0
    stranger: int = 0
    """From an address that is not the peer's, as long as it could be another."""
    concealed: int = 0
    """Ticks filled by loss concealment."""
    jitter_ms: float = 0.0
    delay_ms: float = 0.0
    """Of the jitter buffer."""
    rtt_ms: float | None = None
    remote_lost: int | None = None
    """Our packets that the peer reports missing."""
    remote_jitter_ms: float | None = None
    """Of our packets, as the peer reports it."""
    srtp_rejected: int = 0
    """Packets of an encrypted call that did not authenticate, or came again."""
    dropped: int = 0
    """20 ms of a client's audio each that came faster than time goes by."""
    missed: int = 0
    """20 ms for a client each that were fetched too late."""
    mos: float | None = None
    """Estimated opinion score of what we received (ITU-T G.107), 1 to 4.5."""


class RecordedFile(Model):
    """A recording of the call."""

    track_id: str
    path: str
    size: int
    """Bytes."""
    extra: dict[str, Any] | None = None


class HangupMessage(Model):
    """A SIP message that ended the call."""

    code: int
    reason: str | None = None
    target: str | None = None


class CallRecord(Model):
    """All there is to know about an ended call. What did not happen is left out."""

    call_type: Literal["sip", "webrtc", "webSocket", "b2bua"] = "sip"
    call_id: str
    start_time: Moment
    ring_time: Moment | None = None
    answer_time: Moment | None = None
    end_time: Moment
    caller: str = ""
    callee: str = ""
    status_code: int = 200
    hangup_reason: HangupReason | None = None
    hangup_by: str | None = None
    """Who hung up: caller, callee or system."""
    hangup_detail: str | None = None
    """Why, in one sentence."""
    hangup_messages: list[HangupMessage] | None = None
    error: str | None = None
    """What went wrong, in one sentence."""
    option: CallOption | None = None
    codec: str | None = None
    srtp: str | None = None
    """The suite that the audio was encrypted with."""
    media: MediaStatistics | None = None
    recorder: list[RecordedFile] | None = None
    turns: list[Turn] = []
    extras: dict[str, Any] | None = None
    dump_event_file: str | None = None
    refer_callrecord: "CallRecord | None" = None
    """Of the party that the call was transferred to, of several the last."""
    refer_callrecords: list["CallRecord"] | None = None
    """Of all parties that the call was transferred to, in order; at most the last 100."""

    @field_serializer("option")
    def _write_option(self, option: CallOption | None) -> dict[str, Any] | None:
        return (
            None
            if option is None
            else mask(option.model_dump(mode="json", exclude_none=True, exclude_unset=True))
        )

    @field_serializer("extras")
    def _write_extras(self, extras: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if extras is None else mask(extras)

    @classmethod
    def load(cls, path: Path) -> "CallRecord":
        """The record in `path`. Raises OSError, or pydantic.ValidationError, which names the field."""
        return cls.model_validate_json(path.read_bytes())


def save_local(record: CallRecord, root: Path) -> Path:
    """Write `root/YYYYMMDD/YYYYMMDD-HHMMSS_<callId>.json` (local time of the start); the path.

    The file appears complete or not at all, and never replaces another. Blocks. Raises OSError.
    """
    start = record.start_time.astimezone()
    folder = root / start.strftime("%Y%m%d")
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{start:%Y%m%d-%H%M%S}_{safe_name(record.call_id)}"
    temporary = folder / f".{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(record.model_dump_json(exclude_none=True, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        path = _publish(temporary, folder, stem)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(folder)
    return path


def _publish(temporary: Path, folder: Path, stem: str) -> Path:
    """Give the file its name; a second one of the same call id and second gets a number."""
    number = 1
    while True:
        path = folder / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            number += 1
        else:
            return path


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
