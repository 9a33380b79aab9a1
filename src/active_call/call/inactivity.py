"""Ends a call whose peer has fallen silent: not even packets of silence come."""

import asyncio
from typing import TYPE_CHECKING

from active_call.call.reasons import inactive
from active_call.core.audio import TICK_SECONDS
from active_call.media.lane import Lane
from active_call.wire import events

if TYPE_CHECKING:
    from active_call.call.call import Call

_CHECK_SECONDS = 1.0


class InactivityWatch:
    """Counts from the answer on. Neither ringing nor hold is inactivity."""

    def __init__(self, call: "Call") -> None:
        self.held = False
        """The peer has put the call on hold, and may stop sending."""
        self._call = call
        self._lane: Lane | None = None
        self._limit = 0.0
        self._expected_since = 0.0

    def start(self, lane: Lane, seconds: float) -> None:
        """Audio is expected from now on; 0 seconds: never mind if none comes."""
        self._lane, self._limit = lane, seconds
        self._expected_since = asyncio.get_running_loop().time()
        if seconds:
            self._call.timers.after(_CHECK_SECONDS, self._check)

    def _check(self) -> None:
        assert self._lane is not None
        now = asyncio.get_running_loop().time()
        if self.held:
            self._expected_since = now
        silent = min(self._lane.silent_ticks * TICK_SECONDS, now - self._expected_since)
        if silent > self._limit:
            call = self._call
            call.emit(events.Inactivity(track_id=call.id, timestamp=call.now_ms()))
            call.finish(inactive(self._limit))
        else:
            self._call.timers.after(_CHECK_SECONDS, self._check)
