"""What the peer does: by its SIP dialog, and by its audio."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from active_call.call import message
from active_call.call.info import KeyWays, digit_of_info
from active_call.call.leg import SipLeg
from active_call.call.reasons import canceled, ending_of_dialog
from active_call.call.renegotiation import renegotiate
from active_call.core.owner import Owner
from active_call.lanes import messages as lane_messages
from active_call.lanes.messages import LaneEvent
from active_call.lanes.table import LaneRef
from active_call.sip import events as sip_events
from active_call.sip.events import SipEvent
from active_call.wire import events

if TYPE_CHECKING:
    from active_call.call.call import Call


class Peer:
    """The peer of one call. What it does is handed over here, in order."""

    _call = Owner["Call"]()

    def __init__(self, call: "Call", clock: Callable[[], float]) -> None:
        self._call = call
        self._clock = clock
        self._media_ready = False
        self._key_ways = KeyWays()

    # --- signalling -----------------------------------------------------------------------------------

    def on_sip(self, event: SipEvent) -> None:
        """In the SIP dialog."""
        call = self._call
        match event:
            case sip_events.OfferReceived() | sip_events.OfferAnswered() | sip_events.OfferRefused():
                assert isinstance(call.leg, SipLeg)
                renegotiate(call, call.leg, event)
                self.tell_hold()
            case sip_events.InfoReceived():
                digit = digit_of_info(event.content_type, event.body)
                if digit is not None:
                    self._pressed(digit, "info")
            case sip_events.MessageReceived() | sip_events.MessageAnswered():
                message.tell(call, event)
            case sip_events.ReferReceived():
                assert isinstance(call.leg, SipLeg)
                call.transfer.requested(call.leg, event)
            case sip_events.ReferProgress():
                call.transfer.progressed(event)
            case sip_events.Ended():
                self._ended(event)
            case _:
                call.setup.on_sip(event)

    def tell_hold(self) -> None:
        """Tell that the peer holds the call, or no longer does, if that is news."""
        call = self._call
        held = isinstance(call.leg, SipLeg) and call.leg.held
        if held is not call.held:
            call.inactivity.held = held
            call.emit(events.Hold(track_id=call.id, timestamp=call.now_ms(), on_hold=held))
            call.bridge.update()

    def _ended(self, event: sip_events.Ended) -> None:
        call = self._call
        if event.by == "canceled":
            call.finish(canceled(call.seconds, event.reason))
            return
        ending = ending_of_dialog(event, inbound=call.inbound, answered=call.times.answer is not None)
        if not ending.failure:
            ending = call.transfer.peer_ended() or ending
        if ending.failure or not call.transfer.outlives_peer(ending):
            call.finish(ending)

    # --- audio ----------------------------------------------------------------------------------------

    def on_lane(self, event: LaneEvent) -> None:
        """In its audio, or ours for it."""
        call = self._call
        if call.leg is None or call.leg.lane.ref != LaneRef(event.row, event.generation):
            return  # of a former peer
        match event:
            case lane_messages.MarkPlayed():
                call.player.mark_played(event)
            case lane_messages.Flushed():
                call.player.flushed(event)
            case lane_messages.SpeechStarted():
                call.listening.speech_started(event)
            case lane_messages.SpeechEnded():
                call.listening.speech_ended(event)
            case lane_messages.DigitReceived():
                self._pressed(event.digit, "audio")
            case lane_messages.MediaStarted():
                self.tell_media_ready()
            case _:
                call.log.debug("- %s", event)

    def tell_media_ready(self) -> None:
        """Its first audio has come."""
        if not self._media_ready:
            self._media_ready = True
            self._call.emit(events.MediaReady(track_id=self._call.id, timestamp=self._call.now_ms()))

    def _pressed(self, digit: str, way: str) -> None:
        call = self._call
        if not self._key_ways.is_news(way, digit, self._clock()):
            return
        if call.has_audio:
            call.listening.pressed(digit)
        else:
            call.emit(events.Dtmf(track_id=call.id, timestamp=call.now_ms(), digit=digit))
        call.transfer.pressed(digit)
