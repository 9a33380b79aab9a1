import asyncio
from collections.abc import AsyncIterator

import numpy as np

from active_call.core.audio import Pcm
from active_call.speech.providers import AsrResult, TtsChunk
from active_call.testing.instant import InstantAsr, InstantTts
from active_call.wire.options import AsrOption, TtsOption


def speak(*pieces: str) -> list[TtsChunk]:
    async def texts() -> AsyncIterator[str]:
        for piece in pieces:
            yield piece

    async def collect() -> list[TtsChunk]:
        return [chunk async for chunk in InstantTts().synthesize(texts(), TtsOption())]

    return asyncio.run(collect())


def sound(text: str) -> Pcm:
    return np.concatenate([chunk.pcm for chunk in speak(text)])


def hear(option: AsrOption) -> list[AsrResult]:
    async def collect() -> list[AsrResult]:
        async with InstantAsr().open(option) as stream:
            await stream.send(np.zeros(1600, np.int16), 0)
            await stream.speech_started(320)
            await stream.speech_ended(6400)
            await stream.finish()
            return [result async for result in stream]

    return asyncio.run(collect())


def test_forty_milliseconds_per_character() -> None:
    assert len(sound("x" * 60)) == 60 * 640


def test_letters_beep_at_440_hz() -> None:
    spectrum = np.abs(np.fft.rfft(sound("x" * 25)))
    assert np.argmax(spectrum) == 440


def test_other_characters_are_silent() -> None:
    samples = sound("a.b")
    assert [bool(part.any()) for part in np.split(samples, 3)] == [True, False, True]


def test_chunks_carry_the_text_and_last_a_second_at_most() -> None:
    chunks = speak("x" * 30, "yz")
    assert [chunk.text for chunk in chunks] == ["x" * 25, "x" * 5, "yz"]
    assert max(len(chunk.pcm) for chunk in chunks) == 16_000


def test_an_utterance_is_final_at_its_end() -> None:
    assert hear(AsrOption()) == [AsrResult("yes", True, 320, 6400)]


def test_the_option_tells_what_is_heard() -> None:
    assert hear(AsrOption(extra={"text": "no"}))[0].text == "no"


def test_a_guess_comes_before_the_end() -> None:
    assert hear(AsrOption(extra={"partial": "y"})) == [
        AsrResult("y", False, 320, 320),
        AsrResult("yes", True, 320, 6400),
    ]
