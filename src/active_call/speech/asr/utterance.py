"""What recognisers without endpointing of their own share: cutting a caller's audio into utterances."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from active_call.core.audio import Pcm, ms_to_samples
from active_call.core.errors import ProviderError
from active_call.speech.providers import AsrResult

_log = logging.getLogger(__name__)

LEAD = ms_to_samples(300)
"""Audio before the reported onset that belongs to the utterance."""
TAIL = ms_to_samples(200)
"""Audio after the reported end that belongs to the utterance, if it has arrived."""
LONGEST = ms_to_samples(30_000)
"""Longer utterances are cut into pieces of this length."""
_KEPT = ms_to_samples(2_500)
"""Audio kept while nobody speaks: the VAD tells an onset late."""
_PARTIAL_EVERY = ms_to_samples(200)
_WAITING = 8
"""Ended utterances that may wait for the recogniser; the oldest is dropped beyond."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A recogniser's answer; empty text: nothing it knows."""

    text: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """Samples `start` to `end` of a lane; not `final`: the caller still speaks."""

    pcm: Pcm
    start: int
    end: int
    final: bool


Recognize = Callable[[Utterance, Sequence[str]], Awaitable[Heard]]
"""Decodes one utterance, given what the caller may say. Raises ProviderError."""


class UtteranceStream:
    """An AsrStream over a recogniser of whole utterances. The iterating task decodes; nothing else runs.

    With `partials` the unfinished utterance is decoded too, at most five times a second and ever less often as
    it grows, so that the work stays linear in its length.
    """

    def __init__(self, recognize: Recognize, phrases: Sequence[str] = (), *, partials: bool = False) -> None:
        self._recognize = recognize
        self._phrases = tuple(phrases)
        self._partials = partials
        self._chunks: deque[Pcm] = deque()
        self._first = 0  # lane position of the first sample in _chunks
        self._next = 0  # lane position after the last one
        self._start: int | None = None  # of the utterance being spoken
        self._decoded = 0  # lane position up to which a partial was decoded
        self._ended: deque[Utterance] = deque()
        self._finished = False
        self._changed = asyncio.Event()

    async def send(self, pcm: Pcm, position: int) -> None:
        """Audio in order; a gap is taken as silence, what was sent before is left out."""
        gap = position - self._next
        if gap > LONGEST or not self._chunks:
            self._chunks.clear()
            self._first = self._next = position
        elif gap > 0:
            self._append(np.zeros(gap, np.int16))
        elif gap < 0:
            pcm = pcm[-gap:]
        if not len(pcm):
            return
        self._append(pcm)
        if self._start is None:
            self._forget(self._next - _KEPT)
        elif self._next - self._start >= LONGEST:
            self._end(self._next)
            self._start = self._next
        elif self._partials:
            self._changed.set()

    async def speech_started(self, position: int) -> None:
        if self._start is None:
            self._start = max(position - LEAD, self._first)
            self._decoded = self._start

    async def speech_ended(self, position: int) -> None:
        if self._start is not None:
            self._end(min(position + TAIL, self._next))
            self._start = None

    async def expect(self, phrases: Sequence[str]) -> None:
        self._phrases = tuple(phrases)

    async def finish(self) -> None:
        if self._start is not None:
            self._end(self._next)
            self._start = None
        self._finished = True
        self._changed.set()

    def __aiter__(self) -> AsyncIterator[AsrResult]:
        return self._results()

    async def _results(self) -> AsyncIterator[AsrResult]:
        told = ""
        while True:
            utterance = self._take()
            if utterance is None:
                if self._finished:
                    return
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                heard = await self._recognize(utterance, self._phrases)
            except ProviderError:
                if utterance.final:
                    raise
                continue
            # A partial that an end has overtaken is still of that utterance, hence in order.
            if utterance.final or (heard.text and heard.text != told):
                told = "" if utterance.final else heard.text
                if heard.text:
                    yield AsrResult(
                        heard.text, utterance.final, utterance.start, utterance.end, heard.confidence
                    )

    def _take(self) -> Utterance | None:
        """The next thing to decode."""
        if self._ended:
            return self._ended.popleft()
        if not self._partials or self._start is None:
            return None
        spoken = self._next - self._start
        if self._next - self._decoded < max(_PARTIAL_EVERY, spoken // 6) or spoken < LEAD + _PARTIAL_EVERY:
            return None
        self._decoded = self._next
        return Utterance(self._cut(self._start, self._next), self._start, self._next, final=False)

    def _end(self, end: int) -> None:
        assert self._start is not None
        pcm = self._cut(self._start, end)
        if len(pcm):
            if len(self._ended) == _WAITING:
                self._ended.popleft()
                _log.warning("the recogniser is too slow: an utterance was dropped")
            self._ended.append(Utterance(pcm, self._start, self._start + len(pcm), final=True))
        self._forget(self._next - _KEPT)
        self._changed.set()

    def _append(self, pcm: Pcm) -> None:
        self._chunks.append(pcm)
        self._next += len(pcm)

    def _forget(self, before: int) -> None:
        while self._chunks and self._first + len(self._chunks[0]) <= before:
            self._first += len(self._chunks.popleft())

    def _cut(self, start: int, end: int) -> Pcm:
        if not self._chunks:
            return np.zeros(0, np.int16)
        return np.concatenate(self._chunks)[max(0, start - self._first) : max(0, end - self._first)]
