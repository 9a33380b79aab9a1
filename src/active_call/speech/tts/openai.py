"""Speech by OpenAI's API or any server with the same POST /audio/speech."""

from collections.abc import AsyncIterable, AsyncIterator

import numpy as np

from active_call.core.resample import Resampler
from active_call.speech.openai_client import openai_client, openai_errors
from active_call.speech.providers import TtsChunk
from active_call.speech.sentences import sentences
from active_call.wire.options import TtsOption

_RATE = 24_000
"""Of `response_format` pcm: 16-bit little-endian mono."""
_BLOCK = 4_800
"""Bytes per chunk at most: 100 ms."""


class OpenAiTts:
    """The voice `openai`: `model` (tts-1), `speaker` (alloy), `speed`, `endpoint`, `secret_key`; no volume."""

    async def synthesize(self, text: AsyncIterable[str], option: TtsOption) -> AsyncIterator[TtsChunk]:
        """One request per sentence, its audio passed on as it arrives. Raises ProviderError."""
        client = openai_client(option.endpoint, option.secret_key)
        async for sentence in sentences(text):
            resampler = Resampler(_RATE)
            odd = b""
            said: str | None = sentence
            with openai_errors("speech synthesis"):
                async with client.audio.speech.with_streaming_response.create(
                    model=option.model or "tts-1",
                    voice=option.speaker or "alloy",
                    input=sentence,
                    response_format="pcm",
                    speed=option.speed or 1.0,
                ) as response:
                    async for data in response.iter_bytes(_BLOCK):
                        data = odd + data
                        odd = data[len(data) // 2 * 2 :]
                        pcm = resampler.process(np.frombuffer(data, "<i2", len(data) // 2).astype(np.int16))
                        if len(pcm):
                            yield TtsChunk(pcm, said)
                            said = None
            tail = resampler.flush()
            if len(tail):
                yield TtsChunk(tail, said)
