"""A call that only takes notes, and a voice that speaks in samples per character."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Sequence
from typing import Any

import numpy as np

from active_call.core.errors import ProviderError
from active_call.speech.providers import TtsChunk
from active_call.wire.commands import Command
from active_call.wire.events import Event
from active_call.wire.options import TtsOption

SAMPLES_PER_CHARACTER = 320


class NotingCall:
    """Stands in for Call: keeps what is emitted, runs what is spawned."""

    def __init__(self) -> None:
        self.id = "c1"
        self.variables: dict[str, Any] = {}
        self.events: list[Event] = []
        self.commands: list[Command] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.ms = 1_000

    def send(self, command: Command) -> None:
        self.commands.append(command)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        return task

    def expect(self, phrases: Sequence[str]) -> None:
        pass

    def now_ms(self) -> int:
        return self.ms

    def names(self) -> list[str]:
        """The events so far, without metrics."""
        return [event.event for event in self.events if event.event != "metrics"]


class SampleVoice:
    """Speaks each character for 20 ms; "fail" fails."""

    async def synthesize(self, text: AsyncIterable[str], option: TtsOption) -> AsyncIterator[TtsChunk]:
        async for piece in text:
            if piece == "fail":
                raise ProviderError("sample", "the voice is hoarse")
            yield TtsChunk(np.full(len(piece) * SAMPLES_PER_CHARACTER, 100, np.int16), piece)
