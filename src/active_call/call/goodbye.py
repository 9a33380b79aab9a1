"""The last events of a call, and of each party that it was transferred to."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from active_call.call.dialing.parties import attendee
from active_call.call.leg import Leg
from active_call.call.reasons import CRASHED, Ending, reason_header
from active_call.call.state import CallTimes
from active_call.wire import events

if TYPE_CHECKING:
    from active_call.call.call import Call


class Ended(Protocol):
    """Whatever begins, and ends for a reason: a call, a transferred party, a call that was refused."""

    @property
    def times(self) -> CallTimes: ...
    @property
    def ending(self) -> Ending | None: ...
    @property
    def caller(self) -> str: ...
    @property
    def callee(self) -> str: ...
    @property
    def leg(self) -> Leg | None: ...


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


def hangup(
    ended: Ended,
    track_id: str,
    now_ms: int,
    *,
    variables: Mapping[str, Any] | None = None,
    refer: bool | None = None,
) -> events.Hangup:
    """It is over: when, why, who, and the variables other than those that begin with an underscore."""
    ending, times = ended.ending or CRASHED, ended.times
    extra = {name: value for name, value in (variables or {}).items() if not name.startswith("_")}
    return events.Hangup(
        track_id=track_id,
        timestamp=now_ms,
        reason=ending.reason,
        initiator=ending.initiator,
        detail=ending.detail or None,
        start_time=rfc3339(times.start),
        hangup_time=rfc3339(times.end or times.start),
        answer_time=rfc3339(times.answer) if times.answer is not None else None,
        ringing_time=rfc3339(times.ring) if times.ring is not None else None,
        from_=attendee(ended.caller),
        to=attendee(ended.callee),
        extra=extra or None,
        refer=refer,
    )


def rfc3339(seconds: float) -> str:
    """Unix seconds as RFC 3339 text in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
