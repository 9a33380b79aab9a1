"""Media pass: a WebSocket service gets what the caller says, and the caller hears what it sends.

Both ways the audio is PCM, 16-bit little-endian, mono, in binary messages; text messages are ignored. A
connection that fails or ends is made again, later each time, as long as the call lasts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain, repeat
from typing import TYPE_CHECKING, Protocol

import numpy as np
from websockets.exceptions import ConnectionClosed

from active_call.call.audio.playout import Playout
from active_call.core.audio import SAMPLE_RATE, Pcm, samples_to_ms
from active_call.core.channel import AudioChannel
from active_call.core.owner import Owner
from active_call.core.resample import Resampler
from active_call.core.urls import mask_urls
from active_call.outbound import FetchError, GuardError, Origin, Outbound
from active_call.wire import events
from active_call.wire.dialogue import CallPort
from active_call.wire.options import MediaPassOption

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before the next attempt; the last one repeats."""
_STABLE = 10.0
"""After a connection of so many seconds the pauses begin anew."""
_UNSENT_SECONDS = 1.0
_START_MS = 20
_NOTHING = np.zeros(0, np.int16)
_AT_ONCE = 0.05
"""Messages that follow each other within so many seconds were sent before."""


class PassLane(Protocol):
    """The part of a lane that a media pass needs."""

    @property
    def ssrc(self) -> int: ...

    @property
    def write_position(self) -> int: ...

    @property
    def read_position(self) -> int: ...

    def play(self, pcm: Pcm) -> Awaitable[None]: ...

    def flush(self) -> bool: ...

    def tap(self, consumer: Callable[[int, Pcm, int], None] | None) -> None: ...


class Packets:
    """Cuts 16 kHz audio, converted to `rate_hz` without seams, into messages of exactly `size` bytes."""

    def __init__(self, rate_hz: int, size: int) -> None:
        self._resampler = Resampler(SAMPLE_RATE, rate_hz)
        self._size = size
        self._held = bytearray()

    def put(self, pcm: Pcm) -> Iterator[bytes]:
        """The messages that are full after the next samples, shape (n,)."""
        self._held += self._resampler.process(pcm).astype("<i2", copy=False).tobytes()
        while len(self._held) >= self._size:
            yield bytes(self._held[: self._size])
            del self._held[: self._size]


