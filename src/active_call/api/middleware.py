"""Around every HTTP request: a limit for its body, and a line in the access log."""

import asyncio

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from active_call.api.access_log import AccessLog
from active_call.api.answers import problem

_MAX_BODY = 1 << 20
_MAX_FORWARDED_BODY = 32 << 20
_FORWARDED = "/llm/"
_TOO_LARGE = "the body is too large"


class BodyLimit:
    """Refuses bodies of more than 1 MiB with 413, 32 MiB for the language model proxy; never keeps them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        left = _MAX_FORWARDED_BODY if scope["path"].startswith(_FORWARDED) else _MAX_BODY

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, _TOO_LARGE)
            return message

        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > left:
            await problem(413, _TOO_LARGE)(scope, receive, send)
        else:
            await self._app(scope, limited, send)


class AccessLogger:
    """Writes a line for each request when it has been answered."""

    def __init__(self, app: ASGIApp, log: AccessLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        status, length = 500, "-"

        async def noticed(message: Message) -> None:
            nonlocal status, length
            if message["type"] == "http.response.start":
                status = message["status"]
                found = dict(message.get("headers", [])).get(b"content-length")
                length = found.decode("latin-1") if found else "-"
            await send(message)

        try:
            await self._app(scope, receive, noticed)
        finally:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            query = scope["query_string"].decode("latin-1")
            path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
            target = f"{path}?{query}" if query else path
            peer = (scope.get("client") or ("-",))[0]
            ms = (loop.time() - began) * 1000
            self._log.log(peer, headers, scope["method"], target, status, length=length, ms=ms)
