"""Playback of one call: tracks, made of spoken or played pieces, one after another on the lane.

A track is one stretch of playback under one play id. Its start and end are told when the media plane has
really played them: both hang on marks. A track that is cut short is told when the media plane has flushed it,
with what was heard of it. Two flushes within a tick are one to the media plane, and a flush that comes just as
the last sample is played is none: so a cut track also hangs on a mark where it was cut, and whatever is
reported from a position ends all tracks that were cut up to there.
"""

import asyncio
import base64
import binascii
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from active_call.core.audio import SAMPLE_RATE, TICK_SAMPLES, Pcm, samples_to_ms
from active_call.core.channel import ControlChannel
from active_call.core.errors import MediaError, ProviderError
from active_call.core.streams import closing
from active_call.lanes.messages import Flushed, MarkPlayed
from active_call.media.files import read_wav
from active_call.media.lane import Lane
from active_call.speech.providers import load_tts
from active_call.wire.commands import Play, Tts
from active_call.wire.dialogue import CallPort, Running
from active_call.wire.events import Error, Interruption, Metrics, TrackEnd, TrackStart
from active_call.wire.options import TtsOption, merge

log = logging.getLogger(__name__)

_FADE_MS = 5.0
_STREAM_IDLE_SECONDS = 10.0
_MAX_PIECES = 1000


@dataclass(slots=True)
class Spoken:
    """Text and the playback positions it is heard between."""

    text: str
    start: int
    end: int


@dataclass(eq=False)
class Track:
    """One stretch of playback."""

    play_id: str | None
    streaming: bool = False
    file: bool = False
    pieces: ControlChannel[Tts | None] = field(default_factory=lambda: ControlChannel(_MAX_PIECES))
    auto_hangup: bool = False
    wait_input_timeout: float | None = None
    spoken: list[Spoken] = field(default_factory=list)
    start: int = -1
    end: int = -1
    start_mark: int = 0
    end_mark: int = 0
    """0 until all its audio is queued."""
    cut_at: int = -1
    cut_mark: int = 0
    heard: bool = False
    closed: bool = False
    """No more pieces are taken."""
    task: Running | None = None

    def joined_by(self, command: Tts) -> bool:
        """Whether `command` goes on with this track."""
        return not self.closed and command.play_id in (None, self.play_id)

    def position_in_text(self, position: int) -> tuple[str | None, int | None]:
        """The piece heard at `position`, and how many of its words (characters, without spaces) were heard."""
        if not self.spoken:
            return None, None
        piece = next((piece for piece in self.spoken if position < piece.end), self.spoken[-1])
        share = (position - piece.start) / max(1, piece.end - piece.start)
        words = piece.text.split() if " " in piece.text.strip() else list(piece.text.strip())
        return piece.text, min(len(words), max(0, int(share * len(words))))


