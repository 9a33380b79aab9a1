"""From an ended call to its record."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from active_call.call.call import Call
from active_call.call.reasons import CRASHED
from active_call.core.quality import mos
from active_call.media.statistics import LaneStatistics
from active_call.records.cdr import CallRecord, MediaStatistics, RecordedFile

if TYPE_CHECKING:
    from active_call.call.refusals import RefusedCall

_PACKETISATION_MS = 20.0


def record_of(call: Call) -> CallRecord:
    """Everything worth keeping about `call`, which has ended."""
    ending = call.ending or CRASHED
    times = call.times
    statistics = call.leg.lane.statistics if call.leg is not None else None
    return CallRecord(
        call_type=call.call_type,
        call_id=call.id,
        start_time=_moment(times.start),
        ring_time=_moment(times.ring) if times.ring is not None else None,
        answer_time=_moment(times.answer) if times.answer is not None else None,
        end_time=_moment(times.end or times.start),
        caller=call.caller,
        callee=call.callee,
        status_code=ending.status,
        hangup_reason=ending.record,
        hangup_by=ending.initiator,
        hangup_detail=ending.detail or None,
        error=call.news.errors[-1] if call.news.errors else None,
        option=call.option,
        codec=call.leg.codec if call.leg is not None else None,
        srtp=call.leg.suite if call.leg is not None else None,
        media=_media(statistics, telephone=call.call_type == "sip") if statistics is not None else None,
        recorder=_recorded(call),
        turns=call.news.turns.turns,
        extras=dict(call.variables) or None,
        dump_event_file=str(call.dump_path) if call.dump_path is not None else None,
        refer_callrecord=_record_of_party(call),
    )


def record_of_refusal(call: "RefusedCall") -> CallRecord:
    """Of an inbound call that never came about."""
    return CallRecord(
        call_type="sip",
        call_id=call.sip.dialog_id,
        start_time=_moment(call.moment),
        end_time=_moment(call.moment),
        caller=call.sip.caller,
        callee=call.sip.callee,
        status_code=call.ending.status,
        hangup_reason=call.ending.record,
        hangup_by=call.ending.initiator,
        hangup_detail=call.ending.detail,
        dump_event_file=str(call.dump_path) if call.dump_path is not None else None,
    )


def _record_of_party(call: Call) -> CallRecord | None:
    """Of the party that the call was transferred to."""
    transfer = call.transfer.latest
    party = transfer.leg if transfer is not None else None
    if party is None:
        return None
    ending, times = party.ending or CRASHED, party.times
    statistics = party.leg.lane.statistics
    return CallRecord(
        call_type="b2bua",
        call_id=party.call_id,
        start_time=_moment(times.start),
        ring_time=_moment(times.ring) if times.ring is not None else None,
        answer_time=_moment(times.answer) if times.answer is not None else None,
        end_time=_moment(times.end or times.start),
        caller=party.plan.caller,
        callee=party.plan.target,
        status_code=ending.status,
        hangup_reason=ending.record,
        hangup_by=ending.initiator,
        hangup_detail=ending.detail or None,
        codec=party.leg.codec,
        srtp=party.leg.suite,
        media=_media(statistics, telephone=True) if statistics is not None else None,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _media(counters: LaneStatistics, *, telephone: bool) -> MediaStatistics:
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
        if counters.packets_received and telephone
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
