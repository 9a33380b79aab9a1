"""A recogniser and a voice that take no time at all: what remains of a turn is the gateway's own.

Both are called `instant`. The recogniser takes every utterance for the same text, the voice beeps.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache

import numpy as np

from active_call.core.audio import SAMPLE_RATE, Pcm
from active_call.speech.providers import AsrResult, TtsChunk
from active_call.wire.options import AsrOption, TtsOption

_HEARD = "yes"
_CHARACTER_SAMPLES = SAMPLE_RATE * 40 // 1000
_CHUNK_CHARACTERS = 25
_TONE = (8000 * np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)).astype(np.int16)
"""One second: a whole number of periods, and one chunk."""


class InstantAsr:
    """Hears `extra.text` of its option ("yes" by default), final, as soon as an utterance has ended.

    With `extra.partial` it hears that first, as soon as an utterance has begun.
    """

    def open(self, option: AsrOption) -> AbstractAsyncContextManager["InstantAsrStream"]:
        """Listen to one caller."""
        extra = option.extra or {}
        return _opened(InstantAsrStream(extra.get("text", _HEARD), extra.get("partial")))


@asynccontextmanager
async def _opened(stream: "InstantAsrStream") -> AsyncIterator["InstantAsrStream"]:
    yield stream


class InstantAsrStream:
    """One caller. Looks at no audio."""

    def __init__(self, text: str, partial: str | None) -> None:
        self._text = text
        self._partial = partial
        self._start = 0
        self._results: asyncio.Queue[AsrResult | None] = asyncio.Queue()  # two per utterance

    async def send(self, pcm: Pcm, position: int) -> None:
        """Audio is ignored."""

    async def speech_started(self, position: int) -> None:
        """Remember where, and guess."""
        self._start = position
        if self._partial is not None:
            self._results.put_nowait(AsrResult(self._partial, False, position, position))

    async def speech_ended(self, position: int) -> None:
        """That was it."""
        self._results.put_nowait(AsrResult(self._text, True, self._start, position))

    async def expect(self, phrases: Sequence[str]) -> None:
        """Nothing is expected of the caller."""

    async def finish(self) -> None:
        """End the iteration."""
        self._results.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[AsrResult]:
        while (result := await self._results.get()) is not None:
            yield result


class InstantTts:
    """Beeps 440 Hz for 40 ms per letter or digit, and is silent for 40 ms for any other character."""

    async def synthesize(self, text: AsyncIterable[str], option: TtsOption) -> AsyncIterator[TtsChunk]:
        """Chunks of at most a second, each with its text."""
        async for piece in text:
            for at in range(0, len(piece), _CHUNK_CHARACTERS):
                part = piece[at : at + _CHUNK_CHARACTERS]
                yield TtsChunk(_beeps(part), part)


@lru_cache(maxsize=256)
def _beeps(text: str) -> Pcm:
    """Samples of at most 25 characters, shape (640 * characters,)."""
    sounding = np.repeat([character.isalnum() for character in text], _CHARACTER_SAMPLES)
    samples: Pcm = np.where(sounding, _TONE[: len(sounding)], np.int16(0))
    samples.flags.writeable = False
    return samples
