"""What the tests of the API share: audio in every codec, peers that only do as they are told, small servers."""

import asyncio
import json
import wave
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from G722 import G722
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection, serve

from active_call.client import Session
from active_call.core.audio import Pcm
from active_call.dsp.g711 import A_LAW, G711, MU_LAW
from active_call.sip.agent import SipAgent, SipCall, SipConfig
from active_call.wire import events
from active_call.wire.options import AsrOption, CallOption, TtsOption, VadOption

T = TypeVar("T")

FRAME_SECONDS = 0.02
INSTANT = CallOption(
    asr=AsrOption(provider="instant"), tts=TtsOption(provider="instant"), vad=VadOption(type="silero")
)
"""A recogniser and a voice (440 Hz) that take no time."""

TALK = """---
llm: {provider: scripted}
tts: {provider: instant}
asr: {provider: instant}
vad: {type: silero}
greeting: "hello hello"
---
A test.
"""
"""A playbook that greets."""


def run(scene: Coroutine[Any, Any, T], timeout: float = 50.0) -> T:
    """Play a scene, bounded in time."""
    return asyncio.run(asyncio.wait_for(scene, timeout))


async def until(come: Callable[[], bool], timeout: float = 10.0) -> None:
    """Until a condition holds, looked at every 5 ms. Raises TimeoutError."""
    for _ in range(round(timeout / 0.005)):
        if come():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


def option(**given: Any) -> CallOption:
    """INSTANT and more."""
    return CallOption(asr=INSTANT.asr, tts=INSTANT.tts, vad=INSTANT.vad, **given)


# --- audio ------------------------------------------------------------------------------------------------


def tone(rate_hz: int, hz: float, seconds: float) -> Pcm:
    """A sine of a quarter of full scale."""
    times = np.arange(round(rate_hz * seconds)) / rate_hz
    samples: Pcm = np.rint(8_000 * np.sin(2 * np.pi * hz * times)).astype(np.int16)
    return samples


def purity(pcm: NDArray[Any], rate_hz: int, hz: float) -> float:
    """The share of the energy within 30 Hz of `hz`, 0 to 1."""
    samples = pcm.astype(np.float64) * np.hanning(len(pcm))
    power = np.abs(np.fft.rfft(samples)) ** 2
    near = np.abs(np.fft.rfftfreq(len(pcm), 1 / rate_hz) - hz) < 30
    return float(power[near].sum() / max(power.sum(), 1.0))


