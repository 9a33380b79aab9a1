"""One transfer, step by step: from the `refer` command to its end."""

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from active_call.call.dialing.plan import DialPlan
from active_call.call.leg import Leg, SipLeg
from active_call.call.reasons import Ending
from active_call.call.services import CallServices
from active_call.call.succession import go_on_with
from active_call.call.timers import Timer
from active_call.call.transfer.hold_music import HoldMusic
from active_call.call.transfer.leg import TransferLeg
from active_call.call.transfer.request import TransferRequest
from active_call.core.errors import LocalProtocolError, MediaError
from active_call.core.owner import Owner
from active_call.media.lane import Lane
from active_call.outbound.guard import Origin
from active_call.sip.dialogs.replaces import with_replaces
from active_call.sip.events import ReferProgress, ReferReceived
from active_call.wire import commands, events
from active_call.wire.options import ReferOption

if TYPE_CHECKING:
    from active_call.call.call import Call

_TIMEOUT = "Timeout when refer"
_KEY_MS, _GAP_MS = 160, 60


class Transfer:
    """Made by Transfers."""

    _call = Owner["Call"]()

    def __init__(
        self,
        call: "Call",
        services: CallServices,
        command: commands.Refer,
        origin: Origin,
        plan: DialPlan,
        request: TransferRequest | None,
    ) -> None:
        self.plan = plan
        self.request = request
        self.leg: TransferLeg | None = None
        self.connecting = True
        self.over = False
        self.taken = False
        """The peer's phone has said that it will carry it out."""
        self._call = call
        self._services = services
        self._options = command.options or ReferOption()
        self._origin = origin
        self._timer: Timer | None = None
        self._phone: SipLeg | None = None
        """Who was asked to carry it out."""
        self._left: Ending | None = None
        """The peer, who had asked for it, has hung up and leaves the call to the other party."""
        self._rang = False

    @property
    def connected(self) -> bool:
        """Whether the caller and the other party hear each other here."""
        return self.leg is not None and self.leg.connected

    # --- commands -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Call the other party, or ask the peer's phone to. Raises ActiveCallError if that can't be."""
        if self._options.mode != "bridge":
            self._phone_of_peer()
        if self._options.mode == "blind":
            self._ask_phone(self.plan.target)
        else:
            self._dial()

    def begun(self) -> None:
        """While it is being set up: music, and no recognition if so asked."""
        call, options = self._call, self._options
        self._timer = call.timers.after(options.timeout, self._timed_out)
        if options.pause_parent_asr:
            call.rest(on=True)
        if options.moh:
            self._music.play(options.moh, self._origin)

    def hang_up(self, ending: Ending, headers: Mapping[str, str]) -> None:
        """End it; the call goes on. Raises LocalProtocolError if the peer's phone carries it out."""
        if self.leg is None or self.leg.over:
            raise LocalProtocolError("the peer's phone carries the transfer out; it can't be stopped here")
        self.leg.handed_over = False
        self.leg.hang_up(ending, headers)
        self._finish()
        self._tell_request(487, "Request Terminated")

    def close(self, ending: Ending) -> None:
        """The call is over."""
        if self.leg is not None:
            self.leg.close(ending)
        self.over = True

    def progressed(self, event: ReferProgress) -> None:
        """The peer's phone tells how it goes."""
        if self.over or self._phone is None:
            return
        if not event.final:
            self.taken = True
            if 180 <= event.status < 200:
                self._tell_ringing()
        elif 200 <= event.status < 300:
            call = self._call
            call.emit(
                events.Answer(track_id=call.server_side_track, timestamp=call.now_ms(), sdp="", refer=True)
            )
            ending = transferred(self.plan.target)
            if self.leg is not None:
                # The phone has replaced it; if the other party knows no Replaces, it has two calls now.
                self.leg.hang_up(ending)
                self.leg.ending = ending
            self._finish()
            call.finish(ending)
        elif event.status < 200:
            self._phone_failed(408, "the peer's phone stopped telling how the transfer goes")
        else:
            self._phone_failed(event.status, event.reason)

    def forward(self, digit: str, *, from_leg: bool) -> None:
        """One side pressed a key: press it on the other."""
        call = self._call
        if self.leg is None or not self.leg.connected or not self._options.forward_dtmf or call.leg is None:
            return
        source, target = (self.leg.leg, call.leg) if from_leg else (call.leg, self.leg.leg)
        if _digits_are_tones(source) and not _takes_events(target) and not call.option.mask_dtmf:
            return  # the tone itself is heard on the other side
        try:
            target.press(digit, mode="auto", duration_ms=_KEY_MS, gap_ms=_GAP_MS)
        except MediaError as error:
            call.complain("refer", f"key {digit} can't be passed on: {error}")

    def outlives_peer(self, ending: Ending) -> bool:
        """The peer hung up. If it had asked for this transfer, the other party becomes the peer.

        Before its answer the call waits for that, and ends like `ending` if it never comes. False: it was not
        asked for.
        """
        if self.leg is None or self.request is None or self.request.leg is not self._call.leg:
            return False
        if self.connected:
            self._become_peer()
            return True
        if self.connecting and not self.leg.handed_over:
            self._left = ending
            self._call.inactivity.follow(None)
            self._music.stop()
            return True
        return False

    def caller_moved(self, old: Lane, new: Lane) -> None:
        """Somebody has taken the peer's place."""
        if self.leg is not None:
            self.leg.caller_moved(old, new)
        if self._options.pause_parent_asr:
            self._call.rest(on=True)
        if self._phone is not None:
            self._phone_failed(487, "another telephone has taken its place")

    # --- how the leg fares (transfer_leg.LegOwner) ----------------------------------------------------

    def leg_rings(self, early_media: bool) -> None:
        self._tell_request(180, "Ringing")
        if self._options.moh or self.leg is None or self._left is not None:
            return
        if early_media:
            self._music.stop()
            self.leg.let_be_heard()
        elif not self._rang:
            self._rang = True
            self._music.ring()

    def leg_answered(self) -> None:
        assert self.leg is not None
        if self._left is not None:
            self._connect()
            self._become_peer()
            return
        if self._options.mode == "bridge":
            self._connect()
            return
        if not self._options.moh:
            self._music.stop()
        self.leg.silence()
        self.leg.handed_over = True
        sip = self.leg.leg.sip
        try:
            self._ask_phone(with_replaces(sip.remote_target or self.plan.target, sip.replaces_value))
        except LocalProtocolError as error:
            self._phone_failed(491, str(error))

    def leg_failed(self, status: int, reason: str) -> None:
        self._finish()
        self._tell_request(status, reason)

    def leg_ended(self) -> None:
        if self._phone is not None and self.connecting:
            return  # the peer's phone has taken our place there, and will say so; or it will fail
        self._finish()
        if self._options.auto_hangup:
            self._call.finish(self._party_left())

    def leg_held(self, held: bool) -> None:
        assert self.leg is not None
        if not self._options.moh or not self.leg.connected:
            return  # the caller hears what the holder sends
        if held:
            self.leg.silence()
            self._music.play(self._options.moh, self._origin)
        else:
            self._music.stop()
            self.leg.let_be_heard()

    def leg_pressed(self, digit: str) -> None:
        self.forward(digit, from_leg=True)

    def leg_asks(self, leg: SipLeg, request: ReferReceived) -> None:
        self._call.transfer.requested(leg, request, refer=True)

    # --- steps ----------------------------------------------------------------------------------------

    @property
    def _music(self) -> HoldMusic:
        return self._call.transfer.music

    def _dial(self) -> None:
        call, services, options = self._call, self._services, self._options
        media = services.media.encrypting(options.sip.enable_srtp if options.sip is not None else None)
        leg = SipLeg.open(services.plane, self.plan.address, media)
        self.leg = TransferLeg(call, leg, self.plan, options, self, services.clock.wall)
        session = "".join(char if "!" <= char <= "~" else "-" for char in call.id)
        call_id = options.call_id or services.trunks.sip_call_id(f"ref-{secrets.randbits(32)}-{session}")
        call.on_dialog(call_id)
        self.leg.dial(services.agent(), call_id)

    def _connect(self) -> None:
        assert self.leg is not None
        self._end_setup()
        self.leg.connect()
        self._tell_request(200, "OK")

    def _phone_of_peer(self) -> SipLeg:
        leg = self._call.leg
        if not isinstance(leg, SipLeg):
            raise LocalProtocolError(
                f'mode "{self._options.mode}" is for telephone calls, whose phone can be asked; use "bridge"'
            )
        return leg

    def _ask_phone(self, refer_to: str) -> None:
        self._phone = self._phone_of_peer()
        headers = (self._options.sip.headers if self._options.sip is not None else None) or {}
        us = self._call.callee if self._call.inbound else self._call.caller
        self._phone.sip.refer(refer_to, referred_by=us or None, headers=headers)

    def _phone_failed(self, status: int, reason: str) -> None:
        self.taken = False
        if self.leg is not None and not self.leg.over:
            self._call.complain(
                "refer",
                f"attended: the peer's phone did not take over ({status} {reason}); it is bridged here",
                status,
            )
            self._phone = None
            self.leg.handed_over = False
            self._connect()
        else:
            self._reject(status, reason)

    def _timed_out(self) -> None:
        if self._phone is not None:
            self._phone_failed(408, _TIMEOUT)
        elif self.leg is not None:
            self.leg.fail(408, _TIMEOUT)
            self._finish()
            self._tell_request(408, _TIMEOUT)

    def _reject(self, status: int, reason: str) -> None:
        call = self._call
        track = call.server_side_track
        call.emit(
            events.Reject(track_id=track, timestamp=call.now_ms(), reason=reason, code=status, refer=True)
        )
        self._finish()
        self._tell_request(status, reason)

    def _tell_ringing(self) -> None:
        call = self._call
        call.emit(
            events.Ringing(
                track_id=call.server_side_track, timestamp=call.now_ms(), early_media=False, refer=True
            )
        )

    def _tell_request(self, status: int, reason: str) -> None:
        if self.request is not None:
            self.request.tell(status, reason)

    def _end_setup(self) -> None:
        self.connecting = False
        self._call.timers.cancel(self._timer)
        self._music.stop()

    def _finish(self) -> None:
        self._end_setup()
        self.over = True
        if self._options.pause_parent_asr:
            self._call.rest(on=False)
        if self._left is not None:
            self._call.finish(self._left)

    def _party_left(self) -> Ending:
        assert self.leg is not None
        ending = self.leg.ending
        assert ending is not None
        how = f"was lost: {ending.detail}" if ending.failure else "hung up"
        detail = f"the party that the call was transferred to {how}"
        return Ending("refer", ending.initiator, "byRefer", detail=detail)

    def _become_peer(self) -> None:
        """The peer has left, and this party takes its place."""
        assert self.leg is not None
        self._left = None
        self._finish()
        go_on_with(self._call, self.leg.release())


def transferred(target: str) -> Ending:
    """The peer's phone has called `target`."""
    return Ending("refer", "system", "byRefer", detail=f"the other side was transferred to {target}")


def _digits_are_tones(leg: Leg) -> bool:
    configured = leg.lane.configured
    return configured is None or configured.inband_digits


def _takes_events(leg: Leg) -> bool:
    return leg.lane.configured is not None and leg.lane.configured.sends_events is not None
