"""Transfers: the caller is connected with somebody else.

`bridge`: a second telephone call is mixed with the caller here, and we stay between them. `blind`: the caller's
phone is asked (SIP REFER) to call the other party by itself. `attended`: we call the other party, and when it
answers, the caller's phone is asked to take our place (REFER with Replaces); if it won't, both are bridged.

All of it goes on beside the call: commands are carried out meanwhile. A transfer that fails leaves the caller
with who leads the call.
"""

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from active_call.call.audio.track import Track
from active_call.call.dialing.plan import DialPlan, plan_call
from active_call.call.leg import Leg, SipLeg
from active_call.call.reasons import Ending, ending_of_command
from active_call.call.services import CallServices
from active_call.call.state import CallState
from active_call.call.timers import Timer
from active_call.call.transfer.hold_music import HoldMusic
from active_call.call.transfer.leg import TransferLeg
from active_call.call.transfer.request import TransferRequest
from active_call.call.transfer.transfer import Transfer, transferred
from active_call.core.errors import LocalProtocolError
from active_call.core.owner import Owner
from active_call.media.lane import Lane
from active_call.outbound.guard import Origin
from active_call.sip.agent import SipCall
from active_call.sip.events import ReferProgress, ReferReceived
from active_call.wire import commands, events
from active_call.wire.options import CallOption, ReferOption

if TYPE_CHECKING:
    from active_call.call.call import Call

PARTIES_KEPT = 100
"""The latest ones: nobody knows how often a call is transferred."""
_REPLACED = Ending("refer", "system", "byRefer", detail="another transfer took its place")


class Transfers:
    """The transfers of one call, one at a time, and its peer's wishes for some."""

    _call = Owner["Call"]()

    def __init__(self, call: "Call", services: CallServices) -> None:
        self.music = HoldMusic(call, services)
        self.latest: Transfer | None = None
        self.parties: deque[TransferLeg] = deque(maxlen=PARTIES_KEPT)
        """Whom we called, one after another."""
        self._call = call
        self._services = services
        self._request: TransferRequest | None = None
        self._request_timer: Timer | None = None

    @property
    def current(self) -> Transfer | None:
        """The transfer that is being set up or connected."""
        return self.latest if self.latest is not None and not self.latest.over else None

    def refer(self, command: commands.Refer, origin: Origin) -> None:
        """Transfer the call; a party that is connected already is hung up on.

        Raises ActiveCallError if that can't even begin.
        """
        call, current = self._call, self.current
        if call.state is not CallState.TALKING:
            raise LocalProtocolError(f"the call is {call.state}; only an answered call can be transferred")
        if current is not None and current.connecting:
            raise LocalProtocolError(
                f'a transfer to "{current.plan.target}" is being set up; wait for its answer or reject'
                + (", or end it with hangup and refer: true" if current.leg is not None else "")
            )
        plan = self._plan(command)
        request = self._request
        if request is not None and not any(map(request.asks_for, (command.callee, plan.target))):
            request = None  # it asked for somebody else
        if request is not None:
            plan = replace(plan, headers={**request.headers, **plan.headers})
        transfer = Transfer(call, self._services, command, origin, plan, request)
        transfer.begin()
        if request is not None:
            self._forget_request()
        if current is not None:
            current.hang_up(_REPLACED, {})
        call.player.interrupt()
        if call.effects.media_pass is not None:
            call.effects.media_pass.interrupt()
        self.latest = transfer
        if transfer.leg is not None:
            self.parties.append(transfer.leg)
        transfer.begun()

    def _plan(self, command: commands.Refer) -> DialPlan:
        call, options = self._call, command.options or ReferOption()
        asked = CallOption(callee=command.callee, caller=command.caller or call.caller or None, sip=options.sip)
        plan = plan_call(asked, self._services.agent(), self._services.trunks)
        referred = {
            "X-Referred-To": call.callee,
            "X-Referred-From": call.caller,
            "X-Referred-Id": call.id,
        }
        return replace(
            plan, headers={**{name: value for name, value in referred.items() if value}, **plan.headers}
        )

    def hang_up(self, command: commands.Hangup) -> None:
        """End the transfer, not the call. Raises LocalProtocolError if there is none."""
        if self.current is None:
            raise LocalProtocolError("refer: nothing is being transferred")
        self.current.hang_up(ending_of_command(command), command.headers or {})

    def party(self, *, refer: bool) -> Leg:
        """The peer, or with `refer` the transferred party. Raises LocalProtocolError if there is none."""
        leg: Leg | None = self._call.leg
        if refer:
            current = self.current
            leg = current.leg.leg if current is not None and current.leg is not None else None
        if leg is None:
            raise LocalProtocolError("refer: nobody is transferred to" if refer else "the call has not begun")
        return leg

    # --- what happens ---------------------------------------------------------------------------------

    def progressed(self, event: ReferProgress) -> None:
        """The peer's phone tells how the transfer goes that it was asked for."""
        if self.latest is not None:
            self.latest.progressed(event)

    def pressed(self, digit: str) -> None:
        """The peer pressed a key."""
        if self.current is not None:
            self.current.forward(digit, from_leg=False)

    def interrupted(self) -> None:
        """All playback was interrupted, and music with it."""
        self.music.forget()

    def track_ended(self, track: Track, *, complete: bool) -> None:
        """Something that was played has ended."""
        self.music.track_ended(track, complete=complete)

    def peer_ended(self) -> Ending | None:
        """The peer hung up: why, if a transfer is the reason."""
        current = self.current
        return transferred(current.plan.target) if current is not None and current.taken else None

    def outlives_peer(self, ending: Ending) -> bool:
        """The peer hung up. Whether the call goes on with the party that it had asked to be connected with.

        If that does not answer yet, and never will, the call ends like `ending`.
        """
        return self.current is not None and self.current.outlives_peer(ending)

    def replace(self, replaced: SipCall, leg: SipLeg) -> bool:
        """Somebody takes the transferred party's place. False if that is not whose dialog is `replaced`."""
        party = self.current.leg if self.current is not None else None
        if party is None or not party.connected or party.leg.sip is not replaced:
            return False
        party.replace(leg)
        return True

    def caller_moved(self, old: Lane, new: Lane) -> None:
        """The peer has got another lane."""
        if self.current is not None:
            self.current.caller_moved(old, new)
        self.music.go_on()

    def close(self, ending: Ending) -> None:
        """The call is over."""
        self.music.forget()
        if self._request is not None:
            self._request.decline()
        if self.current is not None:
            self.current.close(ending)

    # --- the peer asks --------------------------------------------------------------------------------

    def requested(self, leg: SipLeg, event: ReferReceived, *, refer: bool | None = None) -> None:
        """REFER: tell who leads; without a `refer` command to the same party in time it is declined."""
        call = self._call
        if self._request is not None:
            self._request.decline()
            self._forget_request()
        self._request = TransferRequest(leg, event)
        self._request_timer = call.timers.after(self._services.accept_seconds, self._nobody_wants)
        call.emit(
            events.TransferRequest(
                track_id=call.server_side_track if refer else call.id,
                timestamp=call.now_ms(),
                refer_to=event.refer_to,
                referred_by=event.referred_by,
                refer=refer,
            )
        )

    def _nobody_wants(self) -> None:
        if self._request is not None:
            self._request.decline()
            self._request = None

    def _forget_request(self) -> None:
        self._call.timers.cancel(self._request_timer)
        self._request = self._request_timer = None
