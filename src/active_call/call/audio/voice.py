"""Speech for one call: from `tts` commands to samples, by a provider or from the media cache."""

import asyncio
import base64
import binascii
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from active_call.core.audio import SAMPLE_RATE, Pcm
from active_call.core.errors import ActiveCallError, MediaError, ProviderError
from active_call.core.resample import resample
from active_call.core.streams import closing
from active_call.media.cache import SPEECH, Draft, MediaCache, cache_key
from active_call.media.wav import WavDecoder, is_wav, wav_samples_at
from active_call.speech.providers import TtsChunk, load_tts
from active_call.wire.commands import Tts
from active_call.wire.dialogue import Running
from active_call.wire.options import TtsOption, merge

log = logging.getLogger(__name__)

_STALL_SECONDS = 10.0
_AHEAD_SAMPLES = 5 * SAMPLE_RATE
"""A voice that is so far ahead of what is played waits."""
_READ_SAMPLES = 4 * SAMPLE_RATE
_HELD_SAMPLES = 10 * SAMPLE_RATE
"""Of what is being cached, before it goes to the disk."""
_NORMAL_VOLUME = 5
_SILENT_OPTIONS = {"secret_key", "secret_id", "app_id", "subtitle", "max_concurrent_tasks"}
"""What does not change the sound."""

Report = Callable[[str, int, dict[str, Any]], None]
"""Takes the key, milliseconds and details of a measurement."""


def option_of(base: TtsOption | None, command: Tts) -> TtsOption:
    """The call's option, overlaid by the command's field by field, and by its speaker."""
    option = merge(base, command.option) or TtsOption()
    return option if command.speaker is None else option.model_copy(update={"speaker": command.speaker})


def key_of(command: Tts, option: TtsOption) -> str:
    """Under which a spoken command is cached: its `cacheKey`, or a hash over all that changes the sound."""
    if command.cache_key:
        return command.cache_key
    fields = option.model_dump(mode="json", exclude=_SILENT_OPTIONS, exclude_none=True)
    return cache_key(text=command.text, rate=SAMPLE_RATE, **fields)


def says_anything(text: str) -> bool:
    """Whether there is a word in `text`: emoji and punctuation alone are not spoken."""
    return any(character.isalnum() for character in text)


async def one(text: str) -> AsyncIterator[str]:
    """A text in one piece."""
    yield text


class Voice:
    """Speaks with the options of commands. `report` gets the measurements, `now_ms` is Unix time."""

    def __init__(self, cache: MediaCache | None, report: Report, now_ms: Callable[[], int]) -> None:
        self._cache = cache
        self._report = report
        self._now_ms = now_ms

    async def say(self, command: Tts, option: TtsOption, sequence: int) -> AsyncIterator[TtsChunk]:
        """A whole command. Raises ProviderError."""
        if command.base64:
            yield TtsChunk(_decoded(command.text, option.samplerate or SAMPLE_RATE))
            return
        if not says_anything(command.text):
            return
        provider = _named(option)
        measured = _Measured(self._report, self._now_ms, command, option, sequence)
        key = key_of(command, option)
        length = 0
        if self._cache is not None:
            async for pcm in _cached(self._cache, key):
                length += 2 * len(pcm)
                yield TtsChunk(pcm, command.text)
            if length:
                measured.complete(provider, length, cached=True)
                return
        entry = _Entry(self._cache, key)
        try:
            async with closing(_synthesize(one(command.text), option)) as chunks:
                async for chunk in chunks:
                    measured.heard(provider)
                    length += 2 * len(chunk.pcm)
                    await entry.add(chunk.pcm)
                    yield chunk if chunk.text else TtsChunk(chunk.pcm, command.text, chunk.words)
            measured.complete(provider, length)
            await entry.keep()
        finally:
            entry.drop()

    async def stream(
        self, texts: AsyncIterator[str], first: Tts, option: TtsOption, sequence: int
    ) -> AsyncIterator[TtsChunk]:
        """Texts as they come, never cached. Raises ProviderError."""
        provider = _named(option)
        measured = _Measured(self._report, self._now_ms, first, option, sequence)
        length = 0
        async with closing(_synthesize(texts, option)) as chunks:
            async for chunk in chunks:
                measured.heard(provider)
                length += 2 * len(chunk.pcm)
                yield chunk
        measured.complete(provider, length)


