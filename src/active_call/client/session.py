"""One call over a WebSocket: commands out, events in, and for `/call` audio both ways.

    async with connect("ws://localhost:8080", "sip") as call:
        await call.invite(CallOption(callee="sip:bob@example.com"))
        await call.until(events.Answer)
        await call.tts("Hello!", auto_hangup=True)
        async for event in call:
            print(event)

There is no task behind a session: whoever waits for an event or for audio reads the socket for all who wait.
Nobody waiting means that nothing is read, and the gateway soon drops audio.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from active_call.client.encoding import to_json
from active_call.client.errors import ClientError, ConnectionLost, Refused, reason_of
from active_call.wire import commands, events
from active_call.wire.commands import Command
from active_call.wire.dialogue import CallType
from active_call.wire.events import Event, parse_event
from active_call.wire.options import CallOption, RecorderOption, ReferOption, TtsOption

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)

_PATHS: dict[CallType, str] = {"webSocket": "/call", "sip": "/call/sip", "webrtc": "/call/webrtc"}
_MAX_FRAME = 16 * 1024 * 1024
_DEFAULT_TIMEOUT = 10.0


@asynccontextmanager
async def connect(
    url: str,
    call_type: CallType,
    *,
    id: str | None = None,
    dump: bool | None = None,
    events: Literal["canonical"] | None = "canonical",
    binary: Literal["json", "base64"] | None = None,
    ping_interval: int | None = None,
    server_side_track: str | None = None,
    audio_frames: int = 500,
    timeout: float = _DEFAULT_TIMEOUT,
) -> AsyncIterator["Session"]:
    """A session on the gateway at `url` (ws://host:port, wss://…); leaving ends the call.

    `id` is the session id, or the dialog id of a waiting inbound call. `events=None` adds `transcript` and
    `end`.
    At most `audio_frames` binary frames are kept for `audio`; then the oldest is dropped.
    Raises Refused (409: the id is in use, 503: no capacity) and ClientError.
    """
    query: dict[str, object] = {
        "id": id,
        "dump": None if dump is None else str(dump).lower(),
        "events": events,
        "binary": binary,
        "pingInterval": ping_interval,
        "serverSideTrack": server_side_track,
    }
    asked = "&".join(
        f"{name}={quote(str(value), safe='@:/~')}" for name, value in query.items() if value is not None
    )
    target = f"{url.rstrip('/')}{_PATHS[call_type]}?{asked}"
    try:
        socket = await open_websocket(target, compression=None, max_size=_MAX_FRAME, open_timeout=timeout)
    except InvalidStatus as error:
        raise Refused(error.response.status_code, reason_of(bytes(error.response.body or b""))) from None
    except (InvalidHandshake, InvalidURI, OSError, TimeoutError) as error:
        raise ClientError(f"can't connect to {target}: {error or type(error).__name__}") from error
    try:
        yield Session(socket, audio_frames)
    finally:
        await socket.close()


class Session:
    """A call as its client sees it. An async iterator of its events, which ends with the call."""

    def __init__(self, socket: ClientConnection, audio_frames: int) -> None:
        self._socket = socket
        self._reading = asyncio.Lock()
        self._events: deque[Event] = deque()  # none is ever dropped: a call has few
        self._audio: deque[bytes] = deque()
        self._audio_frames = audio_frames
        self._lost: ConnectionClosed | None = None
        self.audio_dropped = 0
        """Binary frames that came while nobody took audio."""
        self.hangup_event: events.Hangup | None = None
        """How the call ended, once it has."""
        self.on_event: Callable[[Event], None] | None = None
        """Sees every event as it is read, also those that `until` passes over."""
        self.on_audio: Callable[[bytes], None] | None = None
        """Takes binary frames as they are read, in place of `audio`."""

    # --- events and audio -----------------------------------------------------------------------------

    def __aiter__(self) -> "Session":
        return self

    async def __anext__(self) -> Event:
        """The next event. Raises ConnectionLost if the connection ended without `hangup`."""
        if await self._filled(self._events):
            return self._events.popleft()
        if self.hangup_event is None:
            raise ConnectionLost(f"the connection was lost: {self._lost}")
        raise StopAsyncIteration

    async def until(
        self, kind: type[E], *, timeout: float = _DEFAULT_TIMEOUT, where: Callable[[E], bool] | None = None
    ) -> E:
        """The next event of one kind; those before it are passed over.

        Raises TimeoutError, and ConnectionLost if the call ended first, saying why.
        """
        async with asyncio.timeout(timeout):
            async for event in self:
                if isinstance(event, kind) and (where is None or where(event)):
                    return event
        assert self.hangup_event is not None
        why = self.hangup_event.detail or self.hangup_event.reason
        raise ConnectionLost(f"the call ended before {kind.__name__}: {why or 'no reason given'}")

    async def audio(self) -> AsyncIterator[bytes]:
        """Binary frames, until the call ends."""
        while await self._filled(self._audio):
            yield self._audio.popleft()

    async def _filled(self, queue: "deque[Any]") -> bool:
        """Read until something is in `queue`; False if nothing will ever come."""
        while not queue:
            async with self._reading:
                if queue:
                    break
                if self._lost is not None or self.hangup_event is not None:
                    return False
                try:
                    self._take(await self._socket.recv())
                except ConnectionClosed as closed:
                    self._lost = closed
        return True

    def _take(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            if self.on_audio is not None:
                self.on_audio(data)
                return
            if len(self._audio) >= self._audio_frames:
                self._audio.popleft()
                self.audio_dropped += 1
            self._audio.append(data)
            return
        try:
            event = parse_event(data)
        except ValidationError as error:
            log.warning("- an event of another version is passed over: %s", error)
            return
        if isinstance(event, events.Hangup) and not event.refer:
            self.hangup_event = event
        if self.on_event is not None:
            self.on_event(event)
        self._events.append(event)

    # --- commands -------------------------------------------------------------------------------------

    async def send(self, command: Command) -> None:
        """Send a command; what is wrong with it comes as an `error` event. Raises ConnectionLost."""
        try:
            await self._socket.send(to_json(command))
        except ConnectionClosed as closed:
            raise ConnectionLost(f"the connection is closed: {closed}") from None

    async def send_audio(self, frame: bytes) -> None:
        """Send audio of the call's codec, of any length (`/call` only).

        Nobody hears it once the call has ended; that it has, the events tell.
        """
        with suppress(ConnectionClosed):
            await self._socket.send(frame)

    async def invite(self, option: CallOption) -> None:
        """Dial `option.callee`, or take up the audio of this socket."""
        await self.send(commands.Invite(option=option))

    async def start(self, option: CallOption) -> None:
        """`invite`, for calls whose audio travels on this socket."""
        await self.send(commands.Start(option=option))

    async def accept(self, option: CallOption | None = None) -> None:
        """Answer the inbound call."""
        await self.send(commands.Accept(option=option or CallOption()))

    async def reject(self, code: int | None = None, reason: str = "") -> None:
        """Refuse the inbound call."""
        await self.send(commands.Reject(code=code, reason=reason))

    async def ringing(
        self, *, early_media: bool = False, ringtone: str | None = None, recorder: RecorderOption | None = None
    ) -> None:
        """Let the inbound call ring."""
        await self.send(commands.Ringing(early_media=early_media, ringtone=ringtone, recorder=recorder))

    async def tts(
        self,
        text: str,
        *,
        play_id: str | None = None,
        speaker: str | None = None,
        streaming: bool = False,
        end_of_stream: bool = False,
        auto_hangup: bool = False,
        wait_input_timeout: float | None = None,
        base64: bool = False,
        option: TtsOption | None = None,
    ) -> None:
        """Speak."""
        await self.send(
            commands.Tts(
                text=text,
                play_id=play_id,
                speaker=speaker,
                streaming=streaming,
                end_of_stream=end_of_stream,
                auto_hangup=auto_hangup,
                wait_input_timeout=wait_input_timeout,
                base64=base64,
                option=option,
            )
        )

    async def play(
        self,
        url: str,
        *,
        play_id: str | None = None,
        auto_hangup: bool = False,
        wait_input_timeout: float | None = None,
        offset_ms: int = 0,
    ) -> None:
        """Play an audio file or URL."""
        await self.send(
            commands.Play(
                url=url,
                play_id=play_id,
                auto_hangup=auto_hangup,
                wait_input_timeout=wait_input_timeout,
                offset_ms=offset_ms,
            )
        )

    async def interrupt(self, *, graceful: bool = False, fade_out_ms: int | None = None) -> None:
        """Stop what is being said."""
        await self.send(commands.Interrupt(graceful=graceful, fade_out_ms=fade_out_ms))

    async def pause(self) -> None:
        """Hold playback where it is."""
        await self.send(commands.Pause())

    async def resume(self) -> None:
        """Go on with it."""
        await self.send(commands.Resume())

    async def mute(self, track_id: str | None = None) -> None:
        """Silence one track, or all."""
        await self.send(commands.Mute(track_id=track_id))

    async def unmute(self, track_id: str | None = None) -> None:
        """End `mute`."""
        await self.send(commands.Unmute(track_id=track_id))

    async def refer(self, callee: str, *, caller: str = "", options: ReferOption | None = None) -> None:
        """Transfer the call."""
        await self.send(commands.Refer(caller=caller, callee=callee, options=options))

    async def bridge(self, target_session_id: str) -> None:
        """Let the other sides of this call and another hear each other."""
        await self.send(commands.Bridge(target_session_id=target_session_id))

    async def unbridge(self, target_session_id: str) -> None:
        """End `bridge`."""
        await self.send(commands.Unbridge(target_session_id=target_session_id))

    async def send_dtmf(
        self,
        digits: str,
        *,
        mode: Literal["auto", "rfc4733", "info", "inband"] = "auto",
        duration: int = 160,
        gap: int = 60,
        refer: bool = False,
    ) -> None:
        """Press keys: 0-9 * # A-D, each for `duration` ms; with `refer`, for the transferred party."""
        await self.send(commands.SendDtmf(digits=digits, mode=mode, duration=duration, gap=gap, refer=refer))

    async def message(
        self,
        body: str,
        *,
        content_type: str = "text/plain;charset=utf-8",
        headers: dict[str, str] | None = None,
        refer: bool = False,
    ) -> None:
        """Send a text by SIP MESSAGE; with `refer`, to the transferred party."""
        await self.send(commands.Message(body=body, content_type=content_type, headers=headers, refer=refer))

    async def history(self, speaker: str, text: str) -> None:
        """Put a line of conversation into the record."""
        await self.send(commands.History(speaker=speaker, text=text))

    async def custom(self, data: Any, *, sender: str | None = None) -> None:
        """Say something to all who follow this call."""
        await self.send(commands.Custom(data=data, sender=sender))

    async def hangup(
        self,
        reason: str | None = None,
        *,
        initiator: str | None = None,
        headers: dict[str, str] | None = None,
        refer: bool = False,
    ) -> None:
        """End the call; `hangup` is the last event. With `refer`, hang up on the transferred party only."""
        await self.send(commands.Hangup(reason=reason, initiator=initiator, headers=headers, refer=refer))
