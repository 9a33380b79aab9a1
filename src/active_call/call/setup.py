"""How a call comes about: invited or started by a client, dialled, ringing, accepted or refused.

All methods are called by the call, in order, and return at once; what peers answer comes back as SIP events.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from active_call.call.dialing.plan import plan_call
from active_call.call.leg import AudioLeg, SipLeg
from active_call.call.reasons import (
    CLIENT_GONE,
    NO_PENDING_CALL,
    Ending,
    failed,
    not_answered,
    reason_header,
    refused,
    rejected,
    unusable_answer,
)
from active_call.call.services import CallServices, Lead
from active_call.call.state import CallInput, CallState
from active_call.call.timers import Timer
from active_call.core.errors import ActiveCallError, LocalProtocolError, RemoteProtocolError
from active_call.core.owner import Owner
from active_call.lanes.external import PCM_RATES, ExternalCodec
from active_call.outbound.guard import Origin
from active_call.sdp.crypto import without_keys
from active_call.sip import events as sip_events
from active_call.sip.dialogs.usage import UsageState
from active_call.sip.events import SipEvent
from active_call.wire import commands, events
from active_call.wire.commands import Play
from active_call.wire.options import CallOption, merge

if TYPE_CHECKING:
    from active_call.call.call import Call

_UNAVAILABLE, _CANCELED, _DECLINED = 480, 487, 603
_BUILT_INS = {"session_id", "call_type", "start_time"}
_UNANSWERED = (UsageState.CALLING, UsageState.EARLY)


class Setup:
    """Brings one call up to its answer."""

    _call = Owner["Call"]()

    def __init__(self, call: "Call", services: CallServices) -> None:
        self.playbook: str | None = None
        """Waits for this call: leads it unless its option names another."""
        self.written_by_client = False
        """The playbook that leads was given as text: what it asks for, a client asks for."""
        self._call = call
        self._services = services
        self._clients_own: set[str] = set()
        self._accept_timer: Timer | None = None
        self._ringtone = False
        self._awaits_ack = False
        self._early_media = False

    @property
    def media_flows(self) -> bool:
        """Whether what is played now is heard."""
        return self._call.state is CallState.TALKING or self._early_media

    @property
    def _pending(self) -> SipLeg | None:
        """The leg of an inbound call that is not answered yet."""
        call = self._call
        waiting = call.inbound and call.state in (CallState.NEW, CallState.RINGING) and not self._awaits_ack
        return call.leg if waiting and isinstance(call.leg, SipLeg) else None

    # --- options --------------------------------------------------------------------------------------

    def lead(self, lead: Lead) -> None:
        """A playbook leads the call; its options lie below those of commands."""
        self._call.option = merge(lead.option, self._call.option) or CallOption()
        self._call.lead_by(lead.dialogue)

    def lead_by_name(self, playbook: str) -> None:
        """The playbook that a client named, or wrote, leads the call. Raises as FindLead does."""
        lead = self._services.find_playbook(playbook, self._call.variables)
        if _is_text(playbook):
            self.written_by_client = True
            self._clients_own |= lead.option.model_fields_set
        self.lead(lead)

    def add_extra(self, option: CallOption) -> None:
        """The variables that a client gives, beside the built-in ones."""
        extra = option.extra or {}
        self._call.variables.update({name: extra[name] for name in extra.keys() - _BUILT_INS})

    def origin(self, field: str) -> Origin:
        """Who gave a field of the call's option: a client, or the operator's playbook or configuration."""
        return Origin.CLIENT if field in self._clients_own else Origin.OPERATOR

    def _take(self, option: CallOption) -> bool:
        """The option of a command, and the playbook it names. False if that can't be: the call ends."""
        call = self._call
        self._clients_own |= option.model_fields_set
        self.add_extra(option)
        call.option = merge(call.option, option) or option
        name = option.playbook or self.playbook
        if name is not None and not call.led:
            try:
                self.lead_by_name(name)
            except (ActiveCallError, OSError) as error:
                text = "there is no such playbook" if isinstance(error, FileNotFoundError) else str(error)
                call.complain("playbook", f"{_shown(name)}: {text}")
                call.finish(failed(f"playbook {_shown(name)}: {text}"))
                return False
        if call.option.realtime is not None:
            call.complain("realtime", "realtime models are not there yet; asr and tts are used")
        self._watch_handshake()
        return True

    def _watch_handshake(self) -> None:
        limit = self._call.option.handshake_timeout
        if limit:
            passed = self._services.clock.wall() - self._call.times.start
            self._call.timers.after(max(0.0, limit - passed), self._handshake_over)

    def _handshake_over(self) -> None:
        media_pass = self._call.effects.media_pass
        connected = media_pass is None or media_pass.connected.is_set()
        if self._call.state is not CallState.TALKING or not connected:
            what = "answered" if connected else "connected to the media pass"
            limit = self._call.option.handshake_timeout
            self._call.complain("invite", f"handshakeTimeout: not {what} within {limit:g} s", 408)
            self._call.finish(not_answered(f"the call was not {what} within {limit:g} s (handshakeTimeout)"))

    # --- a client begins ------------------------------------------------------------------------------

    def invite(self, command: commands.Invite | commands.Start) -> None:
        """Dial, or take up the client's audio."""
        call = self._call
        if call.leg is not None or call.state is not CallState.NEW:
            what = "waits to be accepted" if self._pending is not None else f"is {call.state} already"
            raise LocalProtocolError(f"the call {what}")
        if not self._take(command.option):
            return
        try:
            if call.call_type == "sip":
                self._dial()
            elif call.call_type == "webSocket":
                self._take_up_audio()
            else:
                raise LocalProtocolError("WebRTC media comes later; use /call or /call/sip")
        except ActiveCallError as error:
            call.complain("invite", str(error))
            call.finish(failed(str(error)))

    def _dial(self) -> None:
        call, option, agent = self._call, self._call.option, self._services.agent()
        plan = plan_call(option, agent, self._services.trunks)
        call.caller, call.callee = plan.caller, plan.target
        call.variables.update(caller=call.caller, callee=call.callee)
        media = self._services.media.preferring(option.codec)
        media = media.encrypting(option.sip.enable_srtp if option.sip is not None else None)
        if option.codec is not None and option.codec.lower() not in media.codecs:
            offered = ", ".join(media.codecs)
            call.complain(
                "invite", f'codec "{option.codec}": can\'t be offered to a telephone; offered: {offered}'
            )
        leg = SipLeg.open(self._services.plane, plan.address, media)
        call.take_leg(leg)
        call.advance(CallInput.DIAL)
        call.open_track()
        leg.dial(agent, plan, call_id=self._services.trunks.sip_call_id(call.id), listener=call.on_sip)

    def _take_up_audio(self) -> None:
        call, option = self._call, self._call.option
        call.caller, call.callee = option.caller or "", option.callee or ""
        codec, rate_hz = self._audio_format(option)
        call.take_leg(AudioLeg.open(self._services.plane, codec, rate_hz))
        call.open_track()
        self._talk(b"")

    def _audio_format(self, option: CallOption) -> tuple[ExternalCodec, int]:
        """Codec and rate of the client's audio; what we can't do is complained about and replaced."""
        asked = (option.codec or "pcmu").lower()
        codec: ExternalCodec = "pcmu"
        for known in get_args(ExternalCodec):
            if asked == known:
                codec = known
        if asked != codec:
            known_names = ", ".join(get_args(ExternalCodec))
            self._call.complain(
                "invite", f'codec "{option.codec}": not for /call, pcmu is used; use {known_names}'
            )
        rate_hz = option.sample_rate or 16_000
        if codec == "pcm" and rate_hz not in PCM_RATES:
            rates = ", ".join(str(rate) for rate in PCM_RATES)
            self._call.complain("invite", f"sampleRate {rate_hz}: 16000 is used; use {rates}")
            rate_hz = 16_000
        return codec, rate_hz

    # --- an inbound call ------------------------------------------------------------------------------

    def pick_up(self) -> None:
        """Inbound, led by a playbook: answer at once."""
        self.announce()
        self._answer()

    def announce(self) -> None:
        """Inbound: tell who leads that there is a call."""
        call, leg = self._call, self._pending
        if leg is None:
            return
        offer = without_keys((leg.sip.remote_sdp or b"").decode("utf-8", "replace"))
        call.emit(
            events.Incoming(
                track_id=call.id, timestamp=call.now_ms(), caller=call.caller, callee=call.callee, sdp=offer
            )
        )

    def wait_for_client(self, announce: Callable[[], Awaitable[None]]) -> None:
        """Inbound: while a webhook is told, a client may come, and has so long to accept."""
        assert self._pending is not None
        self._pending.sip.listener = self._call.on_sip
        self._await_accept()
        self._call.spawn(self._announced(announce), "webhook")

    def _await_accept(self) -> None:
        timers = self._call.timers
        timers.cancel(self._accept_timer)
        self._accept_timer = timers.after(self._services.accept_seconds, self._nobody_came)

    async def _announced(self, announce: Callable[[], Awaitable[None]]) -> None:
        try:
            await announce()
        except ActiveCallError as error:
            if self._call.led_by_client:  # it was told all the same, before the webhook failed
                self._call.complain("webhook", str(error))
                return
            reason = f"Failed to process invite: {error}"
            self._call.complain("webhook", str(error), 503)
            self._call.end(refused(503, reason))  # before SIP tells that the call is over
            self.refuse(503, reason)

    def _nobody_came(self) -> None:
        if self._pending is not None:
            seconds = self._services.accept_seconds
            detail = f"accept timeout: nobody accepted the call within {seconds:g} s (accept_timeout)"
            self.refuse(408, "accept timeout", detail)
            self._call.finish(not_answered(detail))

    def ringing(self, command: commands.Ringing) -> None:
        """180, or with early media 183; the time to accept begins anew."""
        call, leg = self._call, self._required("ringing")
        self._await_accept()
        call.advance(CallInput.RING)
        if call.times.ring is None:
            call.times.ring = self._services.clock.wall()
        call.open_track()
        if not (command.early_media or command.ringtone):
            leg.sip.ring()
            return
        if not leg.progress():
            call.complain("ringing", "the caller made no offer, so it can't hear anything before the answer")
            return
        self._early_media = True
        call.take_ears()
        if command.recorder is not None:
            call.effects.record(command.recorder, Origin.CLIENT)
        if command.ringtone:
            self._ringtone = True
            call.player.play(Play(url=command.ringtone), loop=True, origin=Origin.CLIENT)

    def accept(self, command: commands.Accept) -> None:
        """200. With no call to accept: `reject`, an error and the end."""
        call = self._call
        if self._pending is None:
            if call.state is not CallState.NEW:
                raise LocalProtocolError(f"the call is {call.state} already")
            call.emit(
                events.Reject(track_id=call.id, timestamp=call.now_ms(), reason="no pending call", code=486)
            )
            call.complain("accept", f'no inbound call with the dialog id "{call.id}" is waiting', 486)
            call.finish(NO_PENDING_CALL)
        elif self._take(command.option):
            self._answer()

    def _answer(self) -> None:
        call, leg = self._call, self._pending
        assert leg is not None
        try:
            leg.encrypt(call.option.sip.enable_srtp if call.option.sip is not None else None)
        except RemoteProtocolError as error:
            self.refuse(error.status, str(error))
            call.finish(refused(error.status, str(error)))
            return
        if not leg.accept(call.on_sip):
            return  # the caller has given up: the listener was told
        call.open_track()
        if leg.negotiated is None:
            self._awaits_ack = True  # it has our offer now, and answers it in its ACK
            return
        if self._ringtone:
            call.player.interrupt(graceful=False, fade_ms=None)
        self._talk(leg.local_sdp)

    def _acknowledged(self) -> None:
        """The ACK may have the answer to an offer of ours."""
        call, leg = self._call, self._call.leg
        assert isinstance(leg, SipLeg)
        first = leg.negotiated is None
        try:
            leg.acknowledged()
        except RemoteProtocolError as error:
            call.complain("accept", str(error), error.status)
            if first:
                call.finish(failed(str(error)))
            return
        if call.state is CallState.TALKING:  # a re-INVITE, or somebody who has taken the call over
            call.peer.tell_hold()
        else:
            self._talk(leg.local_sdp)

    def reject(self, command: commands.Reject) -> None:
        """Refuse the call."""
        self._required("reject")
        status = command.code or _DECLINED
        self.refuse(status, command.reason)
        self._call.finish(refused(status, command.reason))

    def refuse(self, status: int, reason: str, detail: str = "") -> None:
        """Answer an inbound call that waits with a failure; harmless if none does."""
        call = self._call
        if call.inbound and isinstance(call.leg, SipLeg) and call.leg.sip.state in _UNANSWERED:
            call.leg.sip.reject(status, reason, headers=reason_header(status, detail or reason))

    def give_up(self, ending: Ending) -> Ending:
        """The call ends. Was it never answered, a caller is told why, and the ending has the status of that."""
        call, status = self._call, _CANCELED
        if call.times.answer is not None or isinstance(call.leg, AudioLeg):
            return ending
        if call.inbound:
            assert isinstance(call.leg, SipLeg)
            if call.leg.sip.state not in _UNANSWERED:
                return ending
            words = "handler disconnected" if ending is CLIENT_GONE else ending.detail
            status = _DECLINED if ending is CLIENT_GONE else ending.cause or _UNAVAILABLE
            if ending.cause:
                self.refuse(status, words)
        return ending if ending.status != 200 else replace(ending, status=status)

    def _required(self, command: str) -> SipLeg:
        leg = self._pending
        if leg is None:
            raise LocalProtocolError(
                f"no inbound call waits (the call is {self._call.state}); {command} is for one"
            )
        return leg

    # --- what the callee answers ----------------------------------------------------------------------

    def on_sip(self, event: SipEvent) -> None:
        """Ringing, answered, rejected or acknowledged."""
        match event:
            case sip_events.Ringing():
                self._rings(event)
            case sip_events.Answered():
                self._answered(event.sdp)
            case sip_events.Rejected():
                self._rejected(event)
            case sip_events.Acknowledged():
                self._acknowledged()
            case _:
                pass

    def _rings(self, event: sip_events.Ringing) -> None:
        call = self._call
        if call.times.ring is None:
            call.times.ring = self._services.clock.wall()
        call.advance(CallInput.RING)
        early = event.sdp is not None and self._hear_early(event.sdp)
        call.emit(events.Ringing(track_id=call.id, timestamp=call.now_ms(), early_media=early))

    def _hear_early(self, sdp: bytes) -> bool:
        """Whether the callee is heard before it answers."""
        call = self._call
        assert isinstance(call.leg, SipLeg)
        try:
            call.leg.early(sdp)
        except RemoteProtocolError as error:
            call.log.warning("- early media can't be heard: %s", error)
            return False
        return True

    def _answered(self, sdp: bytes | None) -> None:
        call = self._call
        assert isinstance(call.leg, SipLeg)
        if sdp is None:
            call.complain("invite", "the callee answered without SDP", 488)
            call.finish(unusable_answer(488, "it has no SDP"))
            return
        try:
            call.leg.answered(sdp)
        except RemoteProtocolError as error:
            call.complain("invite", str(error), error.status)
            call.finish(unusable_answer(error.status, str(error)))
            return
        if call.state is CallState.TALKING:
            call.peer.tell_hold()  # a second callee answered as well, and is who the call goes on with
        else:
            self._talk(sdp)

    def _rejected(self, event: sip_events.Rejected) -> None:
        call, status, reason = self._call, event.status, event.reason
        call.emit(events.Reject(track_id=call.id, timestamp=call.now_ms(), reason=reason, code=status))
        offered = call.leg.offered if isinstance(call.leg, SipLeg) else ""
        call.finish(rejected(status, reason, event.headers, ours=event.ours, offered=offered))

    def _talk(self, sdp: bytes) -> None:
        """Both sides hear each other from now on."""
        call = self._call
        call.advance(CallInput.ANSWER)
        if isinstance(call.leg, SipLeg):
            call.log.info("- audio: %s", call.leg.describe())
        call.times.answer = self._services.clock.wall()
        call.take_ears()
        call.effects.record(call.option.recorder, self.origin("recorder"))
        shown = without_keys(sdp.decode("utf-8", "replace"))
        call.emit(events.Answer(track_id=call.id, timestamp=call.now_ms(), sdp=shown))
        call.begin_talking()


def _is_text(playbook: str) -> bool:
    """Whether it is not a name."""
    return playbook.lstrip().startswith("---")


def _shown(playbook: str) -> str:
    return "the playbook given as text" if _is_text(playbook) else f'"{playbook}"'
