"""How the audio of tracks is made, by a voice or from a file, and queued on the lane."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np

from active_call.call.audio.track import Track
from active_call.call.audio.voice import Speech, Voice, option_of
from active_call.core.audio import SAMPLE_RATE, TICK_SAMPLES, Pcm, ms_to_samples
from active_call.core.errors import ActiveCallError
from active_call.core.owner import Owner, weakly
from active_call.core.streams import closing
from active_call.core.urls import mask_urls
from active_call.media.files import MediaSource
from active_call.media.lane import Lane
from active_call.outbound.guard import Origin
from active_call.speech.providers import TtsChunk
from active_call.wire.commands import Play, Tts
from active_call.wire.dialogue import CallPort
from active_call.wire.events import Error, Metrics
from active_call.wire.options import TtsOption

_STREAM_IDLE_SECONDS = 10.0


class Production:
    """Makes what tracks are to say, in tasks of the call. A track that is queued to its end has an end mark.

    `on_silent` gets each track that turns out to have no audio at all.
    """

    _call = Owner[CallPort]()

    def __init__(
        self,
        call: CallPort,
        lane: Lane,
        track_id: str,
        on_silent: Callable[[Track], None],
        media: MediaSource,
    ) -> None:
        self.option: TtsOption | None = None
        """The voice of the call; commands may want another."""
        self._call = call
        self._lane = lane
        self._track_id = track_id
        self._on_silent = on_silent
        self._media = media
        self._voice = Voice(media.cache, weakly(self._measured), weakly(call.now_ms, 0))

    def speak(self, track: Track) -> None:
        """See to it that what the track was asked to say is made."""
        if not track.streaming:
            self._synthesise_ahead(track)
        if track.task is None or track.end >= 0:
            track.end, track.end_mark = -1, 0  # it goes on, before it was heard to its end
            track.task = self._call.spawn(self._speak(track), f"tts {track.play_id or ''}")

    def play(self, track: Track, command: Play, *, loop: bool, origin: Origin) -> None:
        """A file or URL that `origin` named, once, or over and over."""
        work = self._play_file(track, command, loop=loop, origin=origin)
        track.task = self._call.spawn(work, f"play {mask_urls(command.url)}")

    def loop(self, track: Track, pcm: Pcm) -> None:
        """16 kHz samples over and over."""
        track.task = self._call.spawn(self._repeat(track, pcm), f"loop {track.play_id or ''}")

    # --- speech ---------------------------------------------------------------------------------------

    async def _speak(self, track: Track) -> None:
        """Produce until nothing more is asked for."""
        if track.streaming:
            await self._speak_stream(track)
            track.closed = True
            await self._pad(track)
        else:
            while track.ahead:
                speech = track.ahead[0]
                await self._queue_all(track, speech.chunks())
                track.piece_ends.append(self._lane.write_position)
                track.ahead.popleft()
                self._synthesise_ahead(track)
                if not track.ahead:
                    await self._pad(track)
        self._all_queued(track)

    def _synthesise_ahead(self, track: Track) -> None:
        """Begin with as many of the waiting commands as may be made at once."""
        while track.pieces:
            command = track.pieces[0]
            option = option_of(self.option, command)
            if len(track.ahead) >= (option.max_concurrent_tasks or 1):
                return
            track.pieces.popleft()
            speech = Speech()
            track.ahead.append(speech)
            sequence = track.commands - len(track.pieces) - 1
            work = speech.make(self._voice.say(command, option, sequence))
            speech.task = self._call.spawn(work, f"voice {track.play_id or ''}")

    async def _speak_stream(self, track: Track) -> None:
        """All pieces as one stream. After a failure the rest is only waited for: its track has been told of."""
        failed = False
        while (piece := await self._next_piece(track)) is not None:
            sequence = track.commands - len(track.pieces) - 1
            option = option_of(self.option, piece)
            if failed or not (piece.base64 or piece.text.strip()):
                continue
            if piece.base64:
                await self._queue_all(track, self._voice.say(piece, option, sequence))
            else:
                texts = self._texts(track, piece)
                failed = not await self._queue_all(track, self._voice.stream(texts, piece, option, sequence))

    async def _texts(self, track: Track, first: Tts) -> AsyncIterator[str]:
        """The texts of a stream from `first` on, up to one that is audio or to the end."""
        piece: Tts | None = first
        while piece is not None:
            if piece.base64:
                track.pieces.appendleft(piece)
                return
            if piece.text:
                yield piece.text
            piece = await self._next_piece(track)

    async def _next_piece(self, track: Track) -> Tts | None:
        """The next piece of a stream; None at its end, or when it has been silent and without text for long."""
        while True:
            unheard = self._lane.write_position - self._lane.read_position
            try:
                return await track.piece(_STREAM_IDLE_SECONDS + unheard / SAMPLE_RATE)
            except TimeoutError:
                if self._lane.write_position <= self._lane.read_position:
                    track.closed = True
                    return None

    # --- sounds ---------------------------------------------------------------------------------------

    async def _play_file(self, track: Track, command: Play, *, loop: bool, origin: Origin) -> None:
        try:
            skip = ms_to_samples(command.offset_ms)
            while True:
                before = self._lane.write_position
                async with closing(self._media.open(command.url, origin)) as pieces:
                    async for pcm in pieces:
                        await self._queue(track, TtsChunk(pcm[skip:]))
                        skip = max(0, skip - len(pcm))
                if not loop or self._lane.write_position == before:
                    break
        except ActiveCallError as error:
            self._fail("play", str(error))
        await self._pad(track)
        self._all_queued(track)

    async def _repeat(self, track: Track, pcm: Pcm) -> None:
        while not self._lane.closing:  # which takes all at once, and would never let go of us
            await self._queue(track, TtsChunk(pcm))

    # --- the lane -------------------------------------------------------------------------------------

    async def _queue_all(self, track: Track, chunks: AsyncIterator[TtsChunk]) -> bool:
        """Queue what a voice makes; whether it did not fail."""
        try:
            async with closing(chunks) as stream:
                async for chunk in stream:
                    await self._queue(track, chunk)
        except ActiveCallError as error:
            self._fail("tts", str(error))
            return False
        return True

    async def _queue(self, track: Track, chunk: TtsChunk) -> None:
        if not len(chunk.pcm):
            return
        start = self._lane.write_position
        if track.start < 0:
            track.start = start
            track.start_mark = self._lane.mark(start + 1)
        track.take(chunk, start)
        await self._lane.play(chunk.pcm)

    async def _pad(self, track: Track) -> None:
        """Fill the last tick: a mark is told with the tick that reaches it."""
        if track.start >= 0:
            ragged = (self._lane.write_position - track.start) % TICK_SAMPLES
            if ragged:
                await self._lane.play(np.zeros(TICK_SAMPLES - ragged, np.int16))

    def _all_queued(self, track: Track) -> None:
        track.end = self._lane.write_position
        if track.start >= 0:
            track.end_mark = self._lane.mark(track.end)
        else:
            self._on_silent(track)

    def _measured(self, key: str, milliseconds: int, details: dict[str, Any]) -> None:
        self._call.emit(Metrics(timestamp=self._call.now_ms(), key=key, duration=milliseconds, data=details))

    def _fail(self, sender: str, text: str) -> None:
        self._call.emit(
            Error(track_id=self._track_id, timestamp=self._call.now_ms(), sender=sender, error=text, code=500)
        )