class Speech:
    """One command on its way: a task makes it, somewhat ahead of the track that plays it."""

    def __init__(self) -> None:
        self.task: Running | None = None
        self._chunks: asyncio.Queue[TtsChunk | ActiveCallError | None] = asyncio.Queue()
        self._ahead = 0
        """Samples in the queue."""
        self._room = asyncio.Event()

    async def make(self, chunks: AsyncIterator[TtsChunk]) -> None:
        """Take all of `chunks`; what they raise (ActiveCallError) is for who plays them."""
        try:
            async with closing(chunks) as stream:
                async for chunk in stream:
                    self._chunks.put_nowait(chunk)
                    self._ahead += len(chunk.pcm)
                    while self._ahead > _AHEAD_SAMPLES:
                        self._room.clear()
                        await self._room.wait()
        except ActiveCallError as error:
            self._chunks.put_nowait(error)
        self._chunks.put_nowait(None)

    def cancel(self) -> None:
        """Stop; whoever plays it is at its end."""
        if self.task is not None:
            self.task.cancel()
        while not self._chunks.empty():
            self._chunks.get_nowait()
        self._chunks.put_nowait(None)

    async def chunks(self) -> AsyncIterator[TtsChunk]:
        """What was made. Raises what making it raised."""
        while (chunk := await self._chunks.get()) is not None:
            if isinstance(chunk, ActiveCallError):
                raise chunk
            self._ahead -= len(chunk.pcm)
            self._room.set()
            yield chunk


@dataclass(frozen=True, slots=True)
class Precached:
    """What was done for a text that will be spoken: its entry in the media cache."""

    status: Literal["cached", "exists"]
    key: str
    bytes: int


async def precache(command: Tts, option: TtsOption | None, cache: MediaCache | None) -> Precached:
    """Synthesise a text into the cache, unless it is there. `option` lies below the command's.

    Raises ProviderError if the voice fails, MediaError if there is nothing to say or nowhere to keep it.
    """
    if cache is None:
        raise MediaError("there is no media cache: set media_cache_path")
    if command.base64:
        raise MediaError("base64: audio is not cached, only text")
    if not says_anything(command.text):
        raise MediaError("text: there is nothing to say")
    merged = option_of(option, command)
    key = key_of(command, merged)
    size = await asyncio.to_thread(cache.size, key, SPEECH)
    if size:
        return Precached("exists", key, size)
    async with closing(_synthesize(one(command.text), merged)) as chunks:
        spoken = [chunk.pcm async for chunk in chunks]
    pcm = np.concatenate(spoken) if spoken else np.zeros(0, np.int16)
    if not len(pcm):
        raise ProviderError(_named(merged), "the voice said nothing")
    try:
        await asyncio.to_thread(cache.write_speech, key, pcm)
    except OSError as error:
        raise MediaError(f"the media cache can't be written: {error}") from error
    return Precached("cached", key, 2 * len(pcm))


class _Measured:
    """Times of one command or stream, reported as metrics."""

    def __init__(
        self, report: Report, now_ms: Callable[[], int], command: Tts, option: TtsOption, sequence: int
    ) -> None:
        self._report = report
        self._now_ms = now_ms
        self._details: dict[str, Any] = {"cmdSeq": sequence}
        if command.play_id is not None:
            self._details["playId"] = command.play_id
        if option.speaker is not None:
            self._details["speaker"] = option.speaker
        self._asked = now_ms()
        self._ttfb: int | None = None

    def heard(self, provider: str) -> None:
        """Audio came."""
        if self._ttfb is None:
            self._ttfb = self._now_ms() - self._asked
            self._report(f"ttfb.tts.{provider}", self._ttfb, self._details)

    def complete(self, provider: str, length: int, *, cached: bool = False) -> None:
        """All of it came: `length` bytes."""
        duration = self._now_ms() - self._asked
        more = {"length": length, "cached": cached, "ttfb": self._ttfb or 0, "duration": duration}
        self._report(f"completed.tts.{provider}", duration, self._details | more)


