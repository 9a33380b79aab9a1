"""Leads a call by a playbook.

One loop takes the call's events in order and decides at once; it never waits for anything but the next event or
deadline. What takes time, the turn of the agent, is a task of the call: the model writes, the delivery says it.
A barge-in or newer words cancel that task, which closes the model's stream, and stop playback.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

from active_call.core.channel import ControlChannel
from active_call.core.errors import PlaybookError, ProviderError
from active_call.core.log import CallLog
from active_call.core.owner import Owner
from active_call.core.streams import closing
from active_call.playbook.delivery import Delivery
from active_call.playbook.document import Playbook
from active_call.playbook.options import DtmfAction, Goto, Transfer
from active_call.playbook.prompt import context_of, render, system_prompt
from active_call.playbook.reply import Conversation, Reply
from active_call.playbook.scene import Scene
from active_call.playbook.splitter import Item
from active_call.playbook.tags import Tag
from active_call.playbook.transfer import Rest
from active_call.speech.llm.hints import Occasion, hint
from active_call.speech.providers import ChatMessage, Llm, LlmOption
from active_call.speech.turn import Heard, TurnTaking
from active_call.wire import events
from active_call.wire.commands import Hangup, Interrupt
from active_call.wire.dialogue import CallPort, Running
from active_call.wire.events import Event

_INBOX_LIMIT = 4000
_FLOOR_SECONDS = 3.0
"""The agent waits no longer for a caller who goes on speaking; a barge-in may follow."""
_SETTLE_SECONDS = 0.3
"""How long a new turn waits to learn how much of the last one was heard."""


@dataclass(frozen=True, slots=True)
class _TurnEnded:
    """Notice: the agent's turn was heard to its end."""

    reply: Reply


_Heeded = (
    events.Answer,
    events.TrackStart,
    events.TrackEnd,
    events.Interruption,
    events.Speaking,
    events.Silence,
    events.AsrDelta,
    events.AsrFinal,
    events.Dtmf,
)
_Caller = (events.Speaking, events.AsrDelta, events.AsrFinal, events.Dtmf)
"""What the caller does."""
_Notice: TypeAlias = Event | _TurnEnded


