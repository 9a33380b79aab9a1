"""What the call tells of its peer."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from active_call.call.audio.hearing import HearingFailed, Recognised
from active_call.lanes.messages import ConfigureVad, SpeechEnded, SpeechStarted
from active_call.sip.events import Answered
from active_call.speech.providers import AsrResult
from active_call.wire import events
from active_call.wire.commands import Hangup
from active_call.wire.options import AmdOption, AsrOption, CallOption, EouOption
from tests.unit.call.fakes import OFFER
from tests.unit.call.scene import Scene

SECOND = 16_000
OPENED_MS = 1_000_000_000_000


def hears(scene: Scene, text: str, start: int, end: int, *, final: bool = True) -> None:
    listening = scene.call.listening
    scene.call.timers.soon(lambda: listening.heard(Recognised(AsrResult(text, final, start, end, 0.9))))


async def listening(scene: Scene, **option: Any) -> None:
    """The client starts, with a recogniser that the test plays."""
    await scene.start(**option)
    scene.call.listening._option = CallOption(asr=AsrOption(provider="played"), **option)


def test_words_have_an_index_and_their_times() -> None:
    async def script(scene: Scene) -> None:
        await listening(scene)
        hears(scene, "hel", 0, SECOND, final=False)
        hears(scene, " hello ", 0, 2 * SECOND)
        hears(scene, "  ", 2 * SECOND, 3 * SECOND)
        hears(scene, "world", 3 * SECOND, 4 * SECOND)
        await scene.give(Hangup())

    scene = Scene("audio").play(script)
    (delta,) = scene.all(events.AsrDelta)
    finals = scene.all(events.AsrFinal)
    assert (delta.index, delta.text, delta.end_time) == (0, "hel", OPENED_MS + 1000)
    assert [(final.index, final.text) for final in finals] == [(0, "hello"), (1, "world")]
    assert (finals[1].start_time, finals[1].end_time) == (OPENED_MS + 3000, OPENED_MS + 4000)
    keys = [(event.key, event.data) for event in scene.all(events.Metrics)]
    assert keys == [
        ("ttfb.asr.played", {}),
        ("completed.asr.played", {"index": 0}),
        ("ttfb.asr.played", {}),
        ("completed.asr.played", {"index": 1}),
    ]


def test_words_that_wait_their_turn_when_nobody_listens_any_more_are_not_told() -> None:
    async def script(scene: Scene) -> None:
        await listening(scene, eou=EouOption(type="any"))
        hears(scene, "hello", 0, SECOND)
        scene.call.listening.stop()
        await asyncio.sleep(5)
        await scene.give(Hangup())

    scene = Scene("audio").play(script)
    assert scene.all(events.AsrFinal) == []
    assert scene.all(events.Eou) == []


def test_a_recogniser_that_fails_is_one_error() -> None:
    async def script(scene: Scene) -> None:
        await scene.start()
        scene.call.listening.heard(HearingFailed("x", "quota"))
        await scene.give(Hangup())

    error = Scene("audio").play(script).told(events.Error)
    assert (error.sender, error.error, error.code) == ("asr", "quota", 500)


@pytest.mark.parametrize("speaks_on", [False, True])
def test_a_turn_ends_when_nothing_more_is_said(speaks_on: bool) -> None:
    async def script(scene: Scene) -> None:
        await listening(scene, eou=EouOption(timeout=500))
        hears(scene, "I would like", 0, SECOND)
        await asyncio.sleep(0.3)
        if speaks_on:
            scene.call.on_lane(SpeechStarted(0, 7, 100, SECOND, 0.9))
            await asyncio.sleep(2)
            hears(scene, "a coffee", SECOND, 2 * SECOND)
        await asyncio.sleep(0.6)
        await scene.give(Hangup())

    (turn,) = Scene("audio").play(script).all(events.Eou)
    assert (turn.completed, turn.complete) == (True, True)
    assert turn.text == ("I would like a coffee" if speaks_on else "I would like")


def test_no_turn_is_told_unless_it_is_asked_for() -> None:
    async def script(scene: Scene) -> None:
        await listening(scene)
        hears(scene, "hello", 0, SECOND)
        await asyncio.sleep(5)
        await scene.give(Hangup())

    assert Scene("audio").play(script).all(events.Eou) == []


def test_an_unknown_detector_of_turns_is_one_error() -> None:
    async def script(scene: Scene) -> None:
        await scene.start(eou=EouOption(type="tencent"))
        await scene.give(Hangup())

    ((sender, text),) = Scene("audio").play(script).errors()
    assert sender == "eou"
    assert '"tencent"' in text


# --- answering machines ---------------------------------------------------------------------------------


def answered(option: CallOption, then: Any) -> Scene:
    async def script(scene: Scene) -> None:
        await scene.dial(amd=option.amd)
        scene.sip.happens(Answered(OFFER))
        await asyncio.sleep(0.01)
        await then(scene)
        await scene.give(Hangup())

    return Scene("sip").play(script)


def speech(scene: Scene, seconds: float) -> Coroutine[Any, Any, None]:
    """Speech that begins now."""
    now = scene.call.now_ms() - OPENED_MS
    start = now * 16
    scene.call.on_lane(SpeechStarted(0, 7, 100, start, 0.9))

    async def end() -> None:
        await asyncio.sleep(seconds)
        scene.call.on_lane(SpeechEnded(0, 7, 100, start, start + round(seconds * SECOND)))
        await asyncio.sleep(0.01)

    return end()


def test_a_machine_talks_on() -> None:
    async def then(scene: Scene) -> None:
        await speech(scene, 4)

    scene = answered(CallOption(amd=True), then)
    detected = scene.told(events.AnswerMachineDetection)
    assert "without a longer pause" in detected.text
    assert detected.end_time > detected.start_time
    assert len(scene.plane.told(ConfigureVad)) == 1


def test_a_person_greets_and_waits() -> None:
    async def then(scene: Scene) -> None:
        await speech(scene, 0.7)
        await asyncio.sleep(10)
        assert not scene.lane.listening

    assert answered(CallOption(amd=AmdOption()), then).all(events.AnswerMachineDetection) == []


def test_a_beep_is_told_too() -> None:
    times = np.arange(SECOND) / SECOND
    beep = (8000 * np.sin(2 * np.pi * 1000 * times)).astype(np.int16)

    async def then(scene: Scene) -> None:
        await speech(scene, 4)
        scene.call.listening._listen_for_beep(beep, (scene.call.now_ms() - OPENED_MS) * 16)
        after = (scene.call.now_ms() + 1000 - OPENED_MS) * 16
        scene.call.listening._listen_for_beep(np.zeros(SECOND, np.int16), after)
        await asyncio.sleep(0.01)

    texts = [event.text for event in answered(CallOption(amd=True), then).all(events.AnswerMachineDetection)]
    assert len(texts) == 2
    assert "beep" in texts[1]


@pytest.mark.parametrize("amd", [None, False, AmdOption(enabled=False)])
def test_nobody_asked_for_it(amd: AmdOption | bool | None) -> None:
    async def then(scene: Scene) -> None:
        await speech(scene, 4)
        assert not scene.lane.listening

    scene = answered(CallOption(amd=amd), then)
    assert scene.all(events.AnswerMachineDetection) == []
    assert scene.plane.told(ConfigureVad) == []
