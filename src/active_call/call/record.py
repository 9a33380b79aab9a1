"""From an ended call to its record."""

from datetime import UTC, datetime
from pathlib import Path

from active_call.call.call import Call
from active_call.call.reasons import CRASHED
from active_call.core.quality import mos
from active_call.media.lane import LaneStatistics
from active_call.records.cdr import CallRecord, MediaStatistics, RecordedFile

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
        media=_media(statistics, call) if statistics is not None else None,
        recorder=_recorded(call),
        turns=call.news.turns.turns,
        extras=dict(call.variables) or None,
        dump_event_file=str(call.dump_path) if call.dump_path is not None else None,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _media(counters: LaneStatistics, call: Call) -> MediaStatistics:
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
        if counters.packets_received and call.call_type == "sip"
        else None,
    )


def _recorded(call: Call) -> list[RecordedFile] | None:
    closed = call.recorded
    if closed is None or closed.error:
        return None
    path = Path(closed.path)
    size = path.stat().st_size if path.is_file() else 0
    return [RecordedFile(track_id=call.id, path=closed.path, size=size, extra={"samples": closed.samples})]