def loud(pcm: Pcm, rate_hz: int) -> Pcm:
    """What remains of `pcm` without its silent 20 ms frames."""
    frame = rate_hz // 50
    frames = pcm[: len(pcm) // frame * frame].reshape(-1, frame)
    kept: Pcm = frames[np.abs(frames).max(axis=1) > 1_000].reshape(-1)
    return kept


@dataclass(frozen=True)
class Codec:
    """A format of binary frames."""

    name: str
    rate_hz: int
    frame_bytes: int

    def encode(self, pcm: Pcm) -> bytes:
        match self.name:
            case "pcm":
                return pcm.astype("<i2").tobytes()
            case "g722":
                return bytes(G722(16_000, 64_000).encode(pcm))
        even = pcm[: len(pcm) // 2 * 2][None]
        law = np.array([A_LAW if self.name == "pcma" else MU_LAW])
        codes = G711(1, even.shape[1]).encode(np.ascontiguousarray(even), law, np.empty(even.shape, np.uint8))
        return codes.tobytes()

    def decode(self, data: bytes) -> Pcm:
        match self.name:
            case "pcm":
                return np.frombuffer(data, "<i2").astype(np.int16)
            case "g722":
                return np.array(G722(16_000, 64_000).decode(data), np.int16)
        codes = np.frombuffer(data[: len(data) // 2 * 2], np.uint8)[None].copy()
        law = np.array([A_LAW if self.name == "pcma" else MU_LAW])
        samples: Pcm = G711(1, codes.shape[1]).decode(codes, law, np.empty(codes.shape, np.int16))[0]
        return samples


CODECS = [
    *(Codec("pcm", rate, rate // 50 * 2) for rate in (8_000, 16_000, 24_000, 48_000)),
    Codec("pcmu", 8_000, 160),
    Codec("pcma", 8_000, 160),
    Codec("g722", 16_000, 160),
]
PCM = CODECS[1]


async def send_paced(call: Session, data: bytes, frame_bytes: int, message_bytes: int = 0) -> None:
    """Send audio as fast as it is spoken: `frame_bytes` per 20 ms, in messages of any size."""
    size = message_bytes or frame_bytes
    loop = asyncio.get_running_loop()
    began = loop.time()
    for at in range(0, len(data), size):
        await call.send_audio(data[at : at + size])
        await asyncio.sleep(began + (at + size) / frame_bytes * FRAME_SECONDS - loop.time())


async def collect(call: Session, seconds: float) -> bytes:
    """Binary frames that come within so long."""
    received = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for frame in call.audio():
                received += frame
    except TimeoutError:
        pass
    return bytes(received)


def read_wav(path: Path) -> tuple[int, NDArray[np.int16]]:
    """Rate, and samples of shape (n, channels)."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return file.getframerate(), samples.reshape(-1, file.getnchannels())


def write_wav(path: Path, pcm: Pcm, rate_hz: int = 16_000) -> None:
    """A mono file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm.astype("<i2").tobytes())


# --- events -----------------------------------------------------------------------------------------------


@dataclass
class Log:
    """Every event of a session, as it came."""

    seen: list[events.Event] = field(default_factory=list)

    @classmethod
    def of(cls, call: Session) -> "Log":
        log = cls()
        call.on_event = log.seen.append
        return log

    def all(self, kind: type[T]) -> list[T]:
        return [event for event in self.seen if isinstance(event, kind)]

    def names(self, *leave_out: str) -> list[str]:
        return [event.event for event in self.seen if event.event not in (*leave_out, "metrics", "ping")]


# --- peers ------------------------------------------------------------------------------------------------


@dataclass
class Callee:
    """A SIP peer without audio that does what `on_call` says, and notes the datagrams it saw."""

    agent: SipAgent
    calls: list[SipCall] = field(default_factory=list)
    seen: list[tuple[str, bytes, float]] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return f"sip:bob@127.0.0.1:{self.agent.address[1]}"

    def received(self, method: bytes) -> list[float]:
        """Loop times at which requests of a method came."""
        return [at for way, data, at in self.seen if way == "<" and data.startswith(method + b" ")]

    async def wait_received(self, method: bytes) -> float:
        """The loop time of the first request of a method."""
        await until(lambda: bool(self.received(method)))
        return self.received(method)[0]


@asynccontextmanager
async def callee(on_call: Callable[[SipCall], None]) -> AsyncIterator[Callee]:
    """A peer that is called."""

    def take(call: SipCall) -> None:
        peer.calls.append(call)
        on_call(call)

    def note(way: str, data: bytes, at: float, *_: object) -> None:
        peer.seen.append((way, data, at))

    peer = Callee(SipAgent(SipConfig("127.0.0.1", 0), on_call=take, on_message=note))
    await peer.agent.start()
    try:
        yield peer
    finally:
        await peer.agent.aclose()


class Hook:
    """An HTTP server that notes the bodies and headers of what is posted to it and answers with `status`."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                hook.headers.append({name.lower(): value for name, value in self.headers.items()})
                hook.bodies.append(json.loads(body))
                self.send_response(hook.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhook"

    def __enter__(self) -> "Hook":
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    async def asked(self, count: int = 1) -> dict[str, Any]:
        """The body of the `count`-th request."""
        await until(lambda: len(self.bodies) >= count)
        return self.bodies[count - 1]


@dataclass
class Echo:
    """A media service that returns what it gets."""

    url: str = ""
    paths: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    async def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        async for message in connection:
            self.sizes.append(len(message))
            await connection.send(message)


@asynccontextmanager
async def echo_service() -> AsyncIterator[Echo]:
    """An Echo on a free port."""
    echo = Echo()
    async with serve(echo.handle, "127.0.0.1", 0, compression=None) as server:
        echo.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/media"
        yield echo
