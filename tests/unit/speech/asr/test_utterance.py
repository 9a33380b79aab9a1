import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from active_call.core.errors import ProviderError
from active_call.speech.asr.utterance import LEAD, LONGEST, TAIL, Heard, Utterance, UtteranceStream
from active_call.speech.providers import AsrResult

TICK = 320


class Recogniser:
    """Says how much it was given."""

    def __init__(self) -> None:
        self.asked: list[Utterance] = []
        self.phrases: list[tuple[str, ...]] = []

    async def __call__(self, utterance: Utterance, phrases: Sequence[str]) -> Heard:
        self.asked.append(utterance)
        self.phrases.append(tuple(phrases))
        return Heard(f"{len(utterance.pcm)}")


async def ticks(stream: UtteranceStream, first: int, last: int) -> None:
    """Audio whose samples count up, from lane position `first` to `last`."""
    for position in range(first, last, TICK):
        await stream.send(np.arange(position, position + TICK).astype(np.int16), position)


async def rest(stream: UtteranceStream) -> list[AsrResult]:
    await stream.finish()
    return [result async for result in stream]


def test_an_utterance_has_its_lead_and_tail() -> None:
    async def scene() -> tuple[AsrResult, Utterance]:
        recogniser = Recogniser()
        stream = UtteranceStream(recogniser)
        await ticks(stream, 0, 32_000)
        await stream.speech_started(20_000)
        await ticks(stream, 32_000, 48_000)
        await stream.speech_ended(40_000)
        (result,) = await rest(stream)
        return result, recogniser.asked[0]

    result, utterance = asyncio.run(scene())
    assert (result.start, result.end, result.final) == (20_000 - LEAD, 40_000 + TAIL, True)
    assert np.array_equal(utterance.pcm, np.arange(result.start, result.end).astype(np.int16))


def test_silence_is_not_kept_for_long() -> None:
    async def scene() -> AsrResult:
        stream = UtteranceStream(Recogniser())
        await ticks(stream, 0, 160_000)
        await stream.speech_started(0)
        await stream.speech_ended(160_000)
        (result,) = await rest(stream)
        return result

    assert asyncio.run(scene()).start >= 160_000 - 45_000


def test_gaps_are_silence_and_repeats_are_left_out() -> None:
    async def scene() -> Utterance:
        recogniser = Recogniser()
        stream = UtteranceStream(recogniser)
        await stream.send(np.full(100, 1, np.int16), 0)
        await stream.speech_started(0)
        await stream.send(np.full(100, 2, np.int16), 50)
        await stream.send(np.full(100, 3, np.int16), 200)
        await stream.speech_ended(300)
        await rest(stream)
        return recogniser.asked[0]

    assert asyncio.run(scene()).pcm.tolist() == [1] * 100 + [2] * 50 + [0] * 50 + [3] * 100


def test_endless_speech_is_cut() -> None:
    async def scene() -> list[AsrResult]:
        stream = UtteranceStream(Recogniser())
        await stream.speech_started(0)
        await ticks(stream, 0, LONGEST + 16_000)
        return await rest(stream)

    first, second = asyncio.run(scene())
    assert first.end == second.start == LONGEST
    assert second.end == LONGEST + 16_000


def test_partials_come_while_speaking_and_ever_less_often() -> None:
    async def scene() -> list[AsrResult]:
        stream = UtteranceStream(Recogniser(), partials=True)
        results: list[AsrResult] = []

        async def read() -> None:
            results.extend([result async for result in stream])

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            await stream.speech_started(0)
            for position in range(0, 160_000, TICK):
                await ticks(stream, position, position + TICK)
                await asyncio.sleep(0)
            await stream.speech_ended(160_000)
            await stream.finish()
        return results

    *partials, final = asyncio.run(scene())
    assert final.final
    assert not any(result.final for result in partials)
    gaps = np.diff([result.end for result in partials])
    assert gaps.min() >= 3_200
    assert 10 < len(partials) < 30
    assert gaps[-1] > gaps[0]


def test_expected_phrases_are_passed_on() -> None:
    async def scene() -> list[tuple[str, ...]]:
        recogniser = Recogniser()
        stream = UtteranceStream(recogniser, ["yes"])
        for position, phrases in ((0, ["one"]), (TICK, ["two", "three"])):
            await stream.expect(phrases)
            await ticks(stream, position, position + TICK)
            await stream.speech_started(position)
            await stream.speech_ended(position + TICK)
        await rest(stream)
        return recogniser.phrases

    assert asyncio.run(scene())[-1] == ("two", "three")


def test_nothing_heard_is_no_result() -> None:
    async def nothing(utterance: Utterance, phrases: Sequence[str]) -> Heard:
        return Heard("")

    async def scene() -> list[AsrResult]:
        stream = UtteranceStream(nothing)
        await stream.speech_started(0)
        await ticks(stream, 0, 16_000)
        return await rest(stream)

    assert asyncio.run(scene()) == []


def test_a_failure_reaches_the_reader_who_may_read_on() -> None:
    failing = True

    async def recognize(utterance: Utterance, phrases: Sequence[str]) -> Heard:
        if failing:
            raise ProviderError("test", "no luck", retryable=True)
        return Heard("ok")

    async def scene() -> list[AsrResult]:
        nonlocal failing
        stream = UtteranceStream(recognize)
        await stream.speech_started(0)
        await ticks(stream, 0, 16_000)
        await stream.speech_ended(16_000)
        with pytest.raises(ProviderError, match="no luck"):
            await anext(aiter(stream))
        failing = False
        await stream.speech_started(16_000)
        await ticks(stream, 16_000, 32_000)
        return await rest(stream)

    assert [result.text for result in asyncio.run(scene())] == ["ok"]


def test_a_slow_recogniser_loses_the_oldest(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> list[AsrResult]:
        stream = UtteranceStream(Recogniser())
        for position in range(0, 10 * 16_000, 16_000):
            await stream.speech_started(position)
            await ticks(stream, position, position + 16_000)
            await stream.speech_ended(position + 16_000)
        return await rest(stream)

    results = asyncio.run(scene())
    assert len(results) == 8
    assert results[-1].end == 160_000
    assert "too slow" in caplog.text
