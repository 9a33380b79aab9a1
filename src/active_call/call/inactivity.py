"""Ends a call whose peer has fallen silent: not even packets of silence come."""

import asyncio
from typing import TYPE_CHECKING

from active_call.call.leg import SipLeg
from active_call.call.reasons import inactive
from active_call.call.session import is_loopback
from active_call.call.why import Silence, silence
from active_call.core.audio import TICK_SECONDS
from active_call.core.owner import Owner
from active_call.media.lane import Lane
from active_call.sip.hop import is_public
from active_call.sip.messages.uri import bracketed
from active_call.wire import events

if TYPE_CHECKING:
    from active_call.call.call import Call

_CHECK_SECONDS = 1.0


class InactivityWatch:
    """Counts from the answer on. Neither ringing nor hold, by whichever side, is inactivity."""

    _call = Owner["Call"]()

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

    def follow(self, lane: Lane | None) -> None:
        """The peer has another lane; None: it has left, and another is awaited."""
        self._lane = lane
        self._expected_since = asyncio.get_running_loop().time()

    def _check(self) -> None:
        lane = self._lane
        now = asyncio.get_running_loop().time()
        if lane is None:
            self._call.timers.after(_CHECK_SECONDS, self._check)
            return
        if self.held or (lane.configured is not None and not lane.configured.receiving):
            self._expected_since = now
        silent = min(lane.silent_ticks * TICK_SECONDS, now - self._expected_since)
        if silent > self._limit:
            call = self._call
            call.emit(events.Inactivity(track_id=call.id, timestamp=call.now_ms()))
            call.finish(inactive(self._why(lane)))
        else:
            self._call.timers.after(_CHECK_SECONDS, self._check)

    def _why(self, lane: Lane) -> str:
        leg = self._call.leg
        if not isinstance(leg, SipLeg):
            return f"the client sent no audio for {self._limit:g} s"
        counters, configured = lane.snapshot(), lane.configured
        remote = configured.remote if configured is not None else None
        host = remote[0] if remote is not None else ""
        public = is_public(host) or is_loopback(host)
        return silence(
            Silence(
                self._limit,
                counters.packets_received,
                ours=f"{bracketed(leg.local.address)}:{leg.local.port}",
                theirs=f"{bracketed(host)}:{remote[1]}" if remote is not None else "",
                private=bool(host) and not public and host != leg.sip.peer[0],
                latching=configured.latching if configured is not None else True,
                stranger=counters.stranger,
                rejected=counters.srtp_rejected,
                invalid=counters.invalid,
            )
        )
