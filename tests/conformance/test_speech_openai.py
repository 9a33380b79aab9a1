"""The providers that speak OpenAI's HTTP API, against a small server on a real loopback socket."""

import asyncio
import io
import json
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.core.errors import ProviderError
from active_call.speech.asr.openai import OpenAiAsr
from active_call.speech.providers import Asr, Tts
from active_call.speech.tts.openai import OpenAiTts
from active_call.testing.suites.asr import AsrSuite, heard
from active_call.testing.suites.tts import TtsSuite, pieces, spoken
from active_call.wire.options import AsrOption, TtsOption

TONE = np.rint(8_000 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)).astype("<i2").tobytes()


class Server:
    """Speaks a second of tone, hears "Yes"; bodies of requests are kept."""

    def __init__(self) -> None:
        self.status = 200
        self.message = "not today"
        self.stall = False
        self.speech = TONE
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((head[0].split()[1], headers, body))
        if self.status != 200:
            reply = json.dumps({"error": {"message": self.message}}).encode()
            await self.reply(writer, self.status, reply)
        elif "/audio/speech" in head[0]:
            await self.speak(writer)
        else:
            await self.reply(writer, 200, b'{"text": " Yes "}')
        writer.close()

    async def reply(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        writer.write(f"{head}connection: close\r\n\r\n".encode() + body)
        await writer.drain()

    async def speak(self, writer: asyncio.StreamWriter) -> None:
        """Chunks of odd sizes, so that samples are cut in two."""
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")
        for at in range(0, len(self.speech), 4_801):
            chunk = self.speech[at : at + 4_801]
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
            if self.stall:
                return
        writer.write(b"0\r\n\r\n")
        await writer.drain()


@contextmanager
def running() -> Iterator[Server]:
    """A server in its own thread and loop."""
    server = Server()
    ready = Event()
    stop: list[Any] = []

    async def serve() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
        stop.append(lambda: loop.call_soon_threadsafe(done.set))
        ready.set()
        async with listener:
            await done.wait()

    thread = Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait(5)
    try:
        yield server
    finally:
        stop[0]()
        thread.join(5)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with running() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-from-environment")
        yield server


@pytest.mark.usefixtures("server")
class TestOpenAiTts(TtsSuite):
    text = "Good morning."

    def tts(self) -> Tts:
        return OpenAiTts()

    def option(self) -> TtsOption:
        return TtsOption(provider="openai")

    def bad_option(self) -> TtsOption:
        return TtsOption(provider="openai", endpoint="http://127.0.0.1:1/v1")


@pytest.mark.usefixtures("server")
class TestOpenAiAsr(AsrSuite):
    text = "Yes"

    def asr(self) -> Asr:
        return OpenAiAsr()

    def speech(self) -> Pcm:
        return np.full(16_000, 1_000, np.int16)

    def option(self) -> AsrOption:
        return AsrOption(provider="openai")

    def bad_option(self) -> AsrOption:
        return AsrOption(provider="openai", endpoint="http://127.0.0.1:1/v1")


def speak(server: Server, text: str = "Hello.", **option: Any) -> Pcm:
    option.setdefault("endpoint", server.url)
    return asyncio.run(spoken(OpenAiTts(), TtsOption.model_validate(option), text))


def test_speech_is_converted_without_seams(server: Server) -> None:
    pcm = speak(server)
    expected = 8_000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert len(pcm) == 16_000
    assert np.abs(pcm[200:-200] - expected[200:-200]).max() < 5


def test_a_wav_file_in_place_of_raw_samples_is_understood(server: Server) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(24_000)
        writer.writeframes(TONE)
    raw = speak(server)
    server.speech = file.getvalue()
    assert np.abs(speak(server).astype(int) - raw).max() <= 1


def test_what_is_asked_for(server: Server) -> None:
    speak(server, "Hello.", speaker="nova", model="tts-2", speed=1.5, apiKey="sk-mine")
    path, headers, body = server.requests[0]
    assert path == "/v1/audio/speech"
    assert headers["authorization"] == "Bearer sk-mine"
    assert json.loads(body) == {
        "input": "Hello.",
        "model": "tts-2",
        "voice": "nova",
        "response_format": "pcm",
        "speed": 1.5,
    }


def test_one_request_per_sentence(server: Server) -> None:
    speak(server, "One. Two.")
    assert [json.loads(body)["input"].strip() for _, _, body in server.requests] == ["One.", "Two."]


@pytest.mark.parametrize(("status", "retryable"), [(401, False), (404, False), (429, True), (500, True)])
def test_statuses_say_whether_to_retry(server: Server, status: int, retryable: bool) -> None:
    server.status = status
    with pytest.raises(ProviderError, match=f"{status}: not today") as error:
        speak(server, apiKey="sk-mine")
    assert error.value.retryable is retryable
    assert "sk-mine" not in str(error.value)
    assert len(server.requests) == 1


def test_a_server_that_repeats_the_key_does_not_put_it_into_the_error(server: Server) -> None:
    server.status, server.message = 401, "the key sk-mine is not known"
    with pytest.raises(ProviderError, match="not known") as error:
        speak(server, apiKey="sk-mine")
    assert "sk-mine" not in str(error.value)


def test_speech_that_breaks_off_is_retryable(server: Server) -> None:
    server.stall = True
    with pytest.raises(ProviderError, match="speech synthesis failed") as error:
        speak(server)
    assert error.value.retryable


def test_chunks_come_before_the_response_is_complete(server: Server) -> None:
    server.stall = True

    async def first() -> int:
        speech = OpenAiTts().synthesize(pieces("Hello."), TtsOption(endpoint=server.url))
        async for chunk in speech:
            return len(chunk.pcm)
        return 0

    assert 0 < asyncio.run(first()) <= 1_600


def test_an_utterance_is_sent_as_wav(server: Server) -> None:
    option = AsrOption(endpoint=server.url, model_type="whisper-2", language="en-US", phrases=["yes", "no"])
    asyncio.run(heard(OpenAiAsr(), option, np.full(16_000, 1_000, np.int16)))
    path, _, body = server.requests[0]
    assert path == "/v1/audio/transcriptions"
    for part in (b"whisper-2", b'"language"\r\n\r\nen\r\n', b"yes, no"):
        assert part in body
    with wave.open(io.BytesIO(body[body.index(b"RIFF") :])) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (16_000, 1, 16_000)


def test_openai_itself_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ProviderError, match="OPENAI_API_KEY"):
        asyncio.run(spoken(OpenAiTts(), TtsOption(), "Hello."))


def test_other_servers_need_none(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert len(speak(server)) == 16_000