class Player:
    """Plays what `tts` and `play` commands ask for."""

    def __init__(
        self, call: CallPort, lane: Lane, track_id: str, on_end: Callable[[Track, bool], None]
    ) -> None:
        self.option: TtsOption | None = None
        self._call = call
        self._lane = lane
        self._track_id = track_id
        self._on_end = on_end
        self._current: Track | None = None
        self._cut: list[Track] = []

    @property
    def playing(self) -> bool:
        """Whether a track is on its way or being heard."""
        return self._current is not None

    # --- commands -------------------------------------------------------------------------------------

    def tts(self, command: Tts) -> None:
        """Speak: join the current track, or replace it. Raises ChannelFull if too many pieces wait."""
        track = self._current
        if track is None or not track.joined_by(command):
            track = self._replace(Track(command.play_id, streaming=command.streaming))
        track.auto_hangup = track.auto_hangup or command.auto_hangup
        track.wait_input_timeout = command.wait_input_timeout
        track.pieces.put(command)
        if track.streaming and command.end_of_stream:
            track.closed = True
            track.pieces.put(None)
        if track.task is None or track.end >= 0:
            track.end, track.end_mark = -1, 0  # it goes on, before it was heard to its end
            track.task = self._call.spawn(self._speak(track), f"tts {command.play_id or ''}")

    def play(self, command: Play) -> None:
        """Play a file; replaces the current track."""
        track = self._replace(Track(command.play_id or command.url, file=True, closed=True))
        track.auto_hangup = command.auto_hangup
        track.wait_input_timeout = command.wait_input_timeout
        track.task = self._call.spawn(self._play_file(track, command), f"play {command.url}")

    def interrupt(self, *, graceful: bool = False, fade_ms: float | None = None) -> None:
        """Stop the current track: at once, or after what has been synthesised of a track of whole sentences."""
        track = self._current
        if track is None:
            return
        if graceful and not track.streaming and not track.file and track.start >= 0:
            _disarm(track)
            track.closed = True
            track.pieces = ControlChannel(_MAX_PIECES)
            return
        self._cut_short(track, _FADE_MS if fade_ms is None else fade_ms)

    def _replace(self, track: Track) -> Track:
        if self._current is not None:
            self._cut_short(self._current, _FADE_MS)
        self._current = track
        return track

    def _cut_short(self, track: Track, fade_ms: float) -> None:
        if track.task is not None:
            track.task.cancel()
        _disarm(track)
        self._current = None
        if track.end < 0:
            track.end = self._lane.write_position
        if not self._lane.flush(fade_ms=fade_ms) and not self._cut:
            self._ended(track, heard_to=self._lane.read_position, complete=False)
            return
        track.cut_at = self._lane.write_position
        track.cut_mark = self._lane.mark(track.cut_at)
        self._cut.append(track)

    # --- what the media plane reports -----------------------------------------------------------------

    def mark_played(self, event: MarkPlayed) -> None:
        """A start or end mark was reached, or the place where a track was cut."""
        for track in (*self._cut, self._current):
            if track is not None and event.mark == track.start_mark and not track.heard:
                self._heard(track, self._lane.tick_wall_ms(event.tick))
        current = self._current
        if current is not None and event.mark == current.end_mark:
            self._current = None
            self._ended(current, heard_to=current.end, complete=True)
        elif any(event.mark == track.cut_mark for track in self._cut):
            self._end_cut(event.position, event.position)

    def flushed(self, event: Flushed) -> None:
        """All that was cut went silent."""
        self._end_cut(event.flushed_to, event.position)

    def _end_cut(self, cut_before: int, heard_to: int) -> None:
        """The tracks that were cut up to position `cut_before` are over."""
        while self._cut and self._cut[0].cut_at <= cut_before:
            track = self._cut.pop(0)
            self._ended(track, heard_to=heard_to, complete=track.end_mark > 0 and heard_to >= track.end)

    def _heard(self, track: Track, timestamp: int) -> None:
        track.heard = True
        self._call.emit(TrackStart(track_id=self._track_id, timestamp=timestamp, play_id=track.play_id))

    def _ended(self, track: Track, *, heard_to: int, complete: bool) -> None:
        now = self._call.now_ms()
        if not track.heard:
            self._heard(track, now)
        start = track.start if track.start >= 0 else heard_to
        current = samples_to_ms(max(0, min(heard_to, track.end) - start))
        if not complete:
            subtitle, position = track.position_in_text(heard_to)
            self._call.emit(
                Interruption(
                    track_id=self._track_id,
                    timestamp=now,
                    play_id=track.play_id,
                    subtitle=subtitle,
                    position=position,
                    total_duration=samples_to_ms(max(0, track.end - start)),
                    current=current,
                )
            )
        self._call.emit(
            TrackEnd(
                track_id=self._track_id,
                timestamp=now,
                duration=current,
                ssrc=self._lane.ssrc,
                play_id=track.play_id,
            )
        )
        self._on_end(track, complete)

    # --- producing audio ------------------------------------------------------------------------------

    async def _speak(self, track: Track) -> None:
        """Produce until nothing more is asked for."""
        if track.streaming:
            await self._attempt(self._speak_stream(track))
            track.closed = True
            await self._pad(track)
        else:
            while len(track.pieces):
                await self._attempt(self._speak_piece(track))
                if not len(track.pieces):
                    await self._pad(track)
        self._produced(track)

    async def _attempt(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ProviderError as error:
            self._fail("tts", str(error))

    async def _speak_piece(self, track: Track) -> None:
        piece = await track.pieces.get()
        assert piece is not None, "only the end of a stream is marked"
        if piece.base64:
            await self._queue(track, self._decoded(piece.text), "")
        elif piece.text.strip():
            await self._synthesize(track, _one(piece.text), piece, piece.text)

    async def _speak_stream(self, track: Track) -> None:
        first = await track.pieces.get()
        if first is None:
            return

        async def texts() -> AsyncIterator[str]:
            piece: Tts | None = first
            while piece is not None:
                if piece.text:
                    yield piece.text
                try:
                    piece = await asyncio.wait_for(track.pieces.get(), _STREAM_IDLE_SECONDS)
                except TimeoutError:
                    return

        await self._synthesize(track, texts(), first, None)

    async def _synthesize(
        self, track: Track, text: AsyncIterator[str], command: Tts, subtitle: str | None
    ) -> None:
        option = merge(self.option, command.option) or TtsOption()
        if command.speaker is not None:
            option = option.model_copy(update={"speaker": command.speaker})
        if option.provider is None:
            raise ProviderError("tts", "no tts provider is named, neither in the call nor in the command")
        voice = await asyncio.to_thread(load_tts, option.provider)
        asked = self._call.now_ms()
        first_ms: int | None = None
        length = 0
        async with closing(voice.synthesize(text, option)) as chunks:
            async for chunk in chunks:
                if first_ms is None:
                    first_ms = self._measure(f"ttfb.tts.{option.provider}", asked, track)
                length += len(chunk.pcm) * 2
                await self._queue(track, chunk.pcm, chunk.text or subtitle or "")
        self._measure(f"completed.tts.{option.provider}", asked, track, length=length, ttfb=first_ms or 0)

    async def _play_file(self, track: Track, command: Play) -> None:
        try:
            if "://" in command.url:
                raise MediaError(f'"{command.url}": playing by URL is not supported yet; name a WAV file')
            data = await asyncio.to_thread(Path(command.url).read_bytes)
            pcm = await asyncio.to_thread(read_wav, data)
            start = command.offset_ms * SAMPLE_RATE // 1000
            for at in range(start, len(pcm), SAMPLE_RATE):
                await self._queue(track, pcm[at : at + SAMPLE_RATE], "")
        except OSError as error:
            self._fail("play", f'"{command.url}": {error.strerror}')
        except MediaError as error:
            self._fail("play", str(error))
        await self._pad(track)
        self._produced(track)

    async def _queue(self, track: Track, pcm: Pcm, text: str) -> None:
        if not len(pcm):
            return
        start = self._lane.write_position
        if track.start < 0:
            track.start = start
            track.start_mark = self._lane.mark(start + 1)
        if text and track.spoken and track.spoken[-1].text == text:
            track.spoken[-1].end = start + len(pcm)
        elif text:
            track.spoken.append(Spoken(text, start, start + len(pcm)))
        await self._lane.play(pcm)

    async def _pad(self, track: Track) -> None:
        """Fill the last tick: a mark is told with the tick that reaches it."""
        if track.start >= 0:
            ragged = (self._lane.write_position - track.start) % TICK_SAMPLES
            if ragged:
                await self._lane.play(np.zeros(TICK_SAMPLES - ragged, np.int16))

    def _produced(self, track: Track) -> None:
        """All audio of the track is queued."""
        track.end = self._lane.write_position
        if track.start >= 0:
            track.end_mark = self._lane.mark(track.end)
        elif self._current is track:
            self._current = None
            self._ended(track, heard_to=track.end, complete=True)

    def _decoded(self, text: str) -> Pcm:
        try:
            data = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ProviderError("tts", f"tts.text is not base64: {error}") from error
        return np.frombuffer(data[: len(data) & ~1], "<i2").astype(np.int16)

    def _measure(self, key: str, since: int, track: Track, **data: int) -> int:
        now = self._call.now_ms()
        details = {"playId": track.play_id, **data} if track.play_id else dict(data)
        self._call.emit(Metrics(timestamp=now, key=key, duration=now - since, data=details))
        return now - since

    def _fail(self, sender: str, text: str) -> None:
        self._call.emit(
            Error(track_id=self._track_id, timestamp=self._call.now_ms(), sender=sender, error=text, code=500)
        )


def _disarm(track: Track) -> None:
    """What was to happen at the end of the track does not."""
    track.auto_hangup = False
    track.wait_input_timeout = None


async def _one(text: str) -> AsyncIterator[str]:
    yield text
