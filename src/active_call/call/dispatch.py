"""What each command does to a call. What can't be done now is one `error` event, and the call goes on."""

from collections import deque
from typing import TYPE_CHECKING

from active_call.call import message
from active_call.call.reasons import ending_of_command
from active_call.call.state import CallState
from active_call.core.channel import ChannelFull
from active_call.core.errors import ActiveCallError, LocalProtocolError
from active_call.core.owner import Owner
from active_call.outbound.guard import Origin
from active_call.wire import commands, events
from active_call.wire.commands import Command, Play, Tts

if TYPE_CHECKING:
    from active_call.call.call import Call

_WAITING_LIMIT = 1000


class Dispatch:
    """Carries out the commands of one call, in order."""

    _call = Owner["Call"]()

    def __init__(self, call: "Call") -> None:
        self._call = call
        self._waiting: deque[tuple[Tts | Play, Origin]] = deque()
        """For the answer of a call that is being set up."""

    def carry_out(self, command: Command, origin: Origin) -> None:
        """Do it, or tell why not. `origin`: who gives it."""
        try:
            self._do(command, origin)
        except (ActiveCallError, ChannelFull) as error:
            self._call.complain("command", f"{command.command}: {error}")

    def _do(self, command: Command, origin: Origin) -> None:
        call = self._call
        match command:
            case commands.Invite() | commands.Start():
                call.setup.invite(command)
            case commands.Accept():
                call.setup.accept(command)
            case commands.Reject():
                call.setup.reject(command)
            case commands.Ringing():
                call.setup.ringing(command)
            case Tts() | Play():
                self._speak(command, origin)
            case commands.Interrupt():
                self._interrupt(command)
            case commands.Pause():
                call.player.pause()
            case commands.Resume():
                call.player.resume()
            case commands.Hangup():
                self._hang_up(command)
            case commands.Mute():
                call.effects.mute(command.track_id, muted=True)
            case commands.Unmute():
                call.effects.mute(command.track_id, muted=False)
            case commands.History():
                call.emit(
                    events.AddHistory(
                        timestamp=call.now_ms(), sender=call.id, speaker=command.speaker, text=command.text
                    )
                )
            case commands.Custom():
                call.emit(
                    events.Custom(
                        track_id=call.id, timestamp=call.now_ms(), sender=command.sender, data=command.data
                    )
                )
            case commands.Refer():
                call.transfer.refer(command, origin)
            case commands.Bridge():
                call.bridge.begin(command.target_session_id)
            case commands.Unbridge():
                call.bridge.end(command.target_session_id)
            case commands.SendDtmf():
                leg = call.transfer.party(refer=command.refer)
                leg.press(
                    command.digits.upper(),
                    mode=command.mode,
                    duration_ms=command.duration,
                    gap_ms=command.gap,
                )
            case commands.Message():
                message.send(call, command)
            case commands.AddIceCandidate():
                raise LocalProtocolError("WebRTC media is not there yet")

    # --- playback -------------------------------------------------------------------------------------

    def _speak(self, command: Tts | Play, origin: Origin) -> None:
        call = self._call
        if call.setup.media_flows:
            self._play(command, origin)
        elif call.leg is None:
            raise LocalProtocolError("the call has not begun; send invite, start or accept first")
        elif len(self._waiting) >= _WAITING_LIMIT:
            raise LocalProtocolError(
                f"{_WAITING_LIMIT} commands wait for the answer already; this one is dropped"
            )
        else:
            self._waiting.append((command, origin))

    def _play(self, command: Tts | Play, origin: Origin) -> None:
        call = self._call
        call.listening.input_came()
        if isinstance(command, Tts):
            call.player.tts(command)
        else:
            call.player.play(command, origin=origin)

    def play_waiting(self) -> None:
        """The call is answered: what was to be played before is played now."""
        while self._waiting and self._call.state is CallState.TALKING:
            self.carry_out(*self._waiting.popleft())

    def tell_unplayed(self, why: str) -> None:
        """What waited is played no more: one `error` event tells how much."""
        if self._waiting:
            self._call.complain(
                "command", f"{why}: {len(self._waiting)} tts and play commands were never played"
            )
            self._waiting.clear()

    def _interrupt(self, command: commands.Interrupt) -> None:
        self.tell_unplayed("interrupt")
        self._call.transfer.interrupted()
        if self._call.leg is not None and self._call.setup.media_flows:
            self._call.player.interrupt(graceful=command.graceful, fade_ms=command.fade_out_ms)
            if self._call.effects.media_pass is not None:
                self._call.effects.media_pass.interrupt()

    def _hang_up(self, command: commands.Hangup) -> None:
        if command.refer:
            self._call.transfer.hang_up(command)
            return
        self._call.hangup_headers |= command.headers or {}
        self._call.finish(ending_of_command(command))
