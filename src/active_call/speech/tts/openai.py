"""Speech by OpenAI's API or any server with the same POST /audio/speech."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import ClassVar

import numpy as np

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError, ProviderError
from active_call.core.resample import Resampler
from active_call.media.wav import WavDecoder, is_wav
from active_call.speech.openai_client import openai_client, openai_errors
from active_call.speech.providers import TtsChunk
from active_call.speech.sentences import sentences
from active_call.wire.options import TtsOption

_RATE = 24_000
"""Of `response_format` pcm: 16-bit little-endian mono."""
_BLOCK = 4_800
"""Bytes per chunk at most: 100 ms."""


class _RawDecoder:
    """16-bit samples, which chunks may cut in two."""

    def __init__(self) -> None:
        self._resampler = Resampler(_RATE)
        self._odd = b""

    def feed(self, data: bytes) -> Pcm:
        data = self._odd + data
        whole = len(data) // 2
        self._odd = data[2 * whole :]
        return self._resampler.process(np.frombuffer(data, "<i2", whole).astype(np.int16))

    def finish(self) -> Pcm:
        return self._resampler.flush()


class OpenAiTts:
    """The voice `openai`: `model` (tts-1), `speaker` (alloy), `speed`, `endpoint`, `secret_key`.

    Servers that send a WAV file where raw samples were asked for are understood.
    """

    lacks_volume: ClassVar[bool] = True

    async def synthesize(self, text: AsyncIterable[str], option: TtsOption) -> AsyncIterator[TtsChunk]:
        """One request per sentence, its audio passed on as it arrives. Raises ProviderError."""
        client = openai_client(option.endpoint, option.secret_key)
        async for sentence in sentences(text):
            decoder: _RawDecoder | WavDecoder | None = None
            with openai_errors("speech synthesis"):
                async with client.audio.speech.with_streaming_response.create(
                    model=option.model or "tts-1",
                    voice=option.speaker or "alloy",
                    input=sentence,
                    response_format="pcm",
                    speed=option.speed or 1.0,
                ) as response:
                    async for data in response.iter_bytes(_BLOCK):
                        decoder = decoder or (WavDecoder() if is_wav(data) else _RawDecoder())
                        try:
                            pcm = decoder.feed(data)
                        except MediaError as error:
                            raise ProviderError("openai", f"speech synthesis sent a {error}") from error
                        if len(pcm):
                            yield TtsChunk(pcm, sentence)
            if decoder is not None and len(tail := decoder.finish()):
                yield TtsChunk(tail, sentence)