class PlaybookDialogue:
    """A Dialogue that follows `playbook`; what it says of its own is written by `llm`."""

    _call = Owner[CallPort]()

    def __init__(self, playbook: Playbook, *, llm: Llm) -> None:
        self._playbook = playbook
        self._llm = llm
        self._inbox: ControlChannel[_Notice] = ControlChannel(_INBOX_LIMIT)
        settings = playbook.settings
        self._turn = TurnTaking(
            settings.interruption, playbook.fillers, repair_window_ms=playbook.llm.repair_window_ms
        )
        self._conversation = Conversation()
        self._scene = playbook.scenes[0]
        self._reply: Reply | None = None
        self._cut: Reply | None = None  # interrupted; how much of it was heard may still come
        self._delivery: Delivery | None = None
        self._task: Running | None = None
        self._rest = Rest(settings.transfer)
        self._unanswered: list[tuple[str, bool]] = []
        self._follow_ups = 0
        self._turns = 0
        self._floor_free = asyncio.Event()
        self._floor_free.set()
        self._settled = asyncio.Event()

    # --- wire.dialogue.Dialogue -----------------------------------------------------------------------

    def receive(self, event: Event) -> None:
        """Take an event of the call."""
        if (isinstance(event, _Heeded) and not getattr(event, "refer", None)) or Rest.heeds(event):
            self._inbox.put(event)

    async def run(self, call: CallPort) -> None:
        """Lead `call` until it ends and this is cancelled."""
        self._call = call
        self._log = CallLog(logging.getLogger(__name__), call.id)
        for warning in self._playbook.warnings:
            self._log.warning("- %s", warning)
        for name, value in (self._playbook.option.extra or {}).items():
            call.variables.setdefault(name, value)
        try:
            while True:
                notice = await self._next()
                if notice is not None:
                    self._handle(notice)
                self._check()
        finally:
            for reply in (self._cut, self._reply):
                self._record(reply)

    async def _next(self) -> _Notice | None:
        """The next event, or None when a deadline passes first."""
        now = self._call.now_ms()
        deadline = None if self._rest.resting else self._turn.next_deadline(now)
        if deadline is None:
            return await self._inbox.get()
        try:
            async with asyncio.timeout(max(1, deadline - now) / 1000):
                return await self._inbox.get()
        except TimeoutError:
            return None

    def _check(self) -> None:
        """What is due by the passing of time."""
        if self._rest.resting:
            return
        now = self._call.now_ms()
        if self._turn.check(now):
            self._barge_in()
        if self._turn.floor_taken(now):
            self._floor_free.clear()
        else:
            self._floor_free.set()
            self._answer_held()
        if self._turn.follow_up_due(now):
            self._follow_up()

    # --- events ---------------------------------------------------------------------------------------

    def _handle(self, notice: _Notice) -> None:
        now = self._call.now_ms()
        if not isinstance(notice, _TurnEnded) and Rest.heeds(notice):
            self._transfer_goes(notice, now)
            return
        if self._rest.resting and isinstance(notice, _Caller):
            return
        match notice:
            case _TurnEnded(reply):
                self._turn_ended(reply)
            case events.Answer():
                self._open()
            case events.TrackStart(track_id=track, play_id=play_id):
                self._track_started(track, play_id, notice.timestamp)
            case events.TrackEnd(track_id=track, play_id=play_id):
                self._track_ended(track, play_id, now)
            case events.Interruption():
                self._was_cut(notice)
            case events.Speaking():
                if self._turn.speech_started(notice.start_time, now):
                    self._barge_in()
            case events.Silence(track_id=track):
                if track == self._call.id:
                    self._turn.speech_ended(now)
            case events.AsrDelta():
                if self._turn.delta(notice.text, notice.start_time, notice.end_time, now):
                    self._barge_in()
            case events.AsrFinal():
                self._heard(notice, now)
            case events.Dtmf(digit=digit):
                self._pressed(digit, now)
            case _:
                pass

    def _open(self) -> None:
        """The call is answered: the scene's sound and the greeting, or the model speaks first."""
        self._turn.caller_active(self._call.now_ms())
        self._enter(self._scene)
        greeting = self._rendered(self._playbook.greeting or "", "greeting", spoken=True)
        if greeting.strip():
            self._begin(lambda reply: self._greet(reply, greeting), before=self._scene_sound(), streaming=False)
            self._turn.greeting = True
        else:
            self._answer("start", before=self._scene_sound())

    def _heard(self, event: events.AsrFinal, now: int) -> None:
        decision = self._turn.final(event.text, event.start_time, event.end_time, now)
        if decision is Heard.IGNORE:
            return
        self._follow_ups = 0
        self._call.emit(events.AddHistory(timestamp=now, sender="asr", speaker="user", text=event.text))
        if decision is Heard.NOTE:
            self._conversation.overheard(event.text)
            return
        self._unanswered.append((event.text, self._turn.continued))
        if decision is not Heard.HOLD:
            self._answer()

    def _pressed(self, digit: str, now: int) -> None:
        self._turn.caller_active(now)
        self._follow_ups = 0
        action: DtmfAction | None = self._scene.dtmf.get(digit) or self._playbook.settings.dtmf.get(digit)
        if action is None or self._turn.farewell:
            return
        if isinstance(action, Goto):
            if self._goto(action.scene):
                self._answer("dtmf", digit, before=self._scene_sound())
        elif isinstance(action, Transfer):
            self._stop()
            self._unanswered.clear()
            target = self._rendered(action.target, "transfer target", line=self._scene.line)
            if target:
                self._rest.transfer(self._call, target)
        else:
            self._hang_up("DTMF Hangup", "ai")

    def _transfer_goes(self, event: Event, now: int) -> None:
        """Rest while the caller is with somebody else; then speak first."""
        resting = self._rest.resting
        ended = self._rest.ended_by(event)
        if self._rest.resting and not resting:  # somebody else has asked for the transfer
            self._stop(interrupt=False)
            self._unanswered.clear()
        if ended is not None:
            self._turn.caller_active(now)
            self._answer("transfer", ended)

    def _answer_held(self) -> None:
        """Answer held words now if the turn after which they were due was interrupted, by a cough perhaps."""
        held = self._unanswered and self._reply is None
        if held and not self._turn.caller_speaking and not self._turn.farewell:
            self._answer()

    def _follow_up(self) -> None:
        option = self._playbook.follow_up(self._scene)
        if option is not None and self._follow_ups >= option.max_count:
            self._turn.follow_up_ms = None
            self._hang_up("Max follow-up reached", "system")
            return
        self._follow_ups += 1
        self._answer("followup")

    # --- scenes ---------------------------------------------------------------------------------------

    def _goto(self, scene_id: str) -> bool:
        scene = self._playbook.scene(scene_id)
        if scene is None:
            known = ", ".join(scene.id for scene in self._playbook.scenes)
            self._fail("playbook", f'there is no scene "{scene_id}"; scenes: {known}')
            return False
        self._enter(scene)
        return True

    def _enter(self, scene: Scene) -> None:
        self._scene = scene
        follow_up = self._playbook.follow_up(scene)
        self._turn.follow_up_ms = follow_up.timeout if follow_up is not None else None
        if any(self._playbook.phrases(other) for other in self._playbook.scenes):
            self._call.expect(self._playbook.phrases(scene))

    def _scene_sound(self) -> Sequence[Item]:
        sound = self._rendered(self._scene.play or "", "sound", line=self._scene.line)
        return (Tag("play", {"file": sound}, trusted=True),) if sound else ()

    # --- turns ----------------------------------------------------------------------------------------

    def _answer(self, occasion: Occasion | None = None, detail: str = "", before: Sequence[Item] = ()) -> None:
        """A turn of the model: on what the caller said, or on an `occasion`."""
        self._begin(
            lambda reply: self._think(reply, hint(occasion, detail) if occasion else None),
            before=before,
            streaming=True,
        )

    def _begin(
        self, text: Callable[[Reply], AsyncGenerator[str, None]], *, before: Sequence[Item], streaming: bool
    ) -> None:
        self._stop()
        self._turns += 1
        reply = Reply(f"turn-{self._turns}")
        delivery = Delivery(
            self._call,
            reply,
            streaming=streaming,
            floor=self._floor,
            act=self._act,
            hang_up=lambda: self._hang_up(None, "ai"),
            auto_hangup=lambda: not self._hangup_templates(),
        )
        self._reply, self._delivery = reply, delivery
        self._turn.begin_turn()
        self._turn.thinking = True
        self._task = self._call.spawn(self._take_turn(reply, delivery, text, before), f"turn {reply.id}")

    async def _take_turn(
        self,
        reply: Reply,
        delivery: Delivery,
        text: Callable[[Reply], AsyncGenerator[str, None]],
        before: Sequence[Item],
    ) -> None:
        if self._cut is not None and self._cut.playing:
            try:
                async with asyncio.timeout(_SETTLE_SECONDS):
                    await self._settled.wait()
            except TimeoutError:
                self._log.debug("- how much of %s was heard is not known", self._cut.id)
        for said, continued in self._unanswered:
            self._conversation.hear(said, continued=continued)
        self._unanswered.clear()
        async with aclosing(text(reply)) as chunks:
            await delivery.run(chunks, before)
        self._inbox.put(_TurnEnded(reply))

    async def _greet(self, reply: Reply, greeting: str) -> AsyncGenerator[str, None]:
        self._conversation.add(reply)
        yield greeting

    async def _think(self, reply: Reply, reason: ChatMessage | None) -> AsyncGenerator[str, None]:
        """What the model says; if it fails, one more try or else the fallback phrase."""
        if reason is not None:
            self._conversation.add(reason)
        try:
            messages, option = self._request()
        except PlaybookError as error:
            self._fail("playbook", str(error))
            yield self._rendered(self._playbook.fallback, "fallback", spoken=True)
            return
        self._conversation.add(reply)
        for attempt in (1, 2):
            try:
                async with aclosing(self._measured(reply, messages, option)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            except ProviderError as error:
                if attempt == 1:
                    self._fail("llm", str(error))
                self._log.warning("- %s failed: %s", error.provider, error)
                if reply.raw.strip():
                    return
                if attempt == 2 or not error.retryable:
                    break
        yield self._rendered(self._playbook.fallback, "fallback", spoken=True)

    async def _measured(
        self, reply: Reply, messages: Sequence[ChatMessage], option: LlmOption
    ) -> AsyncGenerator[str, None]:
        asked, first = self._call.now_ms(), True
        async with closing(self._llm.stream(messages, option)) as chunks:
            async for chunk in chunks:
                if first and chunk.strip():
                    first = False
                    self._measure("ttfb", asked, reply)
                yield chunk
        self._measure("completed", asked, reply)

    def _request(self) -> tuple[list[ChatMessage], LlmOption]:
        """What the model is asked, in the scene and with the variables of this moment."""
        playbook, scene, context = self._playbook, self._scene, self._context()
        base = render(scene.prompt, context, source=playbook.source, line=scene.line)
        tools = playbook.llm.tool_instructions
        system = system_prompt(base, language=playbook.language, tool_instructions=tools)
        rules = []
        for number, (raw, rule) in enumerate(zip(playbook.llm.rules, playbook.rules, strict=True), 1):
            if rule.scene in (None, scene.id):
                line = playbook.lines[f"rule {number}"]
                say = [
                    render(text, context, source=playbook.source, line=line, spoken=True) for text in rule.say
                ]
                rules.append({**raw, "say": say})
        return self._conversation.messages(system), playbook.llm.model_copy(update={"rules": rules})

    async def _floor(self) -> None:
        """Wait until the caller lets the agent begin."""
        try:
            async with asyncio.timeout(_FLOOR_SECONDS):
                await self._floor_free.wait()
        except TimeoutError:
            self._log.debug("- the caller does not stop speaking")

    def _act(self, tag: Tag) -> None:
        """Tags that need not wait for the speech before them."""
        match tag:
            case Tag("hangup"):
                self._turn.farewell = True
            case Tag("goto", {"scene": scene}):
                self._goto(scene)
            case Tag("set_var", {"key": key, "value": value}):
                self._call.variables[key] = value
            case Tag("refer"):
                self._rest.transfer(self._call, tag.attributes.get("to", ""))
            case Tag("goto" | "set_var"):
                self._fail(
                    "playbook",
                    f"<{tag.name}> lacks an attribute; it has: {', '.join(tag.attributes) or 'none'}",
                )
            case _:
                self._fail("playbook", f"<{tag.name}> is not supported yet")

    def _barge_in(self) -> None:
        self._log.info("- the caller interrupts")
        self._stop()

    def _stop(self, *, interrupt: bool = True) -> None:
        """End the agent's turn, wherever it is; if not `interrupt`, what is being heard goes on."""
        reply, self._reply, self._delivery = self._reply, None, None
        if self._task is not None:
            self._task.cancel()
        self._task = None
        self._turn.thinking = False
        playing = reply is not None and reply.playing
        if interrupt and (playing or self._turn.agent_speaking):
            self._call.send(Interrupt(fade_out_ms=self._turn.option.volume_fade_ms))
        if reply is None:
            return
        if not reply.complete:
            reply.interrupted = True
            self._record(self._cut)
            self._cut = reply
            self._settled.clear()
        if not playing:
            self._record(reply)

    def _turn_ended(self, reply: Reply) -> None:
        self._record(reply)
        if reply is not self._reply:
            return
        self._reply = self._delivery = self._task = None
        self._turn.thinking = False
        if self._unanswered and not self._turn.farewell and not self._rest.resting:
            self._answer()

    # --- playback -------------------------------------------------------------------------------------

    def _track_started(self, track: str, play_id: str | None, now: int) -> None:
        foreign = track == self._call.id or track.startswith("bridge:")
        if (foreign and play_id is None) or (self._rest.resting and not self._own(play_id)):
            return  # the latter is music
        self._turn.track_started(play_id or track, now)
        for reply in (self._reply, self._cut):
            for segment in reply.segments if reply is not None else ():
                segment.started = segment.started or segment.play_id == play_id

    def _own(self, play_id: str | None) -> bool:
        """Whether this is a track of ours."""
        replies = [reply for reply in (self._reply, self._cut) if reply is not None]
        return any(segment.play_id == play_id for reply in replies for segment in reply.segments)

    def _track_ended(self, track: str, play_id: str | None, now: int) -> None:
        if (track == self._call.id or track.startswith("bridge:")) and play_id is None:
            return
        self._turn.track_ended(play_id or track, now)
        for reply in (self._reply, self._cut):
            for segment in reply.segments if reply is not None else ():
                segment.ended = segment.ended or segment.play_id == play_id
        if self._delivery is not None:
            self._delivery.track_ended()
        if self._cut is not None and not self._cut.playing:
            self._settled.set()
            self._record(self._cut)

    def _was_cut(self, event: events.Interruption) -> None:
        for reply in (self._reply, self._cut):
            for segment in reply.segments if reply is not None else ():
                if segment.play_id == event.play_id:
                    segment.cut = event

    # --- helpers --------------------------------------------------------------------------------------

    def _record(self, reply: Reply | None) -> None:
        """Put what was heard of a finished reply into the record, once."""
        if reply is None or reply.recorded:
            return
        reply.recorded = True
        text = reply.content() if reply.interrupted else reply.heard()
        if text:
            now = self._call.now_ms()
            self._call.emit(events.AddHistory(timestamp=now, sender="llm", speaker="assistant", text=text))

    def _hang_up(self, reason: str | None, initiator: str) -> None:
        headers = {}
        for name, template in self._hangup_templates().items():
            value = self._rendered(str(template), f"hangup header {name}")
            if value:
                headers[name] = value
        self._call.send(Hangup(reason=reason, initiator=initiator, headers=headers or None))

    def _hangup_templates(self) -> dict[str, Any]:
        """Headers for the BYE: those of the playbook, and those that were set during the call."""
        sip = self._playbook.option.sip
        headers: dict[str, Any] = dict((sip.hangup_headers or {}) if sip is not None else {})
        given = self._call.variables.get("_hangup_headers")
        try:
            given = json.loads(given) if isinstance(given, str) else given
        except ValueError as error:
            self._fail("playbook", f"_hangup_headers is not JSON: {error}")
        return headers | given if isinstance(given, dict) else headers

    def _context(self) -> dict[str, Any]:
        sip = self._playbook.option.sip
        return context_of(self._call.variables, (sip.extract_headers or ()) if sip is not None else ())

    def _rendered(self, template: str, name: str, *, line: int = 1, spoken: bool = False) -> str:
        """`template` filled in, or nothing and an `error` event."""
        line = self._playbook.lines.get(name, line)
        try:
            return render(template, self._context(), source=self._playbook.source, line=line, spoken=spoken)
        except PlaybookError as error:
            self._fail("playbook", f"{name}: {error}")
            return ""

    def _fail(self, sender: str, text: str) -> None:
        now = self._call.now_ms()
        self._call.emit(events.Error(track_id=self._call.id, timestamp=now, sender=sender, error=text))

    def _measure(self, what: str, since: int, reply: Reply) -> None:
        now = self._call.now_ms()
        key = f"{what}.llm.{self._playbook.llm.provider}"
        self._call.emit(events.Metrics(timestamp=now, key=key, duration=now - since, data={"playId": reply.id}))
