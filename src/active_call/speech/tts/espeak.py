"""Speech by espeak-ng inside this process: no account, no network, the first sound within a millisecond.

The library keeps global state, so one thread does all synthesis, sentence by sentence. ctypes releases the GIL
around it and the library is a thousand times faster than speech: the event loop stays free.
"""

import asyncio
import ctypes
import re
from collections.abc import AsyncIterable, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import espeakng_loader
import numpy as np

from active_call.core.audio import Pcm
from active_call.core.errors import ProviderError
from active_call.core.resample import Resampler
from active_call.speech.providers import TtsChunk
from active_call.speech.sentences import sentences
from active_call.wire.options import TtsOption

# Of espeak-ng's speak_lib.h.
_SYNCHRONOUS, _DONT_EXIT = 2, 0x8000
_CHARACTERS, _UTF8 = 1, 1
_RATE, _VOLUME = 1, 2

_CHUNK_MS = 60
_WORDS_PER_MINUTE = 175
_NORMAL_VOLUME = 5
_LANGUAGES = {
    "en": "en-us",
    "en-uk": "en",
    "en-gb": "en",
    "zh": "cmn",
    "zh-cn": "cmn",
    "zh-tw": "cmn",
    "zh-hk": "yue",
}
_VOICE = re.compile(r"[a-z0-9-]+(\+[a-z0-9_-]+)?", re.IGNORECASE)

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class _Speech:
    """One sentence on its way from the worker thread to the loop."""

    def __init__(self, text: str, rate: int) -> None:
        self.text = text
        self.stopped = False
        self._resampler = Resampler(rate)
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[TtsChunk | None] = asyncio.Queue()  # bounded by the sentence's length

    async def get(self) -> TtsChunk | None:
        """The next chunk; None at the end."""
        return await self._chunks.get()

    def put(self, samples: bytes) -> None:
        """Thread: `samples` are spoken next."""
        self._post(self._resampler.process(np.frombuffer(samples, np.int16)))

    def finish(self) -> None:
        """Thread: the sentence is over, whether or not it succeeded."""
        self._post(self._resampler.flush())
        self._post(None)

    def _post(self, pcm: Pcm | None) -> None:
        if self.stopped or (pcm is not None and not len(pcm)):
            return
        chunk = None if pcm is None else TtsChunk(pcm, self.text)
        try:
            self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
        except RuntimeError:  # the loop is closed: nobody listens any more
            self.stopped = True


class _Engine:
    """The library. Only its one thread calls it."""

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, "espeak")
        self._rate = 0
        self._current: _Speech | None = None
        self._callback = _Callback(self._receive)

    def start(self) -> int:
        """Load the library once; its sample rate. Raises ProviderError."""
        if not self._rate:
            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
            data = str(espeakng_loader.get_data_path())
            self._variants = Path(data) / "voices" / "!v"
            rate = self._library.espeak_Initialize(_SYNCHRONOUS, _CHUNK_MS, data.encode(), _DONT_EXIT)
            if rate <= 0:
                raise ProviderError("espeak", f"espeak-ng did not start with its data in {data}")
            self._library.espeak_SetSynthCallback(self._callback)
            self._rate = rate
        return self._rate

    def speak(self, speech: _Speech, option: TtsOption) -> None:
        """Synthesise one sentence into `speech`. Raises ProviderError."""
        try:
            if speech.stopped:
                return
            self._set_voice(option)
            rate = round(_WORDS_PER_MINUTE * (option.speed or 1.0))
            self._library.espeak_SetParameter(_RATE, min(max(rate, 80), 450), 0)
            volume = _NORMAL_VOLUME if option.volume is None else option.volume
            self._library.espeak_SetParameter(_VOLUME, 100 * volume // _NORMAL_VOLUME, 0)
            data = speech.text.replace("\0", " ").encode("utf-8", "replace") + b"\0"
            self._current = speech
            status = self._library.espeak_Synth(data, len(data), 0, _CHARACTERS, 0, _UTF8, None, None)
            if status and not speech.stopped:
                raise ProviderError("espeak", f"espeak-ng failed with status {status}", retryable=True)
        finally:
            self._current = None
            speech.finish()

    def _set_voice(self, option: TtsOption) -> None:
        """By the speaker's name ("en-gb", "cmn", "en-us+f3"), else by language, else American English."""
        if option.speaker:
            wanted, candidates = f'voice "{option.speaker}"', [option.speaker.lower()]
        else:
            tag = (option.language or "en").lower().replace("_", "-")
            wanted, candidates = f'voice for language "{option.language}"', [tag, tag.partition("-")[0]]
        for candidate in candidates:
            name = _LANGUAGES.get(candidate, candidate)
            variant = name.partition("+")[2]  # the library would take a wrong one silently
            if not _VOICE.fullmatch(name) or (variant and not (self._variants / variant).exists()):
                continue
            if self._library.espeak_SetVoiceByName(name.encode()) == 0:
                return
        raise ProviderError(
            "espeak", f'espeak-ng has no {wanted}; examples: "en-us", "en-gb", "cmn", "en-us+f3"'
        )

    def _receive(self, samples: Any, count: int, _events: int) -> int:
        """The library's callback; 1 stops it."""
        speech = self._current
        if speech is None or speech.stopped:
            return 1
        if count > 0 and samples:
            speech.put(ctypes.string_at(samples, count * 2))
        return 0


_engine = _Engine()


class EspeakTts:
    """The voice `espeak`. `speed` 1.0 is 175 words a minute (80 to 450), `volume` 5 the normal loudness."""

    async def synthesize(self, text: AsyncIterable[str], option: TtsOption) -> AsyncIterator[TtsChunk]:
        """Chunks of 60 ms at most, each with the sentence it is of. Raises ProviderError."""
        loop = asyncio.get_running_loop()
        rate = await loop.run_in_executor(_engine.thread, _engine.start)
        async for sentence in sentences(text):
            speech = _Speech(sentence, rate)
            done = loop.run_in_executor(_engine.thread, _engine.speak, speech, option)
            try:
                while (chunk := await speech.get()) is not None:
                    yield chunk
                await done
            finally:
                speech.stopped = True
                done.cancel()
