"""A server that speaks OpenAI's HTTP API, on a real socket: for tests and demos without a key.

    with OpenAiCloud() as cloud:
        os.environ["OPENAI_BASE_URL"] = cloud.url

It hears "Yes" in everything, says everything as a tone, and answers every question with `reply`.
"""

import json
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any

import numpy as np

_RATE = 24_000
_SECONDS_PER_CHARACTER = 0.04
_CHUNK = 4_801
"""Bytes: odd, so that samples are cut in two."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request that came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body, if it is JSON. Raises ValueError."""
        return dict(json.loads(self.body))


class OpenAiCloud:
    """A context manager; `requests` keeps what came. `heard` and `reply` are its answers."""

    def __init__(self, *, heard: str = "Yes", reply: str = "All right.") -> None:
        self.heard = heard
        self.reply = reply
        self.requests: list[Request] = []
        self._server = _Server(self)

    @property
    def url(self) -> str:
        """The base URL, for OPENAI_BASE_URL."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def paths(self) -> list[str]:
        """Which endpoints were asked, in order."""
        return [request.path.removeprefix("/v1") for request in self.requests]

    def __enter__(self) -> "OpenAiCloud":
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cloud: OpenAiCloud) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cloud = cloud


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        cloud = self.server.cloud
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        cloud.requests.append(request)
        match self.path.removeprefix("/v1"):
            case "/audio/transcriptions":
                self._answer(200, {"text": cloud.heard})
            case "/audio/speech":
                self._stream("application/octet-stream", _spoken(str(request.json["input"])))
            case "/chat/completions":
                self._stream("text/event-stream", _completion(cloud.reply))
            case _:
                self._answer(404, {"error": {"message": f"no {self.path} here"}})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, kind: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for at in range(0, len(data), _CHUNK):
            chunk = data[at : at + _CHUNK]
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def _spoken(text: str) -> bytes:
    """24 kHz PCM: a tone for 40 ms per character."""
    times = np.arange(round(len(text) * _SECONDS_PER_CHARACTER * _RATE)) / _RATE
    samples: bytes = np.rint(8_000 * np.sin(2 * np.pi * 440 * times)).astype("<i2").tobytes()
    return samples


def _completion(reply: str) -> bytes:
    """Server-sent chunks, a word each."""
    choices: list[dict[str, Any]] = [{"delta": {"content": f"{word} "}} for word in reply.split()]
    choices.append({"delta": {}, "finish_reason": "stop"})
    base = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "mock"}
    events = [json.dumps({**base, "choices": [{"index": 0, **choice}]}) for choice in choices]
    return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()
