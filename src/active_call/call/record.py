"""From an ended call to its record."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from active_call.call.call import Call
from active_call.call.goodbye import Ended
from active_call.call.leg import Leg, SipLeg
from active_call.call.reasons import CRASHED
from active_call.core.quality import mos
from active_call.records.cdr import CallRecord, MediaStatistics, RecordedFile
from active_call.records.turns import Turn
from active_call.wire.dialogue import CallType
from active_call.wire.options import CallOption

_PACKETISATION_MS = 20.0


def record_of(call: Call) -> CallRecord:
    """Everything worth keeping about `call`, which has ended."""
    return record(
        call,
        call.id,
        call.call_type,
        error=call.news.errors[-1] if call.news.errors else None,
        option=call.option,
        recorder=_recorded(call),
        turns=call.news.turns.turns,
        extras=dict(call.variables) or None,
        dump=call.dump_path,
        parties=[record(party, party.call_id, "b2bua") for party in call.transfer.parties],
    )


def record(
    ended: Ended,
    call_id: str,
    call_type: CallType | Literal["b2bua"],
    *,
    error: str | None = None,
    option: CallOption | None = None,
    recorder: list[RecordedFile] | None = None,
    turns: Sequence[Turn] = (),
    extras: dict[str, Any] | None = None,
    dump: Path | None = None,
    parties: Sequence[CallRecord] = (),
) -> CallRecord:
    """What is known of anything that ended; `parties` it was transferred to, one after another."""
    ending, times, leg = ended.ending or CRASHED, ended.times, ended.leg
    return CallRecord(
        call_type=call_type,
        call_id=call_id,
        start_time=_moment(times.start),
        ring_time=_moment(times.ring) if times.ring is not None else None,
        answer_time=_moment(times.answer) if times.answer is not None else None,
        end_time=_moment(times.end or times.start),
        caller=ended.caller,
        callee=ended.callee,
        status_code=ending.status,
        hangup_reason=ending.record,
        hangup_by=ending.initiator,
        hangup_detail=ending.detail or None,
        error=error,
        option=option,
        codec=leg.codec if leg is not None else None,
        srtp=leg.suite if leg is not None else None,
        media=_media(leg) if leg is not None else None,
        recorder=recorder,
        turns=list(turns),
        extras=extras,
        dump_event_file=str(dump) if dump is not None else None,
        refer_callrecord=parties[-1] if parties else None,
        refer_callrecords=list(parties) or None,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _media(leg: Leg) -> MediaStatistics | None:
    counters = leg.lane.statistics
    if counters is None:
        return None
    expected = counters.packets_received + max(0, counters.lost)
    unheard = max(0, counters.lost) + counters.late
    return MediaStatistics(
        packets_received=counters.packets_received,
        packets_sent=counters.packets_sent,
        octets_received=counters.octets_received,
        octets_sent=counters.octets_sent,
        lost=counters.lost,
        late=counters.late,
        duplicate=counters.duplicate,
        invalid=counters.invalid,
        stranger=counters.stranger,
        concealed=counters.concealed,
        jitter_ms=counters.jitter_ms,
        delay_ms=counters.delay_ms,
        rtt_ms=counters.rtt_ms or None,
        remote_lost=counters.remote_lost,
        remote_jitter_ms=counters.remote_jitter_ms or None,
        srtp_rejected=counters.srtp_rejected,
        dropped=counters.dropped,
        missed=counters.missed,
        mos=round(
            mos(
                unheard / expected,
                0.0,  # what the jitter costs is in the delay of the buffer, which is known
                counters.delay_ms + counters.rtt_ms / 2 + _PACKETISATION_MS,
            ),
            2,
        )
        if counters.packets_received and isinstance(leg, SipLeg)
        else None,
    )


def _recorded(call: Call) -> list[RecordedFile] | None:
    files = [
        RecordedFile(
            track_id=call.id, path=closed.path, size=_size(closed.path), extra={"samples": closed.samples}
        )
        for closed in call.recorded
        if not closed.error
    ]
    return files or None


def _size(path: str) -> int:
    file = Path(path)
    return file.stat().st_size if file.is_file() else 0
