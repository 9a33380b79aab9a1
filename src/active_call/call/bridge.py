"""Bridges: the peers of two calls hear each other, besides what each call plays. Signalling is untouched.

In each call there is a track from the other one, `bridge:<from>:to:<this>`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from active_call.call.state import CallState
from active_call.core.errors import LocalProtocolError
from active_call.core.owner import Owner
from active_call.media.lane import Lane
from active_call.wire import events

if TYPE_CHECKING:
    from active_call.call.call import Call

FindCall = Callable[[str], "Call | None"]


class Bridge:
    """One call's side of a bridge, if there is one."""

    _call = Owner["Call"]()

    def __init__(self, call: "Call", find: FindCall, clock: Callable[[], float]) -> None:
        self.partner: Call | None = None
        self._call = call
        self._find = find
        self._clock = clock
        self._since = 0.0

    def begin(self, target_id: str) -> None:
        """Bridge with another call; what either was bridged with before is left.

        Raises LocalProtocolError if there is no such call, it is this one, or either is not answered.
        """
        call = self._call
        if target_id == call.id:
            raise LocalProtocolError("a call can't be bridged with itself")
        other = self._find(target_id)
        if other is None:
            raise LocalProtocolError(f'there is no live call "{target_id}"')
        for each in (call, other):
            if each.state is not CallState.TALKING:
                raise LocalProtocolError(f'the call "{each.id}" is {each.state}; both must be answered')
        self.leave()
        other.bridge.leave()
        self._join(other)
        other.bridge._join(call)
        self.update()

    def end(self, target_id: str) -> None:
        """Take both apart. Raises LocalProtocolError if they are not bridged."""
        if self.partner is None or self.partner.id != target_id:
            raise LocalProtocolError(f'the call is not bridged with "{target_id}"')
        self.leave()

    def leave(self) -> None:
        """End the bridge, if there is one; the other call lives on."""
        partner = self.partner
        if partner is not None:
            self._part()
            partner.bridge._part()

    def update(self) -> None:
        """Either side may have been put on hold, or taken back: then nothing passes."""
        partner, leg = self.partner, self._call.leg
        if partner is None or partner.leg is None or leg is None:
            return
        for call, other in ((self._call, partner.leg.lane), (partner, leg.lane)):
            if self._call.held or partner.held:
                call.effects.mix.remove(other)
            else:
                call.effects.mix.add(other)

    def moved(self, old: Lane, new: Lane) -> None:
        """This call's peer has got another lane."""
        if self.partner is not None:
            self.partner.effects.mix.replace(old, new)

    def _join(self, other: "Call") -> None:
        self.partner = other
        self._since = self._clock()
        call = self._call
        call.emit(events.TrackStart(track_id=self._track(other), timestamp=call.now_ms()))

    def _part(self) -> None:
        call, other = self._call, self.partner
        assert other is not None
        self.partner = None
        if other.leg is not None:
            call.effects.mix.remove(other.leg.lane)
        call.emit(
            events.TrackEnd(
                track_id=self._track(other),
                timestamp=call.now_ms(),
                duration=round((self._clock() - self._since) * 1000),
                ssrc=call.leg.lane.ssrc if call.leg is not None else 0,
            )
        )

    def _track(self, other: "Call") -> str:
        return f"bridge:{other.id}:to:{self._call.id}"
