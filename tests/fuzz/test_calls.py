"""Calls in which commands, SIP events, audio events and ends come in any order: none crashes, and all is told.

The order is random; a seed is one call. What SIP promises is kept: nothing after `Ended`, and an answer only to
calls that we make.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, TypeAlias

import pytest

from active_call.call.audio import voice as voice_module
from active_call.call.reasons import CLIENT_GONE, KILLED, SHUTDOWN
from active_call.call.record import record_of
from active_call.lanes.messages import DigitReceived, SpeechStarted
from active_call.sip import events as sip_events
from active_call.sip.dialogs.usage import UsageState
from active_call.wire import commands, events
from active_call.wire.options import CallOption, ReferOption, VadOption
from tests.unit.call.fakes import HOLD, OFFER, NotingSip, SampleVoice
from tests.unit.call.scene import VOICE, Kind, Scene, takes_place

CALLS_PER_TEST = 50
_UNANSWERED = (UsageState.CALLING, UsageState.EARLY)
_MOVED = OFFER.replace(b"4000", b"4010")
_CALLEES = ("sip:carol@example.com", "sip:dave@example.com")
_SPOKEN = CallOption(tts=VOICE)
Draw: TypeAlias = Callable[[Random], Any]


def _refer(random: Random) -> commands.Refer:
    return commands.Refer(
        callee=random.choice(_CALLEES),
        caller="",
        options=ReferOption(
            mode=random.choice(("bridge", "bridge", "blind", "attended")),
            moh=random.choice((None, "missing.wav")),
            auto_hangup=random.random() < 0.3,
            pause_parent_asr=random.random() < 0.5,
            vad=random.choice((None, VadOption(type="energy"))),
            timeout=random.choice((5, 30)),
        ),
    )


_COMMANDS: tuple[Draw, ...] = (
    *[_refer] * 8,
    lambda random: commands.Hangup(refer=True),
    lambda random: commands.Invite(option=CallOption(callee="sip:bob@example.com", tts=VOICE)),
    lambda random: commands.Accept(option=_SPOKEN),
    lambda random: commands.Reject(reason="no") if random.random() < 0.1 else commands.Ringing(),
    lambda random: commands.Ringing(early_media=True),
    lambda random: commands.Tts(text="hello", play_id=random.choice(("a", "b", None))),
    lambda random: commands.Tts(text="x" * 200, streaming=True, end_of_stream=random.random() < 0.5),
    lambda random: commands.Tts(text="bye", auto_hangup=random.random() < 0.1),
    lambda random: commands.Play(url="missing.wav"),
    lambda random: commands.Interrupt(graceful=random.random() < 0.5),
    lambda random: random.choice((commands.Pause(), commands.Resume(), commands.Mute(), commands.Unmute())),
    lambda random: commands.SendDtmf(digits="12", refer=True, mode=random.choice(("auto", "info", "rfc4733"))),
    lambda random: commands.Message(body="hi", refer=random.random() < 0.5),
    lambda random: commands.Bridge(target_session_id=random.choice(("c1", "nobody"))),
    lambda random: commands.Unbridge(target_session_id="c1"),
)

_BEFORE_THE_ANSWER: tuple[sip_events.SipEvent, ...] = (
    sip_events.Ringing(180, "Ringing", None),
    sip_events.Ringing(183, "Session Progress", OFFER),
    sip_events.Ringing(183, "Session Progress", b"junk"),
    sip_events.OfferReceived(_MOVED),
    sip_events.Rejected(486, "Busy Here", {}),
)
_ANY_TIME: tuple[sip_events.SipEvent, ...] = (
    sip_events.InfoReceived("application/dtmf-relay", b"Signal=5"),
    sip_events.MessageReceived("text/plain", b"hi"),
    sip_events.MessageAnswered("MESSAGE", 481, "no dialog"),
)
_IN_A_DIALOG: tuple[sip_events.SipEvent, ...] = (
    *_ANY_TIME,
    *(sip_events.OfferReceived(sdp) for sdp in (HOLD, OFFER, _MOVED, None, b"junk")),
    *(sip_events.OfferAnswered(sdp) for sdp in (_MOVED, None)),
    sip_events.OfferRefused(488, "Not Acceptable Here"),
    sip_events.Acknowledged(),
    sip_events.ReferReceived(_CALLEES[0], None, None),
    sip_events.ReferReceived(_CALLEES[1], "<sip:alice@example.com>", "a;to-tag=b;from-tag=c"),
    sip_events.ReferProgress(202, "Accepted", False),
    sip_events.ReferProgress(180, "Ringing", False),
    sip_events.ReferProgress(200, "OK", True),
    sip_events.ReferProgress(486, "Busy Here", True),
    sip_events.Ended("peer", "BYE"),
    sip_events.Ended("timeout", "no refresh"),
)


class Chaos:
    """One call."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.kind: Kind = self.random.choice(("sip", "sip", "sip", "waiting", "inbound", "audio"))
        self.wrong: list[str] = []
        self.newcomers: list[NotingSip] = []
        """Who has taken another's place."""

    def play(self) -> Scene:
        """From its beginning to its end."""
        return Scene(self.kind).play(self._script)

    async def _script(self, scene: Scene) -> None:
        if self.kind == "audio":
            await scene.start(tts=VOICE)
        elif self.kind == "sip":
            await scene.dial(tts=VOICE)
            if self.random.random() < 0.8:
                scene.sip.answers()
        elif self.kind == "waiting" and self.random.random() < 0.7:
            await scene.accept(tts=VOICE)
        for _ in range(self.random.randint(3, 40)):
            if scene.call.over:
                return
            steps = (self._command, self._command, self._sip, self._sip, self._lane, self._change)
            step = self.random.choice(steps)
            await step(scene)
            long = self.random.random() < 0.02
            await asyncio.sleep(40 if long else self.random.choice((0, 0, 0, 0.001, 0.01, 0.01, 1)))
        await asyncio.sleep(0.05)
        if not scene.call.over:
            self.wrong += _amiss(scene)
            await self._end(scene)

    async def _command(self, scene: Scene) -> None:
        await scene.call.submit(self.random.choice(_COMMANDS)(self.random))

    async def _sip(self, scene: Scene) -> None:
        everybody = [scene.sip, *scene.sip.parties[-1:] * 3, *self.newcomers[-1:]]
        alive = [sip for sip in everybody if sip.listener is not None and sip.state is not UsageState.ENDED]
        if not alive:
            return
        sip = self.random.choice(alive)
        if sip.state not in _UNANSWERED:
            if self.random.random() < 0.5:
                sip.remote_sdp = self.random.choice((OFFER, None))  # what an ACK may bring
            sip.happens(self.random.choice(_IN_A_DIALOG))
        elif sip is scene.sip and scene.call.inbound:
            sip.happens(self.random.choice((*_ANY_TIME, sip_events.Ended("canceled", "gave up"))))
        elif self.random.random() < 0.5:
            sip.answers(self.random.choice((OFFER, OFFER, OFFER, OFFER, None, b"junk")))
        else:
            event = self.random.choice(_BEFORE_THE_ANSWER)
            sip.happens(event)
            if isinstance(event, sip_events.Rejected):
                sip.happens(sip_events.Ended("peer", "486 Busy Here"))

    async def _lane(self, scene: Scene) -> None:
        for lane in scene.plane.lanes[-1:]:
            if not lane.closing and lane.listener is not None and scene.call.has_audio:
                row, generation = lane.ref.row, lane.ref.generation
                speech = SpeechStarted(row, generation, 100, 16_000, 0.9)
                key = DigitReceived(row, generation, 5, self.random.choice("12"), 320)
                lane.listener(self.random.choice((speech, key)))

    async def _change(self, scene: Scene) -> None:
        """Somebody takes another's place."""
        room = len(scene.plane.lanes) < scene.plane.table.capacity
        if self.kind == "audio" or not room or self.random.random() < 0.7:
            return
        done, leg, sip = takes_place(scene, self.random.choice((scene.sip, *scene.sip.parties)))
        if done:
            self.newcomers.append(sip)
        else:
            leg.lane.close()

    async def _end(self, scene: Scene) -> None:
        ending = self.random.choice((None, CLIENT_GONE, KILLED, SHUTDOWN))
        if ending is None:
            await scene.call.submit(commands.Hangup(reason="enough"))
        else:
            scene.call.end(ending)


