"""`POST /llm/v1/...`: passes requests on to a server with OpenAI's interface, and streams its answers back.

A client without a key of its own uses the operator's, so it has to be on this machine. Anybody may come with an
`Authorization` header, which is passed on as it is.
"""

import logging
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import ClientDisconnect

from active_call.outbound import FetchError, GuardError, Origin, Outbound

log = logging.getLogger(__name__)

_OPENAI = "https://api.openai.com/v1"
_SILENCE = 300.0
"""Seconds: a model may think before it says the first word."""
_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Headers of one connection, not of the message (RFC 9110 §7.6.1)."""
_OURS = frozenset(("host", "cookie", "origin", "referer", "expect"))
"""Request headers meant for us."""
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


def llm_proxy(
    target: str | None, outbound: Outbound, *, environment: Mapping[str, str] = os.environ
) -> APIRouter:
    """The route. `target` is the base URL; None: OPENAI_BASE_URL, else OpenAI's. The key is OPENAI_API_KEY."""
    router = APIRouter()
    base = (target or environment.get("OPENAI_BASE_URL") or _OPENAI).rstrip("/")

    @router.post("/llm/v1/{path:path}", include_in_schema=False)
    async def forward(path: str, request: Request) -> Response:
        """400, 401 and 403 are ours, as is 502 if the server can't be reached; all else is the server's."""
        headers = dict(_end_to_end(request.headers.items(), _OURS))
        if "authorization" not in headers:
            if not is_local(request):
                return _error(401, "send your own Authorization header; only clients on this machine need none")
            if from_elsewhere(request.headers.get("origin")):
                return _error(403, "pages of other machines need an Authorization header of their own")
            key = environment.get("OPENAI_API_KEY")
            if key:
                headers["authorization"] = f"Bearer {key}"
        if any(part in (".", "..") for part in path.split("/")):
            return _error(400, "the path may not hold . or ..")
        headers.setdefault("accept-encoding", "identity")
        query = request.url.query
        url = f"{base}/{quote(path, safe='/:@!$&()*+,;=~')}" + (f"?{query}" if query else "")
        try:
            answer = await outbound.send(
                "POST", url, Origin.OPERATOR, headers=headers, content=request.stream(), timeout=_SILENCE
            )
        except (FetchError, GuardError) as error:
            return _error(502, str(error))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        return _Relay(answer)

    return router


class _Relay(StreamingResponse):
    """The server's answer, byte for byte as it comes; closed when the client has it or is gone."""

    def __init__(self, answer: httpx.Response) -> None:
        headers = dict(_end_to_end(answer.headers.items()))
        headers["X-Accel-Buffering"] = "no"  # nginx would hold the stream back
        super().__init__(self._pieces(), answer.status_code, headers)
        self._answer = answer

    async def _pieces(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._answer.aiter_raw():
                yield piece
        except httpx.HTTPError as error:
            log.warning("- the language model's server broke off: %s", error or type(error).__name__)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.aclose()


def is_local(request: Request) -> bool:
    """Whether the client is on this machine, and not a proxy here that speaks for somebody else."""
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    return _is_loopback(request.client.host)


def from_elsewhere(origin: str | None) -> bool:
    """Whether a browser says that a page of another host sends this."""
    if origin is None:
        return False
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return True
    return not (host == "localhost" or _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        ip = ip_address(host)
    except ValueError:
        return False
    return ip.is_loopback or bool(ip.version == 6 and ip.ipv4_mapped and ip.ipv4_mapped.is_loopback)


def _end_to_end(
    headers: Iterable[tuple[str, str]], without: frozenset[str] = frozenset()
) -> Iterable[tuple[str, str]]:
    """Headers to pass on, by lower-case name."""
    given = [(name.lower(), value) for name, value in headers]
    named = {word.strip().lower() for name, value in given if name == "connection" for word in value.split(",")}
    return ((name, value) for name, value in given if name not in _HOP_BY_HOP | named | without)


def _error(status: int, text: str) -> JSONResponse:
    """As OpenAI's clients read errors."""
    return JSONResponse({"error": {"message": text, "type": "llm_proxy", "code": None}}, status)
