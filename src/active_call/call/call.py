"""A call: one inbox, one task group, one state machine, and the only place that acts.

A call exists from the moment a client connects, a telephone rings us, or we are told to dial; it gets a leg
(the peer's audio) when it is set up. Everything that happens (commands, SIP events, events of the lane, notices
of provider tasks, timers) is put into the inbox and handled here, in order, by plain methods that return at
once. Slow work runs in tasks of the call's group and reports back through the inbox. When the inbox loop ends,
playback is flushed and BYE sent at once; then the tasks are cancelled and the recording is finished, each step
bounded.

What the parts do: `setup` brings the call up, `dispatch` carries out commands, `listening` hears the peer,
`player` speaks, `effects` does the rest with the audio.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

from active_call.call import goodbye
from active_call.call.audio.effects import Effects
from active_call.call.audio.listening import Listening
from active_call.call.audio.player import Player
from active_call.call.audio.track import Track
from active_call.call.bridge import Bridge, FindCall
from active_call.call.dispatch import Dispatch
from active_call.call.inactivity import InactivityWatch
from active_call.call.leg import AudioLeg, Leg, SipLeg
from active_call.call.news import News
from active_call.call.peer import Peer
from active_call.call.reasons import (
    AUTO_HANGUP,
    CRASHED,
    Ending,
    failed,
)
from active_call.call.services import CallServices
from active_call.call.setup import Setup
from active_call.call.state import CallInput, CallState, CallTimes, next_state
from active_call.call.timers import Timer, Timers
from active_call.call.transfer.transfers import Transfers
from active_call.core.channel import ChannelFull, ControlChannel
from active_call.core.errors import ActiveCallError, LocalProtocolError
from active_call.core.log import CallLog
from active_call.core.owner import weakly
from active_call.lanes import messages as lane_messages
from active_call.lanes.messages import LaneEvent
from active_call.media.lane import Lane
from active_call.outbound.guard import Origin
from active_call.records.dump import Dump
from active_call.sip.events import SipEvent
from active_call.wire import events
from active_call.wire.commands import Command
from active_call.wire.dialogue import CallType, Dialogue, Running
from active_call.wire.events import Event
from active_call.wire.options import CallOption

_INBOX_LIMIT = 4000
_COMMAND_LIMIT = 1000
_RECORDING_SECONDS = 2.0
_STOP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Given:
    """Notice: somebody wants something done."""

    command: Command
    origin: Origin


_Notice: TypeAlias = _Given | LaneEvent | SipEvent | Timer | Ending


class Call:
    """One call between a peer and whoever leads it: a playbook, an API client, or both. Made by CallManager."""

    def __init__(
        self,
        call_id: str,
        services: CallServices,
        *,
        call_type: CallType,
        dump: Dump,
        variables: dict[str, Any],
        leg: SipLeg | None = None,
        caller: str = "",
        callee: str = "",
        led_by_client: bool = False,
        server_side_track: str = "serverSideTrack",
        find_call: FindCall = lambda call_id: None,
    ) -> None:
        """`leg`: of an inbound call, negotiated and unanswered. `find_call`: finds another live call."""
        self._id = call_id
        self.call_type: CallType = call_type
        self.leg: Leg | None = leg
        self.inbound = leg is not None
        self.caller = caller
        self.callee = callee
        self.led_by_client = led_by_client
        self.server_side_track = server_side_track
        self.option = CallOption()
        self.times = CallTimes(services.clock.wall())
        self.recorded: list[lane_messages.RecordingClosed] = []
        """The recordings that are complete: one, or one for each peer that came after another."""
        self.ending: Ending | None = None
        self.state = CallState.NEW
        self.dump_path = dump.path
        self.log = CallLog(logging.getLogger(__name__), call_id)
        self.hangup_headers: dict[str, str] = {}
        self.on_audio: Callable[[int | None, bytes], None] | None = None
        """Audio for the client: (None, bytes in the call's codec) of /call, (track index, 16 kHz PCM16LE) of a
        subscription."""
        self.on_dialog: Callable[[str], None] = lambda sip_call_id: None
        """Is told the Call-ID of each further SIP dialog of this call."""
        self.news = News(call_id, dump, weakly(self._crashed))
        self.timers = Timers(weakly(self.post))
        self.setup = Setup(self, services)
        self.effects = Effects(self, services)
        self.transfer = Transfers(self, services)
        self.peer = Peer(self, services.clock.monotonic)
        self.bridge = Bridge(self, find_call, services.clock.monotonic)
        self._dispatch = Dispatch(self)
        self._player: Player | None = None
        self._listening: Listening | None = None
        self._services = services
        self._clock = services.clock
        self._variables = variables
        self._inbox: ControlChannel[_Notice] = ControlChannel(_INBOX_LIMIT)
        self._unhandled = 0
        self._room = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.inactivity = InactivityWatch(self)
        self._track_open = False
        self._early_audio = False

    # --- what a dialogue sees (wire.dialogue.CallPort) ------------------------------------------------

    @property
    def id(self) -> str:
        return self._id

    @property
    def variables(self) -> dict[str, Any]:
        return self._variables

    def send(self, command: Command, *, trusted: bool = True) -> None:
        """Queue a command of the playbook, or (not `trusted`) of a language model that it asks."""
        author = Origin.CLIENT if self.setup.written_by_client else Origin.OPERATOR
        self._queue(command, author if trusted else Origin.CALL)

    def _queue(self, command: Command, origin: Origin) -> None:
        self.news.tell_command(command)
        self._unhandled += 1
        self.post(_Given(command, origin))

    def emit(self, event: Event) -> None:
        self.news.tell(event)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> Running:
        if self._tasks is None:
            work.close()
            raise ActiveCallError("the call is not running")
        task = self._tasks.create_task(work, name=f"{self._id} {name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def expect(self, phrases: Sequence[str]) -> None:
        if self._listening is not None:
            self._listening.expect(phrases)

    def now_ms(self) -> int:
        return round(self._clock.wall() * 1000)

    @property
    def seconds(self) -> float:
        """How long the call lives."""
        return self._clock.wall() - self.times.start

    # --- what a client sees ---------------------------------------------------------------------------

    def follow(
        self, events: Callable[[Event], None], commands: Callable[[Command], None] | None = None
    ) -> Callable[[], None]:
        """Be told all events, and all commands, from now on: in order, by calls that must return at once.

        Returns what ends it. The last event is always `hangup`.
        """
        return self.news.follow(events, commands)

    async def submit(self, command: Command) -> None:
        """Queue a command of a client; waits while 1,000 are unhandled. Does nothing once the call is over."""
        while self._unhandled >= _COMMAND_LIMIT and not self.over:
            self._room.clear()
            await self._room.wait()
        if not self.over:
            self._queue(command, Origin.CLIENT)

    def receive_audio(self, data: bytes) -> None:
        """A binary frame of the client: what it says, on /call from `start` on."""
        if self.call_type != "webSocket":
            return
        if isinstance(self.leg, AudioLeg):
            self.leg.lane.feed(data)
            self.peer.tell_media_ready()
        elif not self._early_audio and not self._unhandled:  # else `start` may be on its way
            self._early_audio = True
            self.complain("command", "audio came before start; it is dropped until the call has begun")

    def complain(self, sender: str, text: str, code: int | None = None) -> None:
        """Tell one `error` event."""
        self.emit(
            events.Error(track_id=self._id, timestamp=self.now_ms(), sender=sender, error=text, code=code)
        )

    def emit_other(self, sender: str, extra: dict[str, str]) -> None:
        """Tell an `other` event, for plug-ins."""
        self.emit(events.Other(track_id=self._id, timestamp=self.now_ms(), sender=sender, extra=extra))

    def end(self, ending: Ending) -> None:
        """Ask the call to end; the first reason wins."""
        self.post(ending)

    def _crashed(self) -> None:
        self.end(CRASHED)

    @property
    def over(self) -> bool:
        """Whether nothing more is acted upon."""
        return self.state in (CallState.ENDING, CallState.ENDED)

    @property
    def led(self) -> bool:
        """Whether a playbook leads."""
        return self.news.dialogue is not None

    def claim(self, server_side_track: str) -> bool:
        """A client takes a call that waits to be accepted, and hears `incoming`. False if it can't."""
        if self.led_by_client or self.led or not self.inbound or self.over:
            return False
        self.led_by_client = True
        self.server_side_track = server_side_track
        self.timers.soon(self.setup.announce)
        return True

    # --- inputs ---------------------------------------------------------------------------------------

    def on_sip(self, event: SipEvent) -> None:
        """Listener of the SIP dialog."""
        self.post(event)

    def on_lane(self, event: LaneEvent) -> None:
        """Listener of the lane."""
        if isinstance(event, lane_messages.RecordingClosed):
            self.recorded.append(event)
            if event.error:
                self.news.errors.append(f"recording {event.path}: {event.error}")
        self.post(event)

    def post(self, notice: _Notice) -> None:
        """Put something that happened into the inbox."""
        try:
            self._inbox.put(notice)
        except ChannelFull:
            self.log.error("- inbox overflow at %s: the call ends", type(notice).__name__)
            self.finish(CRASHED)

    # --- life -----------------------------------------------------------------------------------------

    async def run(self, begin: Callable[[], None]) -> None:
        """Lead the call to its end; `begin` is the first thing that happens in it.

        Never raises on what peers, clients, dialogues and providers do.
        """
        if self.leg is not None:
            self.leg.lane.listener = self.on_lane
        try:
            async with asyncio.TaskGroup() as self._tasks:
                if self.news.dialogue is not None:
                    self.spawn(self._lead(self.news.dialogue), "dialogue")
                self._begin(begin)
                while not self.over:
                    self._handle(await self._inbox.get())
                self._leave()
                await self._stop_tasks()
        except* Exception as group:
            for error in group.exceptions:
                self.log.error("- a task of the call failed", exc_info=error)
            self.news.errors.append("; ".join(str(error) for error in group.exceptions))
            self.finish(CRASHED)
        finally:
            self._tasks = None
            self._leave()
        await self._wrap_up()

    def _begin(self, begin: Callable[[], None]) -> None:
        try:
            begin()
        except ActiveCallError as error:
            self.complain("invite", str(error))
            self.finish(failed(str(error)))

    def lead_by(self, dialogue: Dialogue) -> None:
        """Let a playbook lead."""
        self.news.dialogue = dialogue
        if self._tasks is not None:
            self.spawn(self._lead(dialogue), "dialogue")

    async def _lead(self, dialogue: Dialogue) -> None:
        try:
            await dialogue.run(self)
        except ActiveCallError as error:
            self.complain("playbook", str(error))
            self.end(failed(str(error)))

    def _leave(self) -> None:
        """Fall silent and say goodbye, once."""
        if self.times.end is not None:
            return
        self.times.end = self._clock.wall()
        self._room.set()
        with ExitStack() as surely:  # whatever fails, the peer hears goodbye and the lane is given back
            surely.callback(self.timers.cancel_all)
            if self.leg is not None:
                surely.callback(self.leg.lane.close)
                surely.callback(self.leg.lane.stop_recording)
                surely.callback(self.leg.hang_up, goodbye.headers(self))
                if self._player is not None:
                    surely.callback(self._player.close)
            self.ending = self.setup.give_up(self.ending or CRASHED)
            self.transfer.close(self.ending)
            self.bridge.leave()
            if self._listening is not None:
                self._listening.stop()

    async def _stop_tasks(self) -> None:
        told: set[asyncio.Task[None]] = set()
        while self._running:
            for task in self._running:
                task.cancel()  # again and again: there are tasks that take it for an error of what they did
            _, stuck = await asyncio.wait(list(self._running), timeout=_STOP_SECONDS)
            for task in stuck - told:
                self.log.error("- task %s does not stop", task.get_name())
            told |= stuck

    async def _wrap_up(self) -> None:
        if self.leg is not None:
            try:
                async with asyncio.timeout(_RECORDING_SECONDS):
                    await self.leg.lane.closed.wait()
            except TimeoutError:
                self.log.error("- the media plane did not give the lane back within %g s", _RECORDING_SECONDS)
        self._dispatch.tell_unplayed("the call ended")
        if self._track_open and self.leg is not None:
            self.emit(goodbye.track_end(self))
        self.emit(goodbye.hangup(self, self._id, self.now_ms(), variables=self._variables))
        self.advance(CallInput.FINISH)

    # --- for the parts of the call --------------------------------------------------------------------

    @property
    def player(self) -> Player:
        """Speaks to the peer. Raises LocalProtocolError before there is audio."""
        if self._player is None:
            raise LocalProtocolError("the call has no audio yet")
        return self._player

    @property
    def has_audio(self) -> bool:
        """Whether the call can speak and hear."""
        return self._player is not None

    @property
    def held(self) -> bool:
        """Whether the peer has put the call on hold."""
        return self.inactivity.held

    @property
    def listening(self) -> Listening:
        """Hears the peer. Raises LocalProtocolError before there is audio."""
        if self._listening is None:
            raise LocalProtocolError("the call has no audio yet")
        return self._listening

    def advance(self, given: CallInput) -> None:
        """Move on to the next state."""
        before, self.state = self.state, next_state(self.state, given)
        if before is not self.state:
            who = f": {self.caller} -> {self.callee}" if before is CallState.NEW and self.caller else ""
            self.log.info("- %s -> %s%s", before, self.state, who)

    def finish(self, ending: Ending) -> None:
        """End the call when what is being handled is done; the first reason wins."""
        if self.ending is None:
            self.ending = ending
            self.log.log(
                logging.WARNING if ending.failure else logging.INFO,
                "- ends: %s",
                ending.detail or ending.reason,
            )
        self.advance(CallInput.END)

    def take_leg(self, leg: Leg) -> None:
        """This is the peer."""
        self.leg = leg
        leg.lane.listener = self.on_lane

    def forget_dialog(self) -> None:
        """Another is about to take the peer's place: of what that has signalled nothing counts any more."""
        self._inbox.discard(lambda notice: isinstance(notice, SipEvent))

    def open_track(self) -> None:
        """Tell that the peer's track has started."""
        if not self._track_open:
            self._track_open = True
            self.emit(events.TrackStart(track_id=self._id, timestamp=self.now_ms()))

    def take_ears(self) -> None:
        """Audio flows from now on: the call can speak, and is about to hear."""
        assert self.leg is not None
        if self._player is None:
            self._take_ears(self.leg.lane)
            self.effects.attach(self.leg.lane)

    def _take_ears(self, lane: Lane) -> None:
        sounds = self._services.sounds
        self._player = Player(self, lane, self.server_side_track, weakly(self._track_ended), media=sounds)
        self._listening = Listening(self, lane)

    def move_ears(self) -> None:
        """The peer has changed: stop speaking to and hearing the former one, and go on with this one."""
        assert self.leg is not None
        self.player.close()
        self.listening.stop()
        self._take_ears(self.leg.lane)
        self.effects.move(self.leg.lane)
        self.player.option = self.option.tts
        self.listening.start(self.option.model_copy(update={"amd": None}))
        self.inactivity.follow(self.leg.lane)
        self.peer.tell_hold()

    def rest(self, *, on: bool) -> None:
        """What the peer says is for somebody else: neither recogniser nor media pass hears it, nor answers."""
        if on:
            self.listening.pause()
        else:
            self.listening.resume()
        if self.effects.media_pass is not None:
            self.effects.media_pass.rest(on=on)

    def begin_talking(self) -> None:
        """The call is answered, and its option is known: hear, and play what waited."""
        assert self.leg is not None
        self.player.option = self.option.tts
        self.listening.start(self.option)
        self.effects.apply(self.option)
        limit = self.option.inactivity_timeout
        if limit is None:
            limit = 0.0 if self.led_by_client else self._services.inactivity_seconds
        self.inactivity.start(self.leg.lane, limit)
        self.peer.tell_hold()
        self._dispatch.play_waiting()

    # --- handling -------------------------------------------------------------------------------------

    def _handle(self, notice: _Notice) -> None:
        match notice:
            case LaneEvent():
                self.peer.on_lane(notice)
            case Timer():
                self.timers.ran_out(notice)
            case Ending():
                self.finish(notice)
            case _Given(command, origin):
                self._unhandled -= 1
                self._room.set()
                self._dispatch.carry_out(command, origin)
            case _:
                self.peer.on_sip(notice)

    def _track_ended(self, track: Track, complete: bool) -> None:
        self.transfer.track_ended(track, complete=complete)
        if not complete:
            return
        if track.auto_hangup:
            self.end(AUTO_HANGUP)  # by the inbox: a track without audio ends in its own task
        elif track.wait_input_timeout:
            self.listening.await_input(track.wait_input_timeout)