async def _synthesize(texts: AsyncIterator[str], option: TtsOption) -> AsyncIterator[TtsChunk]:
    """What the option's provider makes of `texts`. Raises ProviderError, also if it falls silent.

    It may be silent as long as it waits for text.
    """
    name = _named(option)
    voice = await asyncio.to_thread(load_tts, name)
    gain = _gain(option) if getattr(voice, "lacks_volume", False) else 1.0
    loop = asyncio.get_running_loop()
    patience: asyncio.Timeout | None = None
    waits_for_text = False

    def wait_for_text(waits: bool) -> None:
        nonlocal waits_for_text
        waits_for_text = waits
        if patience is not None and not patience.expired():
            patience.reschedule(None if waits else loop.time() + _STALL_SECONDS)

    async def handed_on() -> AsyncIterator[str]:
        wait_for_text(True)
        async for text in texts:
            wait_for_text(False)
            yield text
            wait_for_text(True)
        wait_for_text(False)

    async with closing(voice.synthesize(handed_on(), option)) as chunks:
        stream = aiter(chunks)
        first = True
        while True:
            try:
                async with asyncio.timeout(None if waits_for_text else _STALL_SECONDS) as patience:
                    chunk = await anext(stream, None)
            except TimeoutError:
                if patience is None or not patience.expired():
                    raise
                text = f"the voice {name} has sent no audio for {_STALL_SECONDS:g} s"
                raise ProviderError(name, text, retryable=True) from None
            finally:
                patience = None
            if chunk is None:
                return
            pcm = _without_header(chunk.pcm) if first else chunk.pcm
            first = False
            if gain != 1.0:
                pcm = np.clip(np.rint(pcm * gain), -32768, 32767).astype(np.int16)
            if len(pcm):
                yield TtsChunk(pcm, chunk.text, chunk.words)


async def _cached(cache: MediaCache, key: str) -> AsyncIterator[Pcm]:
    """An entry, some seconds at a time; nothing if there is none."""
    file = await asyncio.to_thread(cache.open_speech, key)
    if file is None:
        return
    with file:
        while data := await asyncio.to_thread(file.read, 2 * _READ_SAMPLES):
            yield np.frombuffer(data[: len(data) & ~1], "<i2").astype(np.int16)


class _Entry:
    """Speech on its way into the cache. What can't be written is logged: it is heard all the same."""

    def __init__(self, cache: MediaCache | None, key: str) -> None:
        self._cache = cache
        self._key = key
        self._held: list[Pcm] = []
        self._samples = 0
        self._draft: Draft | None = None

    async def add(self, pcm: Pcm) -> None:
        """Append; much of it goes to the disk at once."""
        if self._cache is None:
            return
        self._held.append(pcm)
        self._samples += len(pcm)
        if self._samples > _HELD_SAMPLES:
            await self._write(whole=False)

    async def keep(self) -> None:
        """That was all of it."""
        if self._cache is not None and (self._held or self._draft is not None):
            await self._write(whole=True)

    def drop(self) -> None:
        """Remove what is not whole."""
        if self._draft is not None:
            self._draft.drop()

    async def _write(self, *, whole: bool) -> None:
        try:
            await asyncio.to_thread(self._write_held, whole)
        except OSError as error:
            log.warning("- the media cache can't be written: %s", error)
            self._cache = None

    def _write_held(self, whole: bool) -> None:
        assert self._cache is not None
        if self._draft is None:
            self._draft = self._cache.draft(self._key, SPEECH)
        for pcm in self._held:
            self._draft.append(pcm)
        self._held.clear()
        self._samples = 0
        if whole:
            self._draft.keep()


def _named(option: TtsOption) -> str:
    if option.provider is None:
        raise ProviderError("tts", "no tts provider is named, neither in the call nor in the command")
    return option.provider


def _gain(option: TtsOption) -> float:
    return 1.0 if option.volume is None else option.volume / _NORMAL_VOLUME


def _without_header(pcm: Pcm) -> Pcm:
    """`pcm` without the WAV header that some servers send before raw samples."""
    data = pcm[:6].tobytes()
    if not is_wav(data):
        return pcm
    whole = pcm.tobytes()
    try:
        found = wav_samples_at(whole)
    except MediaError:
        return pcm
    offset = 44 if found is None else found[1]
    return pcm[(offset + 1) // 2 :]


def _decoded(text: str, rate: int) -> Pcm:
    """The samples of base64 text: raw 16-bit samples at `rate`, or a WAV file."""
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProviderError("tts", f"tts.text is not base64: {error}") from error
    if is_wav(data):
        decoder = WavDecoder()
        try:
            return np.concatenate((decoder.feed(data), decoder.finish()))
        except MediaError as error:
            raise ProviderError("tts", f"tts.text: {error}") from error
    if len(data) % 2:
        raise ProviderError("tts", f"tts.text: {len(data)} bytes are no whole number of 16-bit samples")
    try:
        return resample(np.frombuffer(data, "<i2").astype(np.int16), rate)
    except ValueError as error:
        raise ProviderError("tts", f"tts.option.samplerate: {error}") from error
