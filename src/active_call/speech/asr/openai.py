"""Speech recognition by OpenAI's API or any server with the same POST /audio/transcriptions."""

import io
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from active_call.core.audio import SAMPLE_RATE, Pcm
from active_call.speech.asr.utterance import Heard, Utterance, UtteranceStream
from active_call.speech.openai_client import openai_client, openai_errors
from active_call.wire.options import AsrOption


class OpenAiAsr:
    """The recogniser `openai`: `model_type` (whisper-1), `language`, `endpoint`, `secret_key`; finals only."""

    @asynccontextmanager
    async def open(self, option: AsrOption) -> AsyncIterator[UtteranceStream]:
        """One request per utterance; `phrases` are given as a hint. Raises ProviderError without a key."""
        from openai import omit

        client = openai_client(option.endpoint, option.secret_key)
        language = option.language.split("-")[0].lower() if option.language else omit

        async def recognize(utterance: Utterance, phrases: Sequence[str]) -> Heard:
            with openai_errors("speech recognition"):
                result = await client.audio.transcriptions.create(
                    model=option.model_type or "whisper-1",
                    file=("utterance.wav", _wav(utterance.pcm), "audio/wav"),
                    response_format="json",
                    language=language,
                    prompt=", ".join(phrases) if phrases else omit,
                )
            return Heard(result.text.strip())

        yield UtteranceStream(recognize, option.phrases or ())


def _wav(pcm: Pcm) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(pcm.astype("<i2").tobytes())
    return file.getvalue()
