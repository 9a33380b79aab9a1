"""What a call hears: detection is configured, recognition runs beside the call and survives what passes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from active_call.call.audio import hearing as hearing_module
from active_call.call.audio.hearing import Hearing, HearingFailed, Recognised
from active_call.core.audio import Pcm
from active_call.core.errors import ProviderError
from active_call.lanes.messages import ConfigureVad, SpeechEnded, SpeechStarted
from active_call.speech.providers import AsrResult
from active_call.testing import clock
from active_call.wire.options import AsrOption, VadOption
from tests.unit.call.fakes import NotingCall
from tests.unit.media.fakes import NotingPlane


class NotingAsr:
    """Notes what it is told; every utterance is "hello", unless it fails first."""

    def __init__(self, failures: Sequence[ProviderError] = ()) -> None:
        self.told: list[str] = []
        self._failures = list(failures)
        self._results: asyncio.Queue[AsrResult] = asyncio.Queue()

    @asynccontextmanager
    async def open(self, option: AsrOption) -> AsyncIterator["NotingAsr"]:
        yield self

    async def send(self, pcm: Pcm, position: int) -> None:
        self.told.append(f"{len(pcm)} at {position}")

    async def speech_started(self, position: int) -> None:
        self.told.append(f"started at {position}")

    async def speech_ended(self, position: int) -> None:
        self.told.append(f"ended at {position}")
        self._results.put_nowait(AsrResult("hello", True, 0, position))

    async def expect(self, phrases: Sequence[str]) -> None:
        self.told.append(f"expect {', '.join(phrases)}")

    async def finish(self) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[AsrResult]:
        while True:
            result = await self._results.get()
            if self._failures:
                raise self._failures.pop(0)
            yield result


def test_t20_a_paused_recogniser_hears_nothing_until_it_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    asr = NotingAsr()
    monkeypatch.setattr(hearing_module, "load_asr", lambda name: asr)

    async def scene() -> None:
        plane, call = NotingPlane(), NotingCall()
        lane = plane.lane()
        hearing = Hearing(lane, call, lambda notice: None)
        hearing.start(None, AsrOption(provider="noting"))
        await asyncio.sleep(0.1)

        def pass_ms(milliseconds: int) -> int:
            plane.table.position[1] += milliseconds * 16
            lane.drain()
            return int(plane.table.position[1])

        hearing.speech_started(SpeechStarted(1, 7, 1, pass_ms(20), 0.9))
        hearing.pause()  # amid a word
        hearing.speech_ended(SpeechEnded(1, 7, 2, 0, pass_ms(20)))
        hearing.speech_started(SpeechStarted(1, 7, 3, pass_ms(20), 0.9))
        hearing.resume()  # amid another
        hearing.speech_ended(SpeechEnded(1, 7, 4, 0, pass_ms(20)))
        hearing.speech_started(SpeechStarted(1, 7, 5, pass_ms(20), 0.9))
        hearing.speech_ended(SpeechEnded(1, 7, 6, 0, pass_ms(20)))
        await asyncio.sleep(0.1)
        hearing.stop()
        await asyncio.sleep(0.1)
        assert all(task.done() for task in call.tasks)

    clock.run(scene())
    assert asr.told == [
        "320 at 0",
        "started at 320",
        "ended at 320",
        "320 at 960",
        "320 at 1280",
        "started at 1600",
        "320 at 1600",
        "ended at 1920",
    ]


def listen(
    asr: NotingAsr, monkeypatch: pytest.MonkeyPatch, utterances: int = 1
) -> list[Recognised | HearingFailed]:
    monkeypatch.setattr(hearing_module, "load_asr", lambda name: asr)
    heard: list[Recognised | HearingFailed] = []

    async def scene() -> None:
        plane, call = NotingPlane(), NotingCall()
        hearing = Hearing(plane.lane(), call, heard.append)
        hearing.start(None, AsrOption(provider="noting"))
        await asyncio.sleep(0.1)
        hearing.expect(["yes", "no"])
        for number in range(utterances):
            plane.table.received[1] = np.int16(1)
            plane.table.position[1] += 640
            position = int(plane.table.position[1])
            hearing.speech_started(SpeechStarted(1, 7, number, position - 320, 0.9))
            hearing.speech_ended(SpeechEnded(1, 7, number, position - 320, position))
            await asyncio.sleep(5)
        for task in call.tasks:
            task.cancel()

    clock.run(scene())
    return heard


def test_audio_and_notices_reach_the_recogniser_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asr = NotingAsr()
    heard = listen(asr, monkeypatch)
    assert asr.told == ["expect yes, no", "640 at 0", "started at 320", "ended at 640"]
    assert heard == [Recognised(AsrResult("hello", True, 0, 640))]


def test_a_failure_that_may_pass_is_told_and_recognition_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asr = NotingAsr([ProviderError("noting", "too many requests", retryable=True)])
    heard = listen(asr, monkeypatch, utterances=2)
    assert heard[0] == HearingFailed("noting", "too many requests")
    assert isinstance(heard[1], Recognised)


def test_another_failure_ends_recognition_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asr = NotingAsr([ProviderError("noting", "no such key")])
    assert listen(asr, monkeypatch, utterances=2) == [HearingFailed("noting", "no such key")]


@pytest.mark.parametrize(
    ("kind", "told", "complains"),
    [("silero", "silero", False), ("ten", "silero", False), (None, "webrtc", False), ("magic", "webrtc", True)],
)
def test_an_unknown_detector_is_never_a_deaf_call(kind: str | None, told: str, complains: bool) -> None:
    plane = NotingPlane()
    hearing = Hearing(plane.lane(), NotingCall(), lambda notice: None)
    complaint = hearing.start(VadOption(type=kind, speech_padding=120), None)
    (message,) = plane.sent
    assert isinstance(message, ConfigureVad)
    assert (message.kind, message.speech_padding_ms) == (told, 120)
    assert (complaint is not None) == complains


def test_detection_can_be_switched_off() -> None:
    plane = NotingPlane()
    Hearing(plane.lane(), NotingCall(), lambda notice: None).start(VadOption(type="off"), None)
    assert plane.sent == []
