"""The last events of a call."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from active_call.call.parties import attendee
from active_call.call.reasons import CRASHED, reason_header
from active_call.wire import events

if TYPE_CHECKING:
    from active_call.call.call import Call


def track_end(call: "Call") -> events.TrackEnd:
    """The peer's track has ended; its duration counts from the answer."""
    assert call.leg is not None
    times = call.times
    duration = times.end - times.answer if times.end is not None and times.answer is not None else 0.0
    return events.TrackEnd(
        track_id=call.id,
        timestamp=call.now_ms(),
        duration=round(duration * 1000),
        ssrc=call.leg.lane.ssrc,
        play_id=None,
    )


def headers(call: "Call") -> dict[str, str]:
    """Of the message that ends the call: what was asked for, and the reason in words unless that is there."""
    ending = call.ending or CRASHED
    given = call.hangup_headers
    if not ending.cause or any(name.lower() == "reason" for name in given):
        return given
    return given | reason_header(ending.cause, ending.detail)


def hangup(call: "Call") -> events.Hangup:
    """The call is over: when, why, who, and its variables other than those that begin with an underscore."""
    ending, times = call.ending or CRASHED, call.times
    return events.Hangup(
        track_id=call.id,
        timestamp=call.now_ms(),
        reason=ending.reason,
        initiator=ending.initiator,
        detail=ending.detail or None,
        start_time=rfc3339(times.start),
        hangup_time=rfc3339(times.end or times.start),
        answer_time=rfc3339(times.answer) if times.answer is not None else None,
        ringing_time=rfc3339(times.ring) if times.ring is not None else None,
        from_=attendee(call.caller),
        to=attendee(call.callee),
        extra={name: value for name, value in call.variables.items() if not name.startswith("_")} or None,
    )


def rfc3339(seconds: float) -> str:
    """Unix seconds as RFC 3339 text in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
