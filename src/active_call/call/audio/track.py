"""One stretch of playback: what it is to say, what it has said, and where in the lane."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from active_call.call.audio.voice import Speech
from active_call.core.channel import ChannelFull
from active_call.speech.providers import TtsChunk
from active_call.wire.commands import Tts
from active_call.wire.dialogue import Running

_MAX_PIECES = 1000


@dataclass(slots=True)
class Spoken:
    """Text, the playback positions it is heard between, and those at which its words begin, if known."""

    text: str
    start: int
    end: int
    words: list[int] = field(default_factory=list)

    def words_before(self, position: int) -> int:
        """How many of its words (characters, in scripts without spaces) were heard: the index of the next."""
        if self.words:
            return max(0, sum(start <= position for start in self.words) - 1)
        share = (position - self.start) / max(1, self.end - self.start)
        words = self.text.split() if " " in self.text.strip() else list(self.text.strip())
        return min(len(words), max(0, int(share * len(words))))


@dataclass(eq=False)
class Track:
    """One stretch of playback under one play id. Positions are the lane's; -1 until they are known."""

    play_id: str | None
    streaming: bool = False
    file: bool = False
    pieces: deque[Tts] = field(default_factory=deque)
    """Commands whose synthesis has not begun."""
    ahead: deque[Speech] = field(default_factory=deque)
    """What is being synthesised, in the order in which it is heard."""
    commands: int = 0
    """How many commands it got."""
    auto_hangup: bool = False
    wait_input_timeout: float | None = None
    spoken: list[Spoken] = field(default_factory=list)
    piece_ends: list[int] = field(default_factory=list)
    """Where the audio of each whole command ends."""
    start: int = -1
    end: int = -1
    start_mark: int = 0
    end_mark: int = 0
    """0 until all its audio is queued."""
    cut_at: int = -1
    cut_mark: int = 0
    drops_rest: bool = False
    """What is queued behind its end is not to be heard."""
    heard: bool = False
    closed: bool = False
    """No more pieces are taken."""
    complete: bool = False
    """The client said that there are no more pieces."""
    task: Running | None = None
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def continued_by(self, command: Tts) -> bool:
        """Whether `command` belongs to this track's play id."""
        return not self.file and command.play_id in (None, self.play_id)

    def add(self, command: Tts) -> None:
        """One more command. Raises ChannelFull if too many wait."""
        if len(self.pieces) >= _MAX_PIECES:
            raise ChannelFull(f"more than {_MAX_PIECES} pieces of this track wait to be spoken")
        self.commands += 1
        self.pieces.append(command)
        self.auto_hangup = self.auto_hangup or command.auto_hangup
        if command.wait_input_timeout is not None:
            self.wait_input_timeout = command.wait_input_timeout
        if command.end_of_stream:
            self.closed = self.complete = True
        self._more.set()

    async def piece(self, patience: float) -> Tts | None:
        """The next command; None after the last one. Raises TimeoutError after so many seconds without one."""
        while not self.pieces:
            if self.closed:
                return None
            self._more.clear()
            async with asyncio.timeout(patience):
                await self._more.wait()
        return self.pieces.popleft()

    def disarm(self) -> None:
        """What was to happen at its end does not."""
        self.auto_hangup = False
        self.wait_input_timeout = None

    def stop(self) -> None:
        """Nothing more is produced."""
        self.closed = True
        self.pieces.clear()
        for speech in self.ahead:
            speech.cancel()
        self.ahead.clear()
        if self.task is not None:
            self.task.cancel()

    def take(self, chunk: TtsChunk, position: int) -> None:
        """Note that `chunk` is queued at `position`."""
        end, subtitle = position + len(chunk.pcm), chunk.text
        if subtitle and self.spoken and self.spoken[-1].text == subtitle and self.spoken[-1].end == position:
            self.spoken[-1].end = end
        elif subtitle:
            self.spoken.append(Spoken(subtitle, position, end))
        if subtitle and chunk.words:
            self.spoken[-1].words += [self.spoken[-1].start + word for word in chunk.words]

    def position_in_text(self, position: int) -> tuple[str | None, int | None]:
        """The text heard at `position`, and how many of its words were heard."""
        if not self.spoken:
            return None, None
        piece = next((piece for piece in self.spoken if position < piece.end), self.spoken[-1])
        return piece.text, piece.words_before(position)

    def end_of_piece(self, position: int) -> int | None:
        """Where the command ends that is heard at `position`; None if it is not all queued yet."""
        return next((end for end in self.piece_ends if end > position), None)
