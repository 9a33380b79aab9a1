"""What the call tells of its peer: speech and silence, words, keys, the end of a turn, an answering machine.

Also the waiting for input that a playback may ask for (`waitInputTimeout`).
"""

from typing import TYPE_CHECKING

from active_call.call.audio.hearing import Hearing, HearingFailed, Recognised
from active_call.call.timers import Timer
from active_call.core.audio import Pcm
from active_call.core.owner import Owner, weakly
from active_call.lanes import messages as lane_messages
from active_call.media.lane import Lane
from active_call.speech.amd import MachineDetector, Verdict
from active_call.speech.providers import AsrResult
from active_call.wire import events
from active_call.wire.options import AmdOption, CallOption, VadOption

if TYPE_CHECKING:
    from active_call.call.call import Call

_AMD_SECONDS = 0.2
_TURN_END_MS = 300
"""After the words of an utterance, silence of so long ends the turn, if the client asked for `eou`."""


class Listening:
    """The ears of one call: for its peer, or with `refer` for the party that it was transferred to."""

    _call = Owner["Call"]()

    def __init__(
        self, call: "Call", lane: Lane, *, track_id: str | None = None, refer: bool | None = None
    ) -> None:
        self._call = call
        self._lane = lane
        self._track_id = track_id or call.id
        self._refer = refer
        self._hearing = Hearing(lane, call, weakly(self._later))
        self._option = CallOption()
        self._wait_input: Timer | None = None
        self._silence: Timer | None = None
        self._turn_end: Timer | None = None
        self._machine: MachineDetector | None = None
        self._watch: Timer | None = None
        self._stopped = False
        self._silent_since = 0
        self._index = 0
        self._uttering = False
        self._turn = ""
        self.expect = self._hearing.expect

    def start(self, option: CallOption) -> None:
        """Begin: detection of speech, recognition, answering machines on outbound calls."""
        self._option = option
        amd = AmdOption() if option.amd is True else option.amd
        vad = option.vad
        if isinstance(amd, AmdOption) and amd.enabled and not self._call.inbound:
            vad = vad or VadOption()
            self._machine = MachineDetector(amd)
            self._machine.answered(self._call.now_ms())
            self._hearing.overhear(self._listen_for_beep)
            self._watch_machine()
        complaint = self._hearing.start(vad, option.asr)
        if complaint:
            self._call.complain("vad", complaint)
        if option.eou is not None and option.eou.type:
            self._call.complain(
                "eou", f'eou.type "{option.eou.type}" is not there yet; silence after words ends a turn instead'
            )

    def stop(self) -> None:
        """Hear no more, and tell no more."""
        self._stopped = True
        self._hearing.stop()
        for timer in (self._wait_input, self._silence, self._turn_end, self._watch):
            self._call.timers.cancel(timer)

    def _later(self, notice: Recognised | HearingFailed) -> None:
        """In its turn, among everything else that happens."""
        self._call.timers.soon(lambda: self.heard(notice))

    def heard(self, notice: Recognised | HearingFailed) -> None:
        """The recogniser says something, or can't go on."""
        if self._stopped:
            return
        if isinstance(notice, Recognised):
            self.recognised(notice.result)
        else:
            self.failed(notice)

    def pause(self) -> None:
        """The recogniser rests until `resume`; speech is told all the same."""
        self._hearing.pause()

    def resume(self) -> None:
        """The recogniser goes on."""
        self._hearing.resume()

    # --- speech ---------------------------------------------------------------------------------------

    def speech_started(self, event: lane_messages.SpeechStarted) -> None:
        """The detector hears somebody speak."""
        self.input_came()
        self._cancel_silence()
        self._cancel_turn_end()
        self._hearing.speech_started(event)
        start = self._lane.wall_ms(event.position)
        if self._machine is not None:
            self._judge(self._machine.speech_started(start))
        self._call.emit(
            events.Speaking(
                track_id=self._track_id,
                refer=self._refer,
                timestamp=self._call.now_ms(),
                start_time=start,
                confidence=round(event.probability, 3),
            )
        )

    def speech_ended(self, event: lane_messages.SpeechEnded) -> None:
        """The detector hears nobody any more."""
        self._hearing.speech_ended(event)
        self._silent_since = self._lane.wall_ms(event.end)
        if self._machine is not None:
            self._judge(self._machine.speech_ended(self._silent_since))
        self._tell_silence()

    def _tell_silence(self) -> None:
        now = self._call.now_ms()
        self._call.emit(
            events.Silence(
                track_id=self._track_id,
                refer=self._refer,
                timestamp=now,
                start_time=self._silent_since,
                duration=max(0, now - self._silent_since),
            )
        )
        timeout = self._option.vad.silence_timeout if self._option.vad else None
        if timeout:
            self._silence = self._call.timers.after(timeout / 1000, self._tell_silence)

    def _cancel_silence(self) -> None:
        self._call.timers.cancel(self._silence)
        self._silence = None

    # --- words ----------------------------------------------------------------------------------------

    def recognised(self, result: AsrResult) -> None:
        """The recogniser says something."""
        text = result.text.strip()
        if not text:
            return
        self.input_came()
        start, end = self._lane.wall_ms(result.start), self._lane.wall_ms(result.end)
        if self._machine is not None:
            self._judge(self._machine.recognised(text, end))
        if not self._uttering:
            self._measure("ttfb", start)
        self._uttering = not result.final
        kind = events.AsrFinal if result.final else events.AsrDelta
        self._call.emit(
            kind(
                track_id=self._track_id,
                refer=self._refer,
                timestamp=self._call.now_ms(),
                index=self._index,
                start_time=start,
                end_time=end,
                text=text,
                confidence=result.confidence,
            )
        )
        if result.final:
            self._measure("completed", end, index=self._index)
            self._index += 1
            self._await_turn_end(text)

    def failed(self, notice: HearingFailed) -> None:
        """The recogniser can't go on."""
        self._call.complain("asr", notice.error, 500)

    def _measure(self, what: str, since: int, **data: int) -> None:
        assert self._option.asr is not None
        now = self._call.now_ms()
        key = f"{what}.asr.{self._option.asr.provider}"
        self._call.emit(events.Metrics(timestamp=now, key=key, duration=max(0, now - since), data=data))

    def _await_turn_end(self, text: str) -> None:
        """The turn is over when nothing more is said for a while."""
        if self._option.eou is None:
            return
        self._cancel_turn_end()
        self._turn = f"{self._turn} {text}".strip()
        timeout = self._option.eou.timeout
        self._turn_end = self._call.timers.after(
            (_TURN_END_MS if timeout is None else timeout) / 1000, self._tell_turn_end
        )

    def _tell_turn_end(self) -> None:
        text, self._turn = self._turn, ""
        self._call.emit(
            events.Eou(
                track_id=self._track_id,
                refer=self._refer,
                timestamp=self._call.now_ms(),
                completed=True,
                complete=True,
                text=text,
            )
        )

    def _cancel_turn_end(self) -> None:
        self._call.timers.cancel(self._turn_end)
        self._turn_end = None

    # --- keys, and waiting for input ------------------------------------------------------------------

    def pressed(self, digit: str) -> None:
        """A key, by RFC 4733 or SIP INFO."""
        self.input_came()
        now = self._call.now_ms()
        self._call.emit(events.Dtmf(track_id=self._track_id, timestamp=now, digit=digit, refer=self._refer))

    def await_input(self, seconds: float) -> None:
        """Tell `silence` on the server side's track if no input comes for so long."""
        self.input_came()
        self._wait_input = self._call.timers.after(seconds, lambda: self._waited(seconds))

    def input_came(self) -> None:
        """Input, or new playback: nothing is waited for any more."""
        self._call.timers.cancel(self._wait_input)
        self._wait_input = None

    def _waited(self, seconds: float) -> None:
        now = self._call.now_ms()
        duration = round(seconds * 1000)
        self._call.emit(
            events.Silence(
                track_id=self._call.server_side_track,
                timestamp=now,
                start_time=now - duration,
                duration=duration,
            )
        )

    # --- answering machines ---------------------------------------------------------------------------

    def _watch_machine(self) -> None:
        assert self._machine is not None
        self._judge(self._machine.tick(self._call.now_ms()))
        if self._machine.finished:
            self._hearing.overhear(None)
        else:
            self._watch = self._call.timers.after(_AMD_SECONDS, self._watch_machine)

    def _listen_for_beep(self, pcm: Pcm, position: int) -> None:
        # Called with audio, between notices: what it finds waits for its turn like everything else.
        assert self._machine is not None
        verdict = self._machine.audio(pcm, self._lane.wall_ms(position))
        if verdict is not None:
            self._call.timers.soon(lambda: self._judge(verdict))

    def _judge(self, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        self._call.log.info("- answered by a %s: %s", "machine" if verdict.machine else "person", verdict.text)
        if verdict.machine:
            self._call.emit(
                events.AnswerMachineDetection(
                    track_id=self._call.id,
                    timestamp=self._call.now_ms(),
                    start_time=verdict.start_ms,
                    end_time=verdict.end_ms,
                    text=verdict.text,
                )
            )
