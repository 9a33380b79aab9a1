"""Playback of one call: tracks, made of spoken or played pieces, one after another on the lane.

A track is one stretch of playback under one play id. Its start and end are told when the media plane has
really played them: both hang on marks. A track that is cut short is told when the media plane has flushed it,
with what was heard of it. Two flushes within a tick are one to the media plane, and a flush that comes just as
the last sample is played is none: so a cut track also hangs on a mark where it was cut, and whatever is
reported from a position ends all tracks that were cut up to there.
"""

from collections import deque
from collections.abc import Callable

from active_call.call.audio.production import Production
from active_call.call.audio.track import Track
from active_call.core.audio import Pcm, samples_to_ms
from active_call.core.channel import ChannelFull
from active_call.core.errors import MediaError
from active_call.core.owner import Owner, weakly
from active_call.lanes.messages import Flushed, MarkPlayed
from active_call.media.files import MediaSource
from active_call.media.lane import Lane
from active_call.outbound.guard import Origin
from active_call.wire.commands import Play, Tts
from active_call.wire.dialogue import CallPort
from active_call.wire.events import Interruption, TrackEnd, TrackStart
from active_call.wire.options import TtsOption

_FADE_MS = 5.0
_MAX_WAITING = 1000


class Player:
    """Plays what `tts` and `play` commands ask for. `on_end` gets each track, and whether it was whole."""

    _call = Owner[CallPort]()

    def __init__(
        self,
        call: CallPort,
        lane: Lane,
        track_id: str,
        on_end: Callable[[Track, bool], None],
        *,
        media: MediaSource | None = None,
    ) -> None:
        self._call = call
        self._lane = lane
        self._track_id = track_id
        self._on_end = on_end
        self._production = Production(call, lane, track_id, weakly(self._silent), media or MediaSource())
        self._current: Track | None = None
        self._waiting: deque[Track] = deque()
        """Tracks that begin when the one before has ended."""
        self._cut: list[Track] = []
        self._paused = False
        self._last: Track | None = None
        """The last track, if it ended although its client may say more."""

    @property
    def option(self) -> TtsOption | None:
        """The voice of the call; commands may want another."""
        return self._production.option

    @option.setter
    def option(self, option: TtsOption | None) -> None:
        self._production.option = option

    @property
    def playing(self) -> bool:
        """Whether a track is on its way or being heard."""
        return self._current is not None

    # --- commands -------------------------------------------------------------------------------------

    def tts(self, command: Tts) -> None:
        """Speak: go on with the current track, wait for its end if it takes no more, or replace it.

        Raises ChannelFull if too many pieces or tracks wait.
        """
        if self._current is None and self._is_late_end(command):
            return
        track = self._waiting[-1] if self._waiting else self._current
        if track is None or not track.continued_by(command):
            track = self._replace(Track(command.play_id, streaming=command.streaming))
        elif track.closed:
            if len(self._waiting) >= _MAX_WAITING:
                raise ChannelFull(f"more than {_MAX_WAITING} tracks wait to be heard")
            track = Track(command.play_id, streaming=command.streaming)
            self._waiting.append(track)
        track.add(command)
        if track is self._current:
            self._production.speak(track)

    def play(self, command: Play, *, loop: bool = False, origin: Origin = Origin.CLIENT) -> Track:
        """Play a file or URL that `origin` named, over and over with `loop`; replaces the current track."""
        track = self._replace(Track(command.play_id or command.url, file=True, closed=True, complete=True))
        track.auto_hangup = command.auto_hangup
        track.wait_input_timeout = command.wait_input_timeout
        self._production.play(track, command, loop=loop, origin=origin)
        return track

    def loop(self, pcm: Pcm, play_id: str) -> Track:
        """Play 16 kHz samples over and over until something else is played; replaces the current track."""
        track = self._replace(Track(play_id, file=True, closed=True, complete=True))
        self._production.loop(track, pcm)
        return track

    def stop(self, track: Track) -> None:
        """Stop `track`, if nothing else is played by now."""
        if track is self._current:
            self._cut_short(track, _FADE_MS)

    def interrupt(self, *, graceful: bool = False, fade_ms: float | None = None) -> None:
        """Stop all tracks: at once, or at the end of the command that is heard. Streams and files: at once."""
        track = self._current
        if track is None:
            return
        if graceful and not track.streaming and not track.file and track.start >= 0:
            self._end_gracefully(track)
        else:
            self._cut_short(track, _FADE_MS if fade_ms is None else fade_ms)

    def pause(self) -> None:
        """Hold playback where it is. Raises MediaError if nothing is playing."""
        if self._current is None:
            raise MediaError("nothing is playing")
        self._paused = True
        self._lane.pause()

    def resume(self) -> None:
        """Go on after `pause`. Raises MediaError if nothing is playing."""
        if self._current is None:
            raise MediaError("nothing is playing")
        self._unpause()

    def close(self) -> None:
        """The call ends, and with it all tracks: told at once, with what was heard of them."""
        if self._current is not None:
            self._cut_short(self._current, _FADE_MS)
        cut, self._cut = self._cut, []
        heard_to = self._lane.read_position
        for track in cut:
            self._ended(track, heard_to=heard_to, complete=track.end_mark > 0 and heard_to >= track.end)

    def _unpause(self) -> None:
        if self._paused:
            self._paused = False
            self._lane.resume()

    def _is_late_end(self, command: Tts) -> bool:
        """Whether this is the empty last piece of a track that has ended meanwhile: it needs none."""
        last = self._last
        if last is None or not last.continued_by(command) or not command.end_of_stream or command.text.strip():
            return False
        self._last = None
        last.auto_hangup, last.wait_input_timeout = command.auto_hangup, command.wait_input_timeout
        self._on_end(last, True)
        return True

    def _replace(self, track: Track) -> Track:
        if self._current is not None:
            self._cut_short(self._current, _FADE_MS)
        self._last = None
        self._current = track
        return track

    def _cut_short(self, track: Track, fade_ms: float) -> None:
        waiting, self._waiting = list(self._waiting), deque()
        self._current = None
        for each in (track, *waiting):
            each.stop()
            each.disarm()
        if track.end < 0:
            track.end = self._lane.write_position
        told_later = self._lane.flush(fade_ms=fade_ms) or bool(self._cut)
        self._unpause()
        for each in (track, *waiting):
            if not told_later:
                self._ended(each, heard_to=self._lane.read_position, complete=False)
                continue
            each.cut_at = self._lane.write_position
            each.cut_mark = self._lane.mark(each.cut_at)
            self._cut.append(each)

    def _end_gracefully(self, track: Track) -> None:
        """The command that is heard is the last; tracks that wait begin and end without a sound."""
        for waiting in self._waiting:
            waiting.stop()
            waiting.disarm()
        track.disarm()
        track.closed = True
        track.pieces.clear()
        end = track.end_of_piece(self._lane.read_position)
        if end is not None and end < self._lane.write_position:
            track.stop()
            track.drops_rest = True
            track.end = end
            track.end_mark = self._lane.mark(end)
            return
        being_made = 1 if end is None else 0
        for speech in list(track.ahead)[being_made:]:
            speech.cancel()

    def _silent(self, track: Track) -> None:
        """There was nothing to be heard of it."""
        if self._current is track:
            self._finish(track)

    # --- what the media plane reports -----------------------------------------------------------------

    def mark_played(self, event: MarkPlayed) -> None:
        """A start or end mark was reached, or the place where a track was cut."""
        for track in (*self._cut, self._current):
            if track is not None and event.mark == track.start_mark and not track.heard:
                self._heard(track, self._lane.tick_wall_ms(event.tick))
        current = self._current
        if current is not None and event.mark == current.end_mark:
            if current.drops_rest:
                self._lane.flush(fade_ms=_FADE_MS)
            self._finish(current)
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

    def _finish(self, track: Track) -> None:
        """The current track was heard to its end; the next one begins."""
        self._current = None
        self._unpause()
        self._last = None if track.complete else track
        self._ended(track, heard_to=track.end, complete=True)
        if self._current is None and self._waiting:
            self._current = self._waiting.popleft()
            self._production.speak(self._current)

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
