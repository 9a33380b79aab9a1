"""The OpenAI client against a real HTTP server on the loopback interface."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from active_call.core.errors import ProviderError
from active_call.speech.llm.openai import OpenAiLlm
from active_call.speech.openai_client import openai_client
from active_call.speech.providers import ChatMessage, LlmOption

KEY = "sk-very-secret-0123456789"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MESSAGES = [ChatMessage("system", "Be kind."), ChatMessage("user", "Hi")]

Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers each request as told; keeps what was asked and notices when the client leaves."""

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.client_left = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                int(line.split(":")[1])
                for line in head.splitlines()
                if line.lower().startswith("content-length")
            )
            self.requests.append((head, json.loads(await reader.readexactly(length))))
            responding = asyncio.gather(self.respond(writer), return_exceptions=True)
            if not await reader.read():
                self.client_left.set()
            responding.cancel()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.client_left.set()
        finally:
            writer.close()


@asynccontextmanager
async def serving(respond: Respond, **option: Any) -> AsyncIterator[tuple[Server, OpenAiLlm, LlmOption]]:
    server = Server(respond)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    llm = OpenAiLlm()
    base_url = f"http://127.0.0.1:{server.port}/v1/chat/completions"
    try:
        yield server, llm, LlmOption(base_url=base_url, api_key=SecretStr(KEY), model="tiny", **option)
    finally:
        await openai_client(base_url.removesuffix("/chat/completions"), SecretStr(KEY)).close()
        listener.close()
        await asyncio.sleep(0.01)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "tiny", "choices": [choice]}
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def answer(*texts: str) -> bytes:
    return b"".join(event({"content": text}) for text in texts) + event({}, "stop") + b"data: [DONE]\n\n"


def status(code: int, message: str) -> Respond:
    async def respond(writer: asyncio.StreamWriter) -> None:
        body = json.dumps({"error": {"message": message, "type": "x", "code": "y"}}).encode()
        head = f"HTTP/1.1 {code} No\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return respond


def run(work: Awaitable[Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(20):
            return await work

    return asyncio.run(bounded())


async def failure(respond: Respond, **option: Any) -> tuple[list[str], ProviderError]:
    """What was received before the failure, and the failure."""
    async with serving(respond, **option) as (_, llm, opened):
        received: list[str] = []
        try:
            async for text in llm.stream(MESSAGES, opened):
                received += [text]
        except ProviderError as error:
            return received, error
    raise AssertionError("the stream did not fail")


def test_a_reply_is_streamed_whatever_way_its_bytes_are_cut() -> None:
    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        data = event({"reasoning_content": "hm"}) + answer("你好", ", ", "dear 🙂", "!")
        for byte in data:
            writer.write(chunk(bytes([byte])))
            await writer.drain()
        writer.write(chunk(b""))

    async def scenario() -> None:
        async with serving(respond, temperature=0.5, max_tokens=50) as (server, llm, option):
            assert [text async for text in llm.stream(MESSAGES, option)] == ["你好", ", ", "dear 🙂", "!"]
            head, body = server.requests[0]
        assert head.startswith("POST /v1/chat/completions HTTP/1.1")
        assert f"Bearer {KEY}" in head
        assert body == {
            "model": "tiny",
            "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
            "temperature": 0.5,
            "max_tokens": 50,
            "stream": True,
        }

    run(scenario())


def test_closing_the_stream_aborts_the_request() -> None:
    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        while True:
            writer.write(chunk(event({"content": "word "})))
            await writer.drain()
            await asyncio.sleep(0.01)

    async def scenario() -> None:
        async with serving(respond) as (server, llm, option):
            stream = llm.stream(MESSAGES, option)
            async with aclosing(stream):  # type: ignore[type-var]
                async for _ in stream:
                    break
            async with asyncio.timeout(2):
                await server.client_left.wait()

    run(scenario())


@pytest.mark.parametrize(
    ("code", "retryable"), [(400, False), (401, False), (404, False), (429, True), (500, True), (503, True)]
)
def test_status_codes_say_whether_to_try_again(code: int, retryable: bool) -> None:
    received, error = run(failure(status(code, f"wrong {KEY} here")))
    assert received == []
    assert str(error) == f"HTTP {code}: wrong *** here"
    assert error.retryable is retryable
    assert error.__cause__ is None


def test_a_server_that_stalls_is_given_up() -> None:
    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(event({"content": "One"})))
        await writer.drain()
        await asyncio.sleep(30)

    received, error = run(failure(respond, timeout=0.3))
    assert received == ["One"]
    assert (str(error), error.retryable) == ("no answer within 0.3 s", True)


def test_a_server_that_never_answers_is_given_up() -> None:
    async def respond(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    _, error = run(failure(respond, timeout=0.3))
    assert (str(error), error.retryable) == ("no answer within 0.3 s", True)


def test_a_connection_that_breaks_is_told() -> None:
    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(event({"content": "One"})) + b"ff\r\ndata:")
        await writer.drain()
        writer.transport.abort()

    received, error = run(failure(respond))
    assert received == ["One"]
    assert str(error).startswith("the connection failed")
    assert error.retryable


@pytest.mark.parametrize("data", [b"data: {broken\n\n", b'data: {"error": {"message": "overloaded"}}\n\n', b""])
def test_nonsense_in_the_stream_is_told(data: bytes) -> None:
    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + (chunk(data) if data else b"") + chunk(b""))

    received, error = run(failure(respond))
    assert received == []
    assert error.retryable


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_without_a_word_is_told(reason: str) -> None:
    """A model that thinks may use up all its tokens before it says anything."""

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(event({"reasoning_content": "hm"}) + event({}, reason)) + chunk(b""))

    received, error = run(failure(respond))
    assert (received, str(error)) == ([], f"the answer is empty: {reason}")


def test_a_refused_connection_is_told() -> None:
    async def scenario() -> ProviderError:
        async with serving(status(200, "")) as (_, llm, option):
            closed = option.model_copy(update={"base_url": "http://127.0.0.1:9/v1"})
            with pytest.raises(ProviderError, match="the connection failed") as caught:
                await anext(llm.stream(MESSAGES, closed))
            return caught.value

    assert run(scenario()).retryable


def test_a_missing_key_is_told_unless_the_server_is_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    async def scenario() -> None:
        with pytest.raises(ProviderError, match="OPENAI_API_KEY"):
            await anext(OpenAiLlm().stream(MESSAGES, LlmOption()))

        async def respond(writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD + chunk(answer("Yes")) + chunk(b""))

        async with serving(respond) as (_, llm, option):
            assert [
                text async for text in llm.stream(MESSAGES, option.model_copy(update={"api_key": None}))
            ] == ["Yes"]

    run(scenario())