def _amiss(scene: Scene) -> Iterator[str]:
    """What is wrong amid a call."""
    call, current = scene.call, scene.call.transfer.current
    heard = [] if not call.has_audio else [lane for lane in scene.plane.lanes if lane in call.effects.mix]
    if any(lane.closing for lane in heard):
        yield "somebody is heard who has gone"
    if current is None and heard:
        yield "somebody is heard without a transfer"
    party = current.leg if current is not None and current.connected else None
    if party is not None and not party.held and heard != [party.leg.lane]:
        yield "the party is not heard"
    if current is None and call.transfer.music.wanted:
        yield "music goes on without a transfer"


def _left_over(scene: Scene, newcomers: list[NotingSip]) -> Iterator[str]:
    """What is wrong afterwards."""
    call, names = scene.call, [event.event for event in scene.events]
    if scene.ending.status == 500 and "error inside the gateway" in scene.ending.detail:
        yield f"it crashed: {list(call.news.errors)}"
    if names[-1] != "hangup" or [event.refer for event in scene.all(events.Hangup)].count(None) != 1:
        yield "hangup is not the last event, and told once"
    if not all(lane.closing for lane in scene.plane.lanes):
        yield "a lane is open"
    if len(call.timers):
        yield "a timer runs"
    dialogs = [scene.sip, *scene.sip.parties, *newcomers]
    for dialog in dialogs:
        said = " ".join(dialog.done)
        if said and dialog.state is not UsageState.ENDED and "hangup" not in said and "reject" not in said:
            yield f"a dialog lives: {said}"
    for refer in (None, True):
        tracks = [
            (event.event, event.play_id)
            for event in scene.events
            if isinstance(event, events.TrackStart | events.TrackEnd) and event.refer is refer
        ]
        if len([event for event, _ in tracks if event == "trackStart"]) * 2 != len(tracks):
            yield f"tracks begin and don't end: {tracks}"
    yield from _untold(scene, asked=any("refer sip" in " ".join(dialog.done) for dialog in dialogs))
    yield from _record(scene)