class Samples:
    """Makes 16 kHz samples of a stream of bytes at `rate_hz`, whose messages may end within a sample."""

    def __init__(self, rate_hz: int) -> None:
        self._resampler = Resampler(rate_hz)
        self._odd = b""

    def put(self, message: bytes) -> Pcm:
        """The samples of the next message, shape (n,); may be empty."""
        data = self._odd + message
        whole = len(data) // 2 * 2
        self._odd = data[whole:]
        return self._resampler.process(np.frombuffer(data, "<i2", whole // 2).astype(np.int16, copy=False))


class MediaPass:
    """One call's media pass. `run` is a task of the call and ends with it."""

    _call = Owner[CallPort]()

    def __init__(
        self,
        lane: PassLane,
        option: MediaPassOption,
        outbound: Outbound,
        call: CallPort,
        track_id: str,
        *,
        origin: Origin = Origin.CLIENT,
    ) -> None:
        self.connected = asyncio.Event()
        """Set while the service is there."""
        self.dropped = 0
        """Messages that the service was too slow to take."""
        self._lane = lane
        self._option = option
        self._outbound = outbound
        self._call = call
        self._track_id = track_id
        self._origin = origin
        self._url = pass_url(option)
        self._sender = f"media_pass: {mask_urls(option.url)}"
        self._packets: Packets | None = None
        self._unsent: AudioChannel[bytes] = AudioChannel(1)
        self._heard = 0
        """Samples of this connection that were played or will be."""
        self._held_back = False
        self._stale = False
        self._resting = False

    async def run(self) -> None:
        """Pass audio until cancelled, or until the URL turns out to be forbidden. Peers can't make it raise."""
        loop = asyncio.get_running_loop()
        self._lane.tap(self._hear)
        pauses = _pauses()
        while True:
            opened = loop.time()
            try:
                socket = await self._outbound.connect_websocket(self._url, self._origin)
                opened = loop.time()
                failure = await self._pass(socket)
            except GuardError as error:
                self._complain(str(error))
                return
            except FetchError as error:
                failure = str(error)
            self._complain(failure)
            if loop.time() - opened >= _STABLE:
                pauses = _pauses()
            await asyncio.sleep(next(pauses))

    def move(self, lane: PassLane) -> None:
        """The peer has another lane."""
        self._lane = lane
        lane.tap(self._hear)

    def rest(self, *, on: bool) -> None:
        """Until told otherwise the service hears nothing, and what it sends is not heard."""
        self._resting = on
        if on:
            self.interrupt()

    def interrupt(self) -> None:
        """Barge-in: what the service has sent so far is heard no more."""
        self._lane.flush()
        self._stale = self._held_back

    def _complain(self, text: str) -> None:
        self._call.emit(
            events.Error(
                track_id=self._track_id, timestamp=self._call.now_ms(), sender=self._sender, error=text
            )
        )

    # --- one connection -------------------------------------------------------------------------------

    async def _pass(self, socket: "ClientConnection") -> str:
        """Pass audio until the connection ends; why it did."""
        option = self._option
        limit = round(_UNSENT_SECONDS * 2 * option.output_sample_rate / option.packet_size)
        self._unsent = AudioChannel(max(2, limit))
        self._packets = Packets(option.output_sample_rate, option.packet_size)
        self._heard = 0
        self._call.emit(events.TrackStart(track_id=self._track_id, timestamp=self._call.now_ms()))
        self.connected.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send(socket), name="media pass")
                failure = await self._receive(socket)
                sending.cancel()
            return failure
        finally:
            self.connected.clear()
            self._packets = None
            self.dropped += self._unsent.dropped
            self._call.emit(
                events.TrackEnd(
                    track_id=self._track_id,
                    timestamp=self._call.now_ms(),
                    duration=samples_to_ms(self._heard),
                    ssrc=self._lane.ssrc,
                )
            )
            await socket.close()

    def _hear(self, track: int, pcm: Pcm, position: int) -> None:
        """Consumer of the lane's tap."""
        if track == 0 and self._packets is not None and not self._resting:
            for packet in self._packets.put(pcm):
                self._unsent.put(packet)

    async def _send(self, socket: "ClientConnection") -> None:
        try:
            while True:
                await socket.send(await self._unsent.get())
        except ConnectionClosed:
            return  # the receiver says why

    async def _receive(self, socket: "ClientConnection") -> str:
        """Play what comes until the connection ends; why it did."""
        loop = asyncio.get_running_loop()
        ptime = self._option.ptime
        playout = Playout(max(_START_MS, ptime), catch_up=not ptime)
        samples = Samples(self._option.input_sample_rate)
        last = loop.time()
        while True:
            try:
                message = await socket.recv()
            except ConnectionClosed as closed:
                return f"the service ended the connection: {closed}"
            now = loop.time()
            pcm = samples.put(message) if isinstance(message, bytes) else _NOTHING
            self._stale = self._stale and now - last < _AT_ONCE
            if len(pcm) and not self._stale and not self._resting:
                self._heard += len(pcm)
                queued = self._lane.write_position - self._lane.read_position
                # A service that is far ahead of time waits here, and then the network makes it wait.
                self._held_back = True
                await self._lane.play(playout.put(pcm, queued, now))
                self._held_back = False
            last = loop.time()


def pass_url(option: MediaPassOption) -> str:
    """Where to connect: the option's URL, told what to expect."""
    end = option.url[-1:]
    joint = "" if end in ("?", "&") else "&" if "?" in option.url else "?"
    return f"{option.url}{joint}sample_rate={option.output_sample_rate}&packet_size={option.packet_size}"


def _pauses() -> Iterator[float]:
    return chain(_PAUSES, repeat(_PAUSES[-1]))
