"""The party that a call is transferred to: a telephone call of its own, mixed with the caller here.

Its events carry `refer: true` and the server side's track id. Each ends with exactly one of `reject`, if the
other side did not answer, and `hangup`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from active_call.call import goodbye, message
from active_call.call.audio.listening import Listening
from active_call.call.audio.mix import Mix
from active_call.call.dialing.plan import DialPlan
from active_call.call.info import KeyWays, digit_of_info
from active_call.call.leg import SipLeg
from active_call.call.reasons import Ending, ending_of_dialog, failed, rejected
from active_call.call.renegotiation import renegotiate
from active_call.call.state import CallTimes
from active_call.core.errors import RemoteProtocolError
from active_call.core.owner import Owner
from active_call.lanes import messages as lane_messages
from active_call.lanes.messages import LaneEvent
from active_call.media.lane import Lane
from active_call.sdp.crypto import without_keys
from active_call.sip import events as sip_events
from active_call.sip.agent import SipAgent
from active_call.sip.events import SipEvent
from active_call.wire import events
from active_call.wire.options import CallOption, ReferOption, merge

if TYPE_CHECKING:
    from active_call.call.call import Call

_NO_HEADERS: Mapping[str, str] = {}
_RELEASED = Ending("refer", "system", "byRefer", detail="this party went on as the other side of the call")


class LegOwner(Protocol):
    """Is told how the leg fares, in turn with everything else that happens in the call."""

    def leg_rings(self, early_media: bool) -> None:
        """It rings; `early_media`: and is to be heard already."""
        ...

    def leg_answered(self) -> None:
        """Its audio flows; nobody hears it yet."""
        ...

    def leg_failed(self, status: int, reason: str) -> None:
        """It was never answered, and is closed."""
        ...

    def leg_ended(self) -> None:
        """The other side hung up; the leg is closed."""
        ...

    def leg_held(self, held: bool) -> None:
        """The other side holds the call, or takes it back."""
        ...

    def leg_pressed(self, digit: str) -> None:
        """The other side pressed a key."""
        ...

    def leg_asks(self, leg: SipLeg, request: sip_events.ReferReceived) -> None:
        """The other side asks for a transfer."""
        ...


class TransferLeg:
    """One transferred party. Methods return at once and are called by the call."""

    _call = Owner["Call"]()

    def __init__(
        self,
        call: "Call",
        leg: SipLeg,
        plan: DialPlan,
        options: ReferOption,
        owner: LegOwner,
        clock: Callable[[], float],
    ) -> None:
        self.leg = leg
        self.plan = plan
        self.call_id = ""
        self.times = CallTimes(clock())
        self.ending: Ending | None = None
        self.held = False
        self.connected = False
        """Caller and this party hear each other."""
        self.handed_over = False
        """The caller's own phone is about to take our place: of the end of this leg nobody is told."""
        self._call = call
        self._options = options
        self._owner = owner
        self._clock = clock
        self._mix = Mix(leg.lane)
        self._listening: Listening | None = None
        self._track_since: float | None = None
        self._key_ways = KeyWays()

    @property
    def caller(self) -> str:
        """As whom we call it."""
        return self.plan.caller

    @property
    def callee(self) -> str:
        """Whom we call."""
        return self.plan.target

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.ending is not None

    # --- commands -------------------------------------------------------------------------------------

    def dial(self, agent: SipAgent, call_id: str) -> None:
        """Call. Raises what SipAgent.invite does; then the lane is given back."""
        self.call_id = call_id
        self.leg.lane.listener = self._on_lane
        try:
            self.leg.dial(agent, self.plan, call_id=call_id, listener=self._on_sip)
        except BaseException:
            self.leg.lane.close()
            raise

    def let_be_heard(self) -> None:
        """The caller hears what this party says."""
        if self._track_since is None:
            self._track_since = self._clock()
            self._call.emit(
                events.TrackStart(
                    track_id=self._call.server_side_track, timestamp=self._call.now_ms(), refer=True
                )
            )
        self._call.effects.mix.add(self.leg.lane)

    def silence(self) -> None:
        """The caller hears it no more."""
        self._call.effects.mix.remove(self.leg.lane)

    def connect(self) -> None:
        """Both hear each other, and what this party says is listened to, if that was asked for."""
        call, options = self._call, self._options
        self.connected = True
        self.let_be_heard()
        assert call.leg is not None
        self._mix.add(call.leg.lane)
        call.emit(
            events.Answer(
                track_id=call.server_side_track,
                timestamp=call.now_ms(),
                sdp=without_keys((self.leg.sip.remote_sdp or b"").decode("utf-8", "replace")),
                refer=True,
            )
        )
        if options.vad is not None or options.asr is not None:
            self._listen()

    def _listen(self) -> None:
        call, options = self._call, self._options
        if options.denoise:
            self.leg.lane.denoise("webrtc")
        self._listening = Listening(call, self.leg.lane, track_id=call.server_side_track, refer=True)
        asr = merge(call.option.asr, options.asr) if options.asr is not None else None
        self._listening.start(CallOption(vad=options.vad, asr=asr))

    def hang_up(self, ending: Ending, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        """End it from our side: CANCEL or BYE, and `hangup`."""
        if not self.over:
            self.leg.hang_up(headers)
            answered = self.times.answer is not None
            self._close(ending if answered else replace(ending, record="canceled", status=487))
            self._tell_hangup()

    def close(self, ending: Ending) -> None:
        """The call is over, and this with it, whoever was about to take our place."""
        if self.handed_over and self.over:
            self._tell_end()
        self.handed_over = False
        self.hang_up(ending)

    def replace(self, leg: SipLeg) -> None:
        """Somebody takes this party's place (RFC 3891)."""
        old, self.leg = self.leg, leg
        old.sip.listener = lambda event: None
        old.lane.listener = None
        leg.lane.listener = self._on_lane
        leg.accept(self._on_sip)
        self._call.effects.mix.replace(old.lane, leg.lane)
        self._mix.move(leg.lane)
        if self._listening is not None:
            self._listening.stop()
            self._listen()
        old.hang_up(_NO_HEADERS)
        old.lane.close()
        self._tell_hold()

    def caller_moved(self, old: Lane, new: Lane) -> None:
        """The caller has got another lane."""
        self._mix.replace(old, new)

    def release(self) -> SipLeg:
        """Let go of dialog and lane, which go on without this; `hangup` says that nobody is transferred to."""
        self._let_go(_RELEASED)
        self._mix.clear()
        self._tell_hangup()
        return self.leg

    def fail(self, status: int, reason: str) -> None:
        """End it before it was answered: CANCEL, and `reject`."""
        if not self.over:
            self.leg.hang_up(_NO_HEADERS)
            self._reject(status, reason, rejected(status, reason, ours=True))

    # --- what happens ---------------------------------------------------------------------------------

    def _on_sip(self, event: SipEvent) -> None:
        if not self.over:  # else it may be all that is left of the call
            self._call.timers.soon(partial(self._handle_sip, self.leg, event))

    def _on_lane(self, event: LaneEvent) -> None:
        if not self.over:
            self._call.timers.soon(partial(self._handle_lane, self.leg, event))

    def _handle_sip(self, leg: SipLeg, event: SipEvent) -> None:
        if self.over or leg is not self.leg:  # it was replaced meanwhile
            return
        match event:
            case sip_events.Ringing():
                self._rings(event)
            case sip_events.Answered():
                self._answered(event.sdp)
            case sip_events.Rejected():
                ending = rejected(event.status, event.reason, event.headers)
                self._reject(event.status, event.reason, ending)
                self._owner.leg_failed(event.status, event.reason)
            case sip_events.OfferReceived() | sip_events.OfferAnswered() | sip_events.OfferRefused():
                renegotiate(self._call, self.leg, event)
                self._tell_hold()
            case sip_events.Acknowledged():
                self._acknowledged()
            case sip_events.InfoReceived():
                digit = digit_of_info(event.content_type, event.body)
                if digit is not None:
                    self._pressed(digit, "info")
            case sip_events.MessageReceived() | sip_events.MessageAnswered():
                message.tell(self._call, event, refer=True)
            case sip_events.ReferReceived():
                self._owner.leg_asks(self.leg, event)
            case sip_events.Ended():
                self._ended(event)
            case _:
                pass

    def _handle_lane(self, leg: SipLeg, event: LaneEvent) -> None:
        if self.over or leg is not self.leg:
            return
        match event:
            case lane_messages.SpeechStarted() if self._listening is not None:
                self._listening.speech_started(event)
            case lane_messages.SpeechEnded() if self._listening is not None:
                self._listening.speech_ended(event)
            case lane_messages.DigitReceived():
                self._pressed(event.digit, "audio")
            case _:
                pass

    def _rings(self, event: sip_events.Ringing) -> None:
        if self.times.answer is not None:
            return  # of another branch of a forked call
        if self.times.ring is None:
            self.times.ring = self._clock()
        audible = event.sdp is not None
        self._call.emit(
            events.Ringing(
                track_id=self._call.server_side_track,
                timestamp=self._call.now_ms(),
                early_media=audible,
                refer=True,
            )
        )
        if event.sdp is not None:
            try:
                self.leg.early(event.sdp)
            except RemoteProtocolError as error:
                self._call.log.info("- early media of %s can't be heard: %s", self.plan.target, error)
                audible = False
        self._owner.leg_rings(audible)

    def _answered(self, sdp: bytes | None) -> None:
        try:
            if sdp is None:
                raise RemoteProtocolError("No answer received", 488)
            self.leg.answered(sdp)
        except RemoteProtocolError as error:
            self.fail(error.status, str(error))
            self._owner.leg_failed(error.status, str(error))
            return
        if self.times.answer is None:  # else another branch of a forked call has answered, too
            self.times.answer = self._clock()
            self._owner.leg_answered()

    def _acknowledged(self) -> None:
        first = self.leg.negotiated is None
        try:
            self.leg.acknowledged()
        except RemoteProtocolError as error:
            self._call.complain("refer", str(error), error.status)
            if first:  # one who has taken the party's place, and is never heard
                self.hang_up(failed(str(error)))
                self._owner.leg_ended()
                return
        self._tell_hold()

    def _tell_hold(self) -> None:
        held = self.leg.held
        if held is not self.held:
            self.held = held
            self._call.emit(
                events.Hold(
                    track_id=self._call.server_side_track,
                    timestamp=self._call.now_ms(),
                    on_hold=held,
                    refer=True,
                )
            )
            self._owner.leg_held(held)

    def _pressed(self, digit: str, way: str) -> None:
        call = self._call
        if not self._key_ways.is_news(way, digit, self._clock()):
            return
        call.emit(
            events.Dtmf(track_id=call.server_side_track, timestamp=call.now_ms(), digit=digit, refer=True)
        )
        self._owner.leg_pressed(digit)

    def _ended(self, event: sip_events.Ended) -> None:
        if self.times.answer is None:
            self._reject(487, event.reason, rejected(487, event.reason, ours=True))
            self._owner.leg_failed(487, event.reason)
            return
        self._close(ending_of_dialog(event, inbound=False, answered=True))
        self._tell_hangup()
        self._owner.leg_ended()

    # --- the end --------------------------------------------------------------------------------------

    def _reject(self, status: int, reason: str, ending: Ending) -> None:
        call = self._call
        self._close(ending)
        call.emit(
            events.Reject(
                track_id=call.server_side_track,
                timestamp=call.now_ms(),
                reason=reason,
                code=status,
                refer=True,
            )
        )
        self._tell_track_end()

    def _tell_hangup(self) -> None:
        self._tell_track_end()
        if not self.handed_over:
            self._tell_end()

    def _tell_end(self) -> None:
        call = self._call
        call.emit(goodbye.hangup(self, call.server_side_track, call.now_ms(), refer=True))

    def _tell_track_end(self) -> None:
        if self._track_since is None:
            return
        now = self.times.end or self._clock()
        self._call.emit(
            events.TrackEnd(
                track_id=self._call.server_side_track,
                timestamp=self._call.now_ms(),
                duration=round((now - self._track_since) * 1000),
                ssrc=self.leg.lane.ssrc,
                refer=True,
            )
        )

    def _close(self, ending: Ending) -> None:
        self._let_go(ending)
        self.leg.lane.close()

    def _let_go(self, ending: Ending) -> None:
        self.ending = ending
        self.connected = False
        self.times.end = self._clock()
        if self._listening is not None:
            self._listening.stop()
        self.silence()
