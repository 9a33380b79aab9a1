"""What the call hears of its peer: speech begins and ends, and what was said.

Two tasks per call stand between the call and its recogniser, so that a slow one can never hold the call up: the
sender takes audio and speech notices from a bounded channel in order, the receiver turns results into notices
for the call's inbox.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from active_call.core.audio import Pcm
from active_call.core.channel import AudioChannel
from active_call.core.errors import ProviderError
from active_call.core.owner import Owner
from active_call.lanes.messages import ConfigureVad, SpeechEnded, SpeechStarted, VadKind
from active_call.media.lane import AudioConsumer, Lane
from active_call.speech.providers import AsrResult, AsrStream, load_asr
from active_call.wire.dialogue import CallPort, Running
from active_call.wire.options import AsrOption, VadOption

log = logging.getLogger(__name__)

_BACKLOG = 600
"""Items waiting for the recogniser: about a minute of audio."""

_RETRY_SECONDS = 1.0

_KINDS: dict[str, VadKind] = {"silero": "silero", "webrtc": "webrtc", "energy": "energy", "ten": "silero"}


@dataclass(frozen=True, slots=True)
class Recognised:
    """Notice: the recogniser says something."""

    result: AsrResult


@dataclass(frozen=True, slots=True)
class HearingFailed:
    """Notice: the recogniser can't go on."""

    provider: str
    error: str


@dataclass(frozen=True, slots=True)
class _Audio:
    pcm: Pcm
    position: int


@dataclass(frozen=True, slots=True)
class _Expected:
    phrases: list[str]


_Item: TypeAlias = _Audio | _Expected | SpeechStarted | SpeechEnded


class Hearing:
    """Voice activity detection and recognition of one lane."""

    _call = Owner[CallPort]()

    def __init__(self, lane: Lane, call: CallPort, post: Callable[[Recognised | HearingFailed], None]) -> None:
        self._lane = lane
        self._call = call
        self._post = post
        self._items: AudioChannel[_Item] = AudioChannel(_BACKLOG)
        self._task: Running | None = None
        """Recognises."""
        self._paused = False
        self._speech: SpeechStarted | None = None
        """The recogniser was told that it began, and not that it ended."""
        self._to_recogniser: AudioConsumer | None = None
        self._aside: AudioConsumer | None = None

    def start(self, vad: VadOption | None, asr: AsrOption | None) -> str | None:
        """Begin; `vad.type: off` detects nothing. Returns a complaint about an unknown type, if any."""
        complaint = None
        if vad is not None and vad.type != "off":
            name = vad.type or "webrtc"
            kind = _KINDS.get(name)
            if kind is None:
                complaint = (
                    f'vad.type "{name}" is unknown, "webrtc" is used; known: {", ".join(sorted(_KINDS))}'
                )
                kind = "webrtc"
            ref = self._lane.ref
            self._lane.detect_speech(
                ConfigureVad(
                    ref.row,
                    ref.generation,
                    kind,
                    threshold=vad.voice_threshold,
                    speech_padding_ms=vad.speech_padding,
                    silence_padding_ms=vad.silence_padding,
                    ratio=vad.ratio,
                    max_speech_seconds=vad.max_buffer_duration_secs,
                )
            )
        if asr is not None and asr.provider is not None:
            self._task = self._call.spawn(self._recognise(asr), "asr")
        return complaint

    def stop(self) -> None:
        """Hear no more."""
        self._to_recogniser = self._aside = None
        self._lane.listen(None)
        if self._task is not None:
            self._task.cancel()
            self._task = None  # its traceback would lead back here

    def pause(self) -> None:
        """The recogniser gets nothing until `resume`; what it was getting ends here."""
        if self._speech is not None:
            start, now = self._speech, self._lane.position
            self.speech_ended(SpeechEnded(start.row, start.generation, start.tick, start.position, now))
        self._paused = True
        self._listen()

    def resume(self) -> None:
        """The recogniser hears again."""
        self._paused = False
        self._listen()

    def overhear(self, consumer: AudioConsumer | None) -> None:
        """Give received audio to `consumer` too, until None."""
        self._aside = consumer
        self._listen()

    def _listen(self) -> None:
        recogniser = None if self._paused else self._to_recogniser
        consumers = [consumer for consumer in (recogniser, self._aside) if consumer is not None]

        def both(pcm: Pcm, position: int) -> None:
            for consumer in consumers:
                consumer(pcm, position)

        self._lane.listen(both if consumers else None)

    def speech_started(self, event: SpeechStarted) -> None:
        """Tell the recogniser, after the audio that was received before."""
        if self._task is not None and not self._paused:
            self._speech = event
            self._lane.drain()
            self._items.put(event)

    def speech_ended(self, event: SpeechEnded) -> None:
        """Tell the recogniser, after the audio up to now."""
        if self._speech is not None:
            self._speech = None
            self._lane.drain()
            self._items.put(event)

    def expect(self, phrases: Sequence[str]) -> None:
        """What the caller may say from now on."""
        if self._task is not None:
            self._items.put(_Expected(list(phrases)))

    async def _recognise(self, option: AsrOption) -> None:
        assert option.provider is not None
        try:
            recogniser = await asyncio.to_thread(load_asr, option.provider)
            async with recogniser.open(option) as stream:
                self._to_recogniser = lambda pcm, position: self._items.put(_Audio(pcm, position))
                self._listen()
                async with asyncio.TaskGroup() as tasks:
                    sender = tasks.create_task(self._send(stream), name="asr sender")
                    await self._results(stream, option.provider)
                    sender.cancel()
        except* ProviderError as group:
            self._to_recogniser = None
            self._listen()
            for error in group.exceptions:
                self._post(HearingFailed(option.provider, str(error)))

    async def _results(self, stream: AsrStream, provider: str) -> None:
        """Post what is recognised. After a failure that may pass the stream can be iterated again."""
        while True:
            try:
                async for result in stream:
                    self._post(Recognised(result))
            except ProviderError as error:
                if not error.retryable:
                    raise
                self._post(HearingFailed(provider, str(error)))
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _send(self, stream: AsrStream) -> None:
        while True:
            item = await self._items.get()
            match item:
                case SpeechStarted():
                    await stream.speech_started(item.position)
                case SpeechEnded():
                    await stream.speech_ended(item.end)
                case _Audio():
                    await stream.send(item.pcm, item.position)
                case _Expected():
                    await stream.expect(item.phrases)
