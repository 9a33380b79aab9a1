"""One leg's audio, as the control plane handles it: play, mark, flush, listen, record.

A lane has sockets, or it is *external*: its peer's audio is brought by `feed` and taken away by `on_audio`.

Playback positions count samples since the lane opened. What does not fit below the ring's high-water mark
waits here in `_pending`; the feed loop of the media plane (see supervisor) tops the ring up, so a position may
lie ahead of what is in the ring already.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from active_call.core.audio import SAMPLE_RATE, TICK_SAMPLES, Pcm, ms_to_samples
from active_call.core.clock import monotonic_ns
from active_call.core.errors import MediaError
from active_call.lanes.messages import (
    AdjustLane,
    CloseLane,
    ConfigureLane,
    ConfigureVad,
    ControlMessage,
    DenoiseKind,
    DigitReceived,
    Flushed,
    LaneClosed,
    LaneEvent,
    MarkPlayed,
    MixSource,
    OpenExternal,
    OpenLane,
    PutMark,
    RecordingClosed,
    SendDigits,
    SetAmbience,
    SetDenoise,
    SetMix,
    SpeechEnded,
    SpeechStarted,
    StartRecording,
    StopRecording,
)
from active_call.lanes.ring import ring_read, ring_write
from active_call.lanes.table import HEARD_SAMPLES, PLAYBACK_HIGH_WATER, LaneRef, Table
from active_call.media.external import ExternalAudio
from active_call.media.ports import MediaSockets
from active_call.media.statistics import LaneStatistics

if TYPE_CHECKING:
    from active_call.media.supervisor import MediaPlane

_FOREVER = 1 << 62
_PENDING_LIMIT = 8 * SAMPLE_RATE
"""A producer that is this far ahead waits."""

AudioConsumer = Callable[[Pcm, int], None]
"""Takes received audio and the lane position of its first sample."""
TapConsumer = Callable[[int, Pcm, int], None]
"""Takes audio of a track (0 what the peer says, 1 what it hears) and the lane position of its first sample."""
_MOST_GAIN = 2.0


class Lane:
    """A row of the media plane that belongs to one leg. Made by MediaPlane.open_lane and open_external_lane."""

    def __init__(
        self,
        plane: "MediaPlane",
        ref: LaneRef,
        sockets: MediaSockets | None,
        opened: OpenLane | OpenExternal,
    ) -> None:
        self.ref = ref
        self.sockets = sockets
        self.opened = opened
        self.external = None
        if isinstance(opened, OpenExternal):
            self.external = ExternalAudio(plane.table, ref.row, opened.codec, opened.rate_hz)
        self.on_audio: Callable[[bytes], None] | None = None
        """Takes each 20 ms frame for the peer of an external lane, in its codec."""
        self.listener: Callable[[LaneEvent], None] | None = None
        self.closed = asyncio.Event()
        self._plane = plane
        self._table: Table = plane.table
        self._pending: deque[Pcm] = deque()
        self._pending_samples = 0
        self._room = asyncio.Event()
        self._marks: dict[int, int] = {}
        self._next_mark = 1
        self._adjusted = AdjustLane(ref.row, ref.generation)
        self._taps: tuple[TapConsumer, ...] = ()
        self._tapped = [0, 0]
        self._consumer: AudioConsumer | None = None
        self._consumed = 0
        self._last_speech = -1
        self._last_digit = (-1, "")
        self.configured: ConfigureLane | None = None
        self.vad: ConfigureVad | None = None
        self._denoise: SetDenoise | None = None
        self._ambience: SetAmbience | None = None
        self._mix: SetMix | None = None
        self.recording: StartRecording | None = None
        self.recording_pending = False
        """A recording was started whose RecordingClosed has not come yet."""
        self.closing = False
        self.statistics: LaneStatistics | None = None
        """Final counters, once closed."""

    @property
    def port(self) -> int:
        """The local RTP port; 0 of an external lane."""
        return self.sockets.port if self.sockets else 0

    @property
    def ssrc(self) -> int:
        """Of what we send; 0 of an external lane."""
        return self.opened.ssrc if isinstance(self.opened, OpenLane) else 0

    # --- set-up ---------------------------------------------------------------------------------------

    def configure(self, message: ConfigureLane) -> None:
        """Apply a negotiated session."""
        self.configured = message
        self._plane.send(message)

    def detect_speech(self, message: ConfigureVad) -> None:
        """Switch voice activity detection on, off or over."""
        self.vad = message
        self._plane.send(message)

    def start_recording(self, path: str, *, rate_hz: int, flush_ms: int) -> None:
        """Record both directions into a stereo file from now on."""
        ref = self.ref
        self.recording = StartRecording(ref.row, ref.generation, path, rate_hz=rate_hz, flush_ms=flush_ms)
        self.recording_pending = True
        self._plane.send(self.recording)

    def stop_recording(self) -> None:
        """Finish the file; RecordingClosed follows."""
        if self.recording is not None:
            self.recording = None
            self._plane.send(StopRecording(self.ref.row, self.ref.generation))

    def send_digits(
        self, digits: str, *, duration_ms: int = 160, gap_ms: int = 60, tones: bool = False
    ) -> None:
        """Press keys: by RFC 4733 events, or by `tones` in the audio."""
        ref = self.ref
        self._plane.send(SendDigits(ref.row, ref.generation, digits, duration_ms, gap_ms, tones))

    def mix_in(self, *others: "Lane") -> None:
        """From now on the peer hears what the peers of these lanes say, besides playback; none ends it."""
        if not self.closing:
            sources = tuple(MixSource(other.ref.row, other.ref.generation) for other in others)
            self._mix = SetMix(self.ref.row, self.ref.generation, sources)
            self._plane.send(self._mix)

    def mask_digits(self, on: bool) -> None:
        """Keys are still told, but their tones reach neither recogniser, tap, other lane nor recording."""
        self._adjust(mask_digits=on)

    def mute(self, *, received: bool | None = None, sent: bool | None = None) -> None:
        """Make what the peer says, or what it hears, zeros for everybody. None leaves it as it is."""
        now = self._adjusted
        self._adjust(
            mute_received=now.mute_received if received is None else received,
            mute_sent=now.mute_sent if sent is None else sent,
        )

    def pause(self) -> None:
        """Let playback stand still where it is; the peer hears silence."""
        self._adjust(paused=True)

    def resume(self) -> None:
        """Let playback go on from where it was paused."""
        self._adjust(paused=False)

    def set_volume(self, gain: float) -> None:
        """Of all that the peer hears, 0 to 2; what is beyond is taken as the nearest."""
        self._adjust(gain=min(max(gain, 0.0), _MOST_GAIN))

    def denoise(self, kind: DenoiseKind | None) -> None:
        """Reduce the noise in what speech detection and recogniser get. The recording keeps the original.

        Raises MediaError, and leaves it as it is, if what `rnnoise` needs is not installed.
        """
        if kind == "rnnoise" and find_spec("pyrnnoise") is None:
            raise MediaError("denoise 'rnnoise' needs pyrnnoise: pip install 'active-call[rnnoise]'")
        if not self.closing:
            self._denoise = SetDenoise(self.ref.row, self.ref.generation, kind)
            self._plane.send(self._denoise)

    def ambience(self, path: str | None, *, duck: float, normal: float, step: float) -> None:
        """Loop a file of int16 LE samples, 16 kHz, mono, under all that the peer hears; None ends it.

        Its level is `normal`, or `duck` while the lane plays, and moves by `step` per tick. A file that
        can't be read is told by the log of the media plane.
        """
        if not self.closing:
            self._ambience = SetAmbience(self.ref.row, self.ref.generation, path, duck, normal, step)
            self._plane.send(self._ambience)

    def tap(self, consumer: TapConsumer | None) -> None:
        """Hand all that is said and heard from now on to `consumer` too, in pieces of 20 ms; None stops all."""
        if not self._taps:
            self._tapped = [self.position, self.position]
        self._taps = (*self._taps, consumer) if consumer is not None else ()
        self._adjust(tapped=bool(self._taps))
        self._plane.attend(self)

    def _adjust(self, **changes: bool | float) -> None:
        adjusted = msgspec.structs.replace(self._adjusted, **changes)
        if adjusted != self._adjusted and not self.closing:
            self._adjusted = adjusted
            self._plane.send(adjusted)

    def feed(self, data: bytes) -> None:
        """Audio of an external lane's peer in its codec, any number of bytes. MediaError on other lanes."""
        if self.external is None:
            raise MediaError("this lane gets its audio by RTP")
        if not self.closing:
            self.external.feed(data, monotonic_ns())

    def close(self) -> None:
        """Give the lane back; `closed` is set when the media plane has let go of it and of its file."""
        if not self.closing:
            self.flush()
            self.closing = True
            self._room.set()
            self._plane.release(self, CloseLane(self.ref.row, self.ref.generation))

    def let_go(self) -> None:
        """The media plane is done with the lane: nothing more comes, and nobody is kept for it."""
        self.listener = self.on_audio = None
        self._taps = ()
        self._consumer = None
        self.closed.set()

    def replay(self) -> list[ControlMessage]:
        """The messages that tell a new media process about this lane."""
        settings: list[ControlMessage | None] = [
            self.opened,
            self.configured,
            self._adjusted,
            self.vad,
            self._denoise,
            self._ambience,
            self._mix,
            self.recording,
        ]
        messages = [message for message in settings if message is not None]
        messages += [
            PutMark(self.ref.row, self.ref.generation, mark, position) for mark, position in self._marks.items()
        ]
        return messages

    # --- playback -------------------------------------------------------------------------------------

    @property
    def write_position(self) -> int:
        """Playback position after all that was given to `play` so far."""
        return int(self._table.play_write[self.ref.row]) + self._pending_samples

    @property
    def read_position(self) -> int:
        """Playback position of the next sample to be sent."""
        return int(self._table.play_read[self.ref.row])

    async def play(self, pcm: Pcm) -> None:
        """Queue 16 kHz samples. Returns at once, or waits while more than some seconds are ahead."""
        if self.closing:
            return
        self._pending.append(pcm)
        self._pending_samples += len(pcm)
        self.top_up()
        while self._pending_samples > _PENDING_LIMIT and not self.closing:
            self._room.clear()
            await self._room.wait()

    def mark(self, position: int) -> int:
        """Ask to be told (MarkPlayed) when playback reaches `position`. Returns the mark's id."""
        mark = self._next_mark
        self._next_mark += 1
        self._marks[mark] = position
        self._plane.send(PutMark(self.ref.row, self.ref.generation, mark, position))
        return mark

    def flush(self, *, fade_ms: float = 20.0) -> bool:
        """Barge-in: drop all queued audio, fading out. Flushed follows, unless its end is heard just now.

        False, and no Flushed, if nothing is queued in the ring that was not flushed before.
        """
        if self.closing:  # the row may be another lane's already
            return False
        row, table = self.ref.row, self._table
        written = int(table.play_write[row])
        queued = written > max(self.read_position, int(table.play_flush[row]))
        self._pending.clear()
        self._pending_samples = 0
        self._room.set()
        self._forget_marks(written, _FOREVER)
        if queued:
            table.flush_fade[row] = ms_to_samples(fade_ms)
            table.play_flush[row] = written
        return queued

    def _forget_marks(self, after: int, to: int) -> None:
        """What is dropped between two playback positions is never heard."""
        self._marks = {mark: at for mark, at in self._marks.items() if not after < at <= to}

    def top_up(self) -> None:
        """Move pending audio into the ring, up to the high-water mark."""
        row, table = self.ref.row, self._table
        room = PLAYBACK_HIGH_WATER - (int(table.play_write[row]) - int(table.play_read[row]))
        while self._pending and room > 0:
            piece = self._pending[0]
            part = piece[:room]
            ring_write(table.playback[row], int(table.play_write[row]), part)
            table.play_write[row] += len(part)
            room -= len(part)
            self._pending_samples -= len(part)
            if len(part) == len(piece):
                self._pending.popleft()
            else:
                self._pending[0] = piece[len(part) :]
        if self._pending_samples <= _PENDING_LIMIT:
            self._room.set()

    @property
    def waiting(self) -> bool:
        """Whether the feed loop has anything to do for playback."""
        return self._pending_samples > 0

    # --- listening ------------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Lane position: samples received (and sent) so far."""
        return int(self._table.position[self.ref.row]) if self._ticked else 0

    @property
    def silent_ticks(self) -> int:
        """Ticks since the last RTP packet, or since the lane opened."""
        if not self._ticked:
            return 0
        row, table = self.ref.row, self._table
        return max(0, table.get("tick") - max(int(table.rx_tick[row]), int(table.opened_tick[row])))

    @property
    def _ticked(self) -> bool:
        """Whether the plane has taken the lane in. Until then its columns are those of the former lane."""
        return int(self._table.opened_tick[self.ref.row]) >= 0

    def wall_ms(self, position: int) -> int:
        """Unix milliseconds of a lane position."""
        opened = int(self._table.opened_tick[self.ref.row])
        return self._table.tick_wall_ms(max(opened, 0)) + position * 1000 // SAMPLE_RATE

    def tick_wall_ms(self, tick: int) -> int:
        """Unix milliseconds of a tick."""
        return self._table.tick_wall_ms(tick)

    def listen(self, consumer: AudioConsumer | None) -> None:
        """Hand all audio received from now on to `consumer`, about every 100 ms."""
        self._consumer = consumer
        self._consumed = self.position

    @property
    def listening(self) -> bool:
        return self._consumer is not None

    def drain(self) -> None:
        """Hand over what has been received by now."""
        if self._consumer is None:
            return
        position = self.position
        start = max(self._consumed, position - HEARD_SAMPLES + 2 * 320)
        if position > start:
            self._consumed = position
            self._consumer(ring_read(self._table.received[self.ref.row], start, position - start), start)

    def heard(self, start: int, end: int) -> Pcm:
        """Received audio between two lane positions, as far as the ring still has it."""
        start = max(start, self.position - HEARD_SAMPLES, 0)
        if end <= start:
            return np.zeros(0, np.int16)
        return ring_read(self._table.received[self.ref.row], start, end - start)

    @property
    def attended(self) -> bool:
        """Whether there is something to hand over every tick."""
        return self.external is not None or bool(self._taps)

    def attend(self) -> None:
        """Every tick: hand over what was said and heard since the last call."""
        if self.closing:
            return
        if self.external is not None:
            frames = self.external.fetch()
            if self.on_audio is not None:
                for frame in frames:
                    self.on_audio(frame)
        if self._taps and self._ticked:
            self._hand_over()

    def _hand_over(self) -> None:
        row, table = self.ref.row, self._table
        position, sent_from = self.position, int(table.sent_from[row])
        oldest = position - (HEARD_SAMPLES // TICK_SAMPLES - 1) * TICK_SAMPLES
        starts = [max(start, oldest) for start in self._tapped]
        starts[1] = max(starts[1], sent_from) if sent_from >= 0 else position
        self._tapped = [position, position]
        for start in range(min(starts), position, TICK_SAMPLES):
            for track, ring in enumerate((table.received, table.sent)):
                if start >= starts[track]:
                    pcm = ring_read(ring[row], start, TICK_SAMPLES)
                    for consumer in self._taps:
                        consumer(track, pcm, start)

    # --- events from the media plane ------------------------------------------------------------------

    def receive(self, event: LaneEvent) -> None:
        """Pass an event on to the listener, once: after a takeover the media plane may repeat some."""
        if self._repeated(event):
            return
        match event:
            case LaneClosed():
                self.statistics = self.snapshot()
            case RecordingClosed():
                self.recording_pending = False
            case _:
                pass
        if self.listener is not None:
            self.listener(event)

    def _repeated(self, event: LaneEvent) -> bool:
        match event:
            case MarkPlayed():
                return self._marks.pop(event.mark, None) is None
            case Flushed():
                self._forget_marks(event.position, event.flushed_to)
            case SpeechStarted() | SpeechEnded():
                moment = event.position if isinstance(event, SpeechStarted) else event.end
                if moment <= self._last_speech:
                    return True
                self._last_speech = moment
            case DigitReceived():
                if event.position < self._last_digit[0] or (event.position, event.digit) == self._last_digit:
                    return True
                self._last_digit = event.position, event.digit
            case _:
                pass
        return False

    def snapshot(self) -> LaneStatistics:
        """The counters now."""
        missed = self.external.missed if self.external else None
        return LaneStatistics.read(self._table, self.ref.row, missed)
