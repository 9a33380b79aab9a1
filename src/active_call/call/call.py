"""A call: one inbox, one task group, one state machine, and the only place that acts.

Everything that happens (commands of the dialogue, SIP events, events of the lane, notices of provider tasks,
timers) is put into the inbox and handled here, in order, by plain methods that return at once. Slow work runs
in tasks of the call's group and reports back through the inbox. When the inbox loop ends, playback is flushed
and BYE sent at once; then the tasks are cancelled and the recording is finished, each step bounded.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from active_call.call.hearing import Hearing, HearingFailed, Recognised
from active_call.call.info import digit_of_info
from active_call.call.leg import SipLeg
from active_call.call.player import Player, Track
from active_call.call.reasons import (
    AUTO_HANGUP,
    CANCELED,
    CRASHED,
    NO_ACK,
    Ending,
    ending_by_peer,
    ending_of_command,
    failed,
    inactive,
    rejected,
)
from active_call.call.state import CallInput, CallState, next_state
from active_call.core.audio import TICK_SECONDS
from active_call.core.channel import ChannelFull, ControlChannel
from active_call.core.clock import Clock
from active_call.core.errors import ActiveCallError, RemoteProtocolError
from active_call.core.log import CallLog
from active_call.lanes import messages as lane_messages
from active_call.lanes.messages import LaneEvent
from active_call.records.dump import Dump
from active_call.records.turns import TurnRecorder
from active_call.sip import events as sip_events
from active_call.sip.events import SipEvent
from active_call.wire import commands, events
from active_call.wire.commands import Command
from active_call.wire.dialogue import Dialogue, Running
from active_call.wire.events import Attendee, Event
from active_call.wire.options import CallOption

_INBOX_LIMIT = 4000
_RECORDING_SECONDS = 2.0
_DIALOGUE_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class _Timer:
    """A timer of the call, and the notice that it ran out."""

    action: Callable[[], None]
    handle: asyncio.TimerHandle | None = None


_Notice: TypeAlias = Command | LaneEvent | SipEvent | Recognised | HearingFailed | _Timer | Ending


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """Where and how a call is recorded."""

    path: str
    rate_hz: int = 16_000
    flush_ms: int = 200


@dataclass(slots=True)
class CallTimes:
    """Unix times in seconds; None until it happened."""

    start: float
    ring: float | None = None
    answer: float | None = None
    end: float | None = None


class Call:
    """One call between a peer and a dialogue. Made and run by CallManager."""

    def __init__(
        self,
        call_id: str,
        leg: SipLeg,
        dialogue: Dialogue,
        *,
        option: CallOption,
        inbound: bool,
        caller: str,
        callee: str,
        variables: dict[str, Any],
        clock: Clock,
        dump: Dump,
        recording: RecordingPlan | None,
        inactivity_seconds: float = 50.0,
        server_side_track: str = "serverSideTrack",
    ) -> None:
        self._id = call_id
        self.leg = leg
        self.lane = leg.lane
        self.option = option
        self.inbound = inbound
        self.caller = caller
        self.callee = callee
        self.times = CallTimes(clock.wall())
        self.turns = TurnRecorder()
        self.recording = recording
        self.recorded: lane_messages.RecordingClosed | None = None
        self.ending: Ending | None = None
        self.errors: list[str] = []
        self.state = CallState.NEW
        self.dump = dump
        self.dump_path = dump.path
        self.log = CallLog(logging.getLogger(__name__), call_id)
        self.observers: list[Callable[[Event], None]] = []
        self._variables = variables
        self._dialogue = dialogue
        self._clock = clock
        self._inbox: ControlChannel[_Notice] = ControlChannel(_INBOX_LIMIT)
        self._server_side_track = server_side_track
        self._inactivity_seconds = inactivity_seconds
        self._player = Player(self, self.lane, server_side_track, self._track_ended)
        self._hearing = Hearing(self.lane, self, self._post)
        self._tasks: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._timers: set[_Timer] = set()
        self._wait_input: _Timer | None = None
        self._silence: _Timer | None = None
        self._silent_since = 0
        self._asr_index = 0
        self._held = False
        self._media_expected_since = 0.0
        self._track_open = False
        self._hangup_headers: dict[str, str] = {}

    # --- what the dialogue sees (wire.dialogue.CallPort) ----------------------------------------------

    @property
    def id(self) -> str:
        return self._id

    @property
    def variables(self) -> dict[str, Any]:
        return self._variables

    def send(self, command: Command) -> None:
        self.dump.command(command)
        self._post(command)

    def emit(self, event: Event) -> None:
        self.dump.event(event)
        self.turns.observe(event)
        if isinstance(event, events.Error):
            self.errors.append(event.error)
            self.log.warning("! %s: %s", event.sender, event.error)
        for receive in (self._dialogue.receive, *self.observers):
            try:
                receive(event)
            except Exception:
                # Whoever fails to listen ends the call; the others are still told how.
                self.log.exception("- %s was not taken", event.event)
                self.end(CRASHED)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> Running:
        if self._tasks is None:
            work.close()
            raise ActiveCallError("the call is not running")
        task = self._tasks.create_task(work, name=f"{self._id} {name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def expect(self, phrases: Sequence[str]) -> None:
        self._hearing.expect(phrases)

    def now_ms(self) -> int:
        return round(self._clock.wall() * 1000)

    # --- inputs ---------------------------------------------------------------------------------------

    def on_sip(self, event: SipEvent) -> None:
        """Listener of the SIP dialog."""
        self._post(event)

    def on_lane(self, event: LaneEvent) -> None:
        """Listener of the lane."""
        if isinstance(event, lane_messages.RecordingClosed):
            self.recorded = event
            if event.error:
                self.errors.append(f"recording {event.path}: {event.error}")
        self._post(event)

    def end(self, ending: Ending) -> None:
        """Ask the call to end; the first reason wins."""
        self._post(ending)

    def _post(self, notice: _Notice) -> None:
        try:
            self._inbox.put(notice)
        except ChannelFull:
            self.log.error("- inbox overflow at %s: the call ends", type(notice).__name__)
            self._end(CRASHED)

    # --- life -----------------------------------------------------------------------------------------

    async def run(self, begin: Callable[[], None]) -> None:
        """Lead the call to its end: `begin` is `pick_up`, or dials.

        Never raises on what peers, dialogues and providers do.
        """
        self.lane.listener = self.on_lane
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self.spawn(self._lead(), "dialogue")
                self._begin(begin)
                while self.state not in (CallState.ENDING, CallState.ENDED):
                    self._handle(await self._inbox.get())
                self._leave()
                await self._stop_tasks()
        except* Exception as group:
            for error in group.exceptions:
                self.log.error("- a task of the call failed", exc_info=error)
            self.errors.append("; ".join(str(error) for error in group.exceptions))
            self._end(CRASHED)
        finally:
            self._tasks = None
            self._leave()
        await self._wrap_up()

    def _begin(self, begin: Callable[[], None]) -> None:
        try:
            begin()
        except ActiveCallError as error:
            self._fail("invite", str(error))
            self._end(failed(str(error)))

    async def _lead(self) -> None:
        try:
            await self._dialogue.run(self)
        except ActiveCallError as error:
            self._fail("playbook", str(error))
            self.end(failed(str(error)))

    def _leave(self) -> None:
        """Fall silent and say goodbye, once."""
        if self.times.end is not None:
            return
        self.times.end = self._clock.wall()
        for timer in list(self._timers):
            self._cancel(timer)
        self._hearing.stop()
        self.lane.flush()
        self.lane.stop_recording()
        self.leg.hang_up(self._hangup_headers)
        self.lane.close()

    async def _stop_tasks(self) -> None:
        for task in self._running:
            task.cancel()
        if self._running:
            _, stuck = await asyncio.wait(list(self._running), timeout=_DIALOGUE_SECONDS)
            for task in stuck:
                self.log.error("- task %s does not stop", task.get_name())

    async def _wrap_up(self) -> None:
        try:
            async with asyncio.timeout(_RECORDING_SECONDS):
                await self.lane.closed.wait()
        except TimeoutError:
            self.log.error("- the media plane did not give the lane back within %g s", _RECORDING_SECONDS)
        now = self.now_ms()
        if self._track_open:
            assert self.times.end is not None
            duration = self.times.end - self.times.answer if self.times.answer is not None else 0.0
            self.emit(
                events.TrackEnd(
                    track_id=self._id,
                    timestamp=now,
                    duration=round(duration * 1000),
                    ssrc=self.lane.ssrc,
                    play_id=None,
                )
            )
        self.emit(self._hangup_event(now))
        self._set_state(CallInput.FINISH)

    def _hangup_event(self, now: int) -> events.Hangup:
        ending = self.ending or CRASHED
        times = self.times
        return events.Hangup(
            track_id=self._id,
            timestamp=now,
            reason=ending.reason,
            initiator=ending.initiator,
            start_time=rfc3339(times.start),
            hangup_time=rfc3339(times.end or times.start),
            answer_time=rfc3339(times.answer) if times.answer is not None else None,
            ringing_time=rfc3339(times.ring) if times.ring is not None else None,
            from_=_attendee(self.caller),
            to=_attendee(self.callee),
        )

    def _set_state(self, given: CallInput) -> None:
        before, self.state = self.state, next_state(self.state, given)
        if before is not self.state:
            self.log.info("- %s -> %s", before, self.state)

    def _end(self, ending: Ending) -> None:
        if self.ending is None:
            self.ending = ending
            self.log.info("- ends: %s", ending.detail or ending.reason)
        self._set_state(CallInput.END)

    def _fail(self, sender: str, text: str, code: int | None = None) -> None:
        self.emit(
            events.Error(track_id=self._id, timestamp=self.now_ms(), sender=sender, error=text, code=code)
        )

    def _after(self, seconds: float, action: Callable[[], None]) -> _Timer:
        timer = _Timer(action)
        timer.handle = asyncio.get_running_loop().call_later(seconds, self._post, timer)
        self._timers.add(timer)
        return timer

    def _cancel(self, timer: _Timer | None) -> None:
        """Also a timer that ran out, if its notice still waits in the inbox."""
        if timer in self._timers:
            self._timers.remove(timer)
            if timer.handle is not None:
                timer.handle.cancel()

    # --- set-up ---------------------------------------------------------------------------------------

    def pick_up(self) -> None:
        """Inbound: tell the dialogue and answer at once."""
        now = self.now_ms()
        offer = (self.leg.sip.remote_sdp or b"").decode("utf-8", "replace")
        self.emit(
            events.Incoming(track_id=self._id, timestamp=now, caller=self.caller, callee=self.callee, sdp=offer)
        )
        if self.leg.accept(self.on_sip):
            self._open_track()
            self._talk(self.leg.local_sdp)
            self._listen()

    def dialing(self) -> None:
        """Outbound: INVITE is about to be sent."""
        self._set_state(CallInput.DIAL)
        self._open_track()

    def _open_track(self) -> None:
        self._track_open = True
        self.emit(events.TrackStart(track_id=self._id, timestamp=self.now_ms()))

    def _talk(self, sdp: bytes) -> None:
        self._set_state(CallInput.ANSWER)
        self.times.answer = self._clock.wall()
        if self.recording is not None:
            plan = self.recording
            self.lane.start_recording(plan.path, rate_hz=plan.rate_hz, flush_ms=plan.flush_ms)
        text = sdp.decode("utf-8", "replace")
        self.emit(events.Answer(track_id=self._id, timestamp=self.now_ms(), sdp=text))

    def _listen(self) -> None:
        self._player.option = self.option.tts
        complaint = self._hearing.start(self.option.vad, self.option.asr)
        if complaint:
            self._fail("vad", complaint)
        self._media_expected_since = asyncio.get_running_loop().time()
        self._watch_inactivity()

    def _watch_inactivity(self) -> None:
        limit = self.option.inactivity_timeout
        limit = self._inactivity_seconds if limit is None else limit
        if not limit:
            return
        now = asyncio.get_running_loop().time()
        if self._held:
            self._media_expected_since = now
        # Neither ringing nor hold counts as silence.
        silent = min(self.lane.silent_ticks * TICK_SECONDS, now - self._media_expected_since)
        if silent > limit:
            self.emit(events.Inactivity(track_id=self._id, timestamp=self.now_ms()))
            self._end(inactive(limit))
        else:
            self._after(1.0, self._watch_inactivity)

    # --- handling -------------------------------------------------------------------------------------

    def _handle(self, notice: _Notice) -> None:
        match notice:
            case LaneEvent():
                self._on_lane(notice)
            case _Timer():
                if notice in self._timers:
                    self._timers.remove(notice)
                    notice.action()
            case Recognised():
                self._recognised(notice)
            case HearingFailed():
                self._fail("asr", notice.error, 500)
            case Ending():
                self._end(notice)
            case commands.Tts() | commands.Play() | commands.Interrupt() | commands.Hangup() | commands.Refer():
                self._on_command(notice)
            case _:
                self._on_sip(notice)

    def _on_command(self, command: Command) -> None:
        if self.state is not CallState.TALKING and not isinstance(command, commands.Hangup):
            self._fail("command", f"{command.command}: the call is {self.state}, not answered")
            return
        match command:
            case commands.Tts():
                self._cancel_wait()
                try:
                    self._player.tts(command)
                except ChannelFull as error:
                    self._fail("command", f"tts: {error}")
            case commands.Play():
                self._cancel_wait()
                self._player.play(command)
            case commands.Interrupt():
                self._player.interrupt(graceful=command.graceful, fade_ms=command.fade_out_ms)
            case commands.Hangup():
                self._hangup_headers |= command.headers or {}
                self._end(ending_of_command(command))
            case commands.Refer():
                self._fail("command", f'refer to "{command.callee}": transfers are not supported yet')

    def _on_sip(self, event: SipEvent) -> None:
        match event:
            case sip_events.Ringing():
                if self.times.ring is None:
                    self.times.ring = self._clock.wall()
                self._set_state(CallInput.RING)
                early = event.sdp is not None
                self.emit(events.Ringing(track_id=self._id, timestamp=self.now_ms(), early_media=early))
            case sip_events.Answered():
                self._answered(event.sdp)
            case sip_events.Rejected():
                reject = events.Reject(
                    track_id=self._id, timestamp=self.now_ms(), reason=event.reason, code=event.status
                )
                self.emit(reject)
                self._end(rejected(event.status, event.reason))
            case sip_events.OfferReceived():
                self._held = self.leg.reoffered(event.sdp)
            case sip_events.InfoReceived():
                digit = digit_of_info(event.content_type, event.body)
                if digit is not None:
                    self._pressed(digit)
            case sip_events.Ended():
                self._peer_ended(event)
            case _:
                pass

    def _answered(self, sdp: bytes | None) -> None:
        if sdp is None:
            self._fail("invite", "the callee answered without SDP", 488)
            self._end(rejected(488, "No answer received"))
            return
        try:
            self.leg.answered(sdp)
        except RemoteProtocolError as error:
            self._fail("invite", str(error), error.status)
            self._end(rejected(error.status, str(error)))
            return
        self._talk(sdp)
        self._listen()

    def _peer_ended(self, event: sip_events.Ended) -> None:
        if event.by == "canceled":
            self._end(CANCELED)
        elif event.by == "timeout":
            self._end(NO_ACK)
        else:
            self._end(ending_by_peer(inbound=self.inbound))

    def _on_lane(self, event: LaneEvent) -> None:
        match event:
            case lane_messages.MarkPlayed():
                self._player.mark_played(event)
            case lane_messages.Flushed():
                self._player.flushed(event)
            case lane_messages.SpeechStarted():
                self._speech_started(event)
            case lane_messages.SpeechEnded():
                self._speech_ended(event)
            case lane_messages.DigitReceived():
                self._pressed(event.digit)
            case lane_messages.MediaStarted():
                self.emit(events.MediaReady(track_id=self._id, timestamp=self.now_ms()))
            case _:
                self.log.debug("- %s", event)

    def _pressed(self, digit: str) -> None:
        self._cancel_wait()
        self.emit(events.Dtmf(track_id=self._id, timestamp=self.now_ms(), digit=digit))

    # --- listening ------------------------------------------------------------------------------------

    def _speech_started(self, event: lane_messages.SpeechStarted) -> None:
        self._cancel_wait()
        self._cancel_silence()
        self._hearing.speech_started(event)
        start = self.lane.wall_ms(event.position)
        self.emit(
            events.Speaking(
                track_id=self._id,
                timestamp=self.now_ms(),
                start_time=start,
                confidence=round(event.probability, 3),
            )
        )

    def _speech_ended(self, event: lane_messages.SpeechEnded) -> None:
        self._hearing.speech_ended(event)
        self._silent_since = self.lane.wall_ms(event.end)
        self._tell_silence()

    def _tell_silence(self) -> None:
        now = self.now_ms()
        self.emit(
            events.Silence(
                track_id=self._id,
                timestamp=now,
                start_time=self._silent_since,
                duration=max(0, now - self._silent_since),
            )
        )
        timeout = self.option.vad.silence_timeout if self.option.vad else None
        if timeout:
            self._silence = self._after(timeout / 1000, self._tell_silence)

    def _cancel_silence(self) -> None:
        self._cancel(self._silence)
        self._silence = None

    def _recognised(self, notice: Recognised) -> None:
        result = notice.result
        text = result.text.strip()
        if not text:
            return
        self._cancel_wait()
        kind = events.AsrFinal if result.final else events.AsrDelta
        self.emit(
            kind(
                track_id=self._id,
                timestamp=self.now_ms(),
                index=self._asr_index,
                start_time=self.lane.wall_ms(result.start),
                end_time=self.lane.wall_ms(result.end),
                text=text,
                confidence=result.confidence,
            )
        )
        if result.final:
            self._asr_index += 1

    # --- playback -------------------------------------------------------------------------------------

    def _track_ended(self, track: Track, complete: bool) -> None:
        if not complete:
            return
        if track.auto_hangup:
            self.end(AUTO_HANGUP)  # by the inbox: a track without audio ends in its own task
        elif track.wait_input_timeout:
            self._cancel_wait()
            self._wait_input = self._after(
                track.wait_input_timeout, lambda: self._waited(track.wait_input_timeout or 0.0)
            )

    def _waited(self, seconds: float) -> None:
        now = self.now_ms()
        duration = round(seconds * 1000)
        self.emit(
            events.Silence(
                track_id=self._server_side_track,
                timestamp=now,
                start_time=now - duration,
                duration=duration,
            )
        )

    def _cancel_wait(self) -> None:
        self._cancel(self._wait_input)
        self._wait_input = None


def rfc3339(seconds: float) -> str:
    """Unix seconds as RFC 3339 text in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _attendee(uri: str) -> Attendee:
    bare = uri.split("<", 1)[-1].split(">", 1)[0]
    _, _, rest = bare.partition(":")
    user, at, host = rest.rpartition("@")
    return Attendee(username=user if at else "", realm=host.split(";")[0].split(":")[0], source=uri)
