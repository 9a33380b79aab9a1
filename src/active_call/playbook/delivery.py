"""Says one turn: pieces of speech, sound files and actions, strictly one after another.

The text comes from a model that may still be writing. Speech is handed on sentence by sentence; a file waits
until the speech before it has been heard, and speech after it waits for the file. A wait ends when the track
does, and is bounded in case it never does.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, TypeAlias

from active_call.core.channel import ControlChannel
from active_call.core.owner import Owner
from active_call.playbook.reply import Reply, Segment
from active_call.playbook.splitter import Item, Say, Splitter
from active_call.playbook.tags import Tag
from active_call.wire.commands import Play, Tts
from active_call.wire.dialogue import CallPort

log = logging.getLogger(__name__)

_MAX_STEPS = 10_000
_SLOW_SPEECH = 0.15
"""Seconds per character of slow speech; characters of scripts without spaces take twice that."""
_TRACK_SLACK = 10.0
_LONGEST_FILE = 600.0
_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")
_CLOSERS = "\"')]”’」』）】"
_HANGUP_GRACE = 1.0


@dataclass(frozen=True, slots=True)
class _Spoken:
    text: str
    last: bool = False  # of its track
    final: bool = False  # nothing follows it


_Step: TypeAlias = _Spoken | Tag | Literal["end"]


class Delivery:
    """The delivery of one reply. Cancelling `run` stops it; what was sent is for the caller to interrupt.

    `floor` waits until the agent may begin to speak, `act` takes the tags that are not speech, `hang_up` ends
    the call. `auto_hangup`: whether the call may hang up by itself at the end of the last track.
    """

    _call = Owner[CallPort]()

    def __init__(
        self,
        call: CallPort,
        reply: Reply,
        *,
        streaming: bool,
        floor: Callable[[], Awaitable[None]],
        act: Callable[[Tag], None],
        hang_up: Callable[[], None],
        auto_hangup: Callable[[], bool],
    ) -> None:
        self._call = call
        self._reply = reply
        self._streaming = streaming
        self._floor = floor
        self._act = act
        self._hang_up = hang_up
        self._auto_hangup = auto_hangup
        self._steps: ControlChannel[_Step] = ControlChannel(_MAX_STEPS)
        self._farewell = False
        self._hanging_up = False
        self._open: Segment | None = None
        self._track_ended = asyncio.Event()

    def track_ended(self) -> None:
        """A track of the reply ended."""
        self._track_ended.set()

    async def run(self, text: AsyncIterator[str], before: Sequence[Item] = ()) -> None:
        """Deliver `before`, then `text`; returns when the last track has ended."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._speak(), name="speak")
            splitter = Splitter(sentences=self._streaming)
            self._plan(before)
            items: list[Item] = []
            async for piece in text:
                # Some models' servers cut an emoji into two halves, neither of which is text.
                chunk = piece.encode("utf-8", "ignore").decode()
                self._reply.raw += chunk
                items += splitter.feed(chunk)
                if self._streaming:
                    self._plan(items)
                    items = []
            self._plan(items + splitter.finish(), last=True)

    def _plan(self, items: Sequence[Item], *, last: bool = False) -> None:
        steps: list[_Step] = []
        for item in items:
            match item:
                case Say(text):
                    steps.append(_Spoken(text))
                case Tag("play" | "refer"):
                    steps.append(item)
                case Tag("hangup"):
                    self._farewell = True
                    self._act(item)
                case Tag():
                    self._act(item)
        if last:
            steps.append("end")
        for step, after in zip_longest(steps, steps[1:]):
            if isinstance(step, _Spoken) and after is not None and not isinstance(after, _Spoken):
                step = _Spoken(step.text, last=True, final=after == "end")
            self._steps.put(step)

    async def _speak(self) -> None:
        while (step := await self._steps.get()) != "end":
            if isinstance(step, _Spoken):
                await self._say(step)
            else:
                await self._perform(step)
        self._close(final=True)
        self._reply.sent = True
        await self._played()
        if self._hanging_up:
            await asyncio.sleep(_HANGUP_GRACE)  # The call ends by itself, unless its track got lost.
        if self._farewell:
            self._hang_up()

    async def _say(self, step: _Spoken) -> None:
        if self._open is None:
            await self._played()
            self._open = await self._segment()
        self._open.pieces.append(step.text)
        self._tts(self._open, step)

    def _tts(self, segment: Segment, step: _Spoken) -> None:
        text = step.text
        if not step.last and not text.rstrip(_CLOSERS).endswith(_SENTENCE_ENDS):
            text += "\n"  # or the voice would join it to the next piece
        self._hanging_up = step.final and self._farewell and self._auto_hangup()
        self._call.send(
            Tts(
                text=text,
                play_id=segment.play_id,
                streaming=self._streaming,
                end_of_stream=step.last,
                auto_hangup=self._hanging_up,
            )
        )
        if step.last:
            self._open = None

    async def _perform(self, tag: Tag) -> None:
        self._close(final=False)
        await self._played()
        if tag.name == "refer":
            self._act(tag)
            return
        segment = await self._segment()
        play = Play(url=tag.attributes.get("file", ""), play_id=segment.play_id)
        self._call.send(play, trusted=tag.trusted)

    async def _segment(self) -> Segment:
        await self._floor()
        number = len(self._reply.segments) + 1
        segment = Segment(self._reply.id if number == 1 else f"{self._reply.id}.{number}")
        self._reply.segments.append(segment)
        return segment

    def _close(self, *, final: bool) -> None:
        if self._open is not None:
            self._tts(self._open, _Spoken("", last=True, final=final))

    async def _played(self) -> None:
        """Everything sent so far has been heard."""
        if not self._reply.playing:
            return
        pieces = self._reply.segments[-1].pieces
        letters = sum(2 if ord(char) > 0x2E80 else 1 for piece in pieces for char in piece)
        seconds = letters * _SLOW_SPEECH + _TRACK_SLACK if pieces else _LONGEST_FILE
        try:
            async with asyncio.timeout(seconds):
                while self._reply.playing:
                    self._track_ended.clear()
                    await self._track_ended.wait()
        except TimeoutError:
            log.warning("[%s] track %s did not end within %g s", self._call.id, self._reply.id, seconds)
            for segment in self._reply.segments:
                segment.ended = True