def _untold(scene: Scene, *, asked: bool) -> Iterator[str]:
    """Each party that was told of ends in the events, unless the call was transferred to it.

    `asked`: a phone was, and what it tells of who it calls may never end.
    """
    told = ""
    for event in scene.events:
        if getattr(event, "refer", None) and event.event != "trackEnd":  # which follows `reject`
            told = "" if event.event in ("reject", "hangup") else event.event
    if told and scene.ending.record != "byRefer" and not (asked and told in ("ringing", "answer")):
        yield f"a party has no end: its last event was {told}"


def _record(scene: Scene) -> Iterator[str]:
    record = record_of(scene.call)
    record.model_dump_json()
    never_answered = record.answer_time is None and scene.call.leg is not None
    if never_answered and record.status_code == 200 and not scene.call.inbound:
        yield "a call that was never answered has status 200"
    for party in record.refer_callrecords or []:
        if party.answer_time is None and party.status_code == 200:
            yield "a party that never answered has status 200"


@pytest.mark.parametrize("first", range(0, 10 * CALLS_PER_TEST, CALLS_PER_TEST))
def test_whatever_comes_in_whatever_order_a_call_ends_well(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_module, "load_tts", lambda name: SampleVoice())
    logging.disable(logging.CRITICAL)
    try:
        for seed in range(first, first + CALLS_PER_TEST):
            chaos = Chaos(seed)
            scene = chaos.play()
            assert [*chaos.wrong, *_left_over(scene, chaos.newcomers)] == [], f"seed {seed}: {scene.names()}"
    finally:
        logging.disable(logging.NOTSET)
