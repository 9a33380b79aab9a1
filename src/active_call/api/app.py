"""The HTTP application: REST routes, put together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.middleware.gzip import GZipMiddleware

from active_call import __version__
from active_call.api.access_log import AccessLog
from active_call.api.answers import explain_errors, openapi_of
from active_call.api.calls import calls_router
from active_call.api.llm_proxy import llm_proxy
from active_call.api.middleware import AccessLogger, BodyLimit
from active_call.api.playbooks import playbooks_router
from active_call.api.ports import GatewayPort
from active_call.api.records import records_router
from active_call.api.stream import stream_router
from active_call.config import Config


class Health(BaseModel):
    """What the gateway says of itself."""

    model_config = ConfigDict(extra="allow")

    status: str
    """`running` while calls are taken."""
    reasons: list[str] = []
    """Why no calls are taken."""


class IceServer(BaseModel):
    """What a browser's RTCPeerConnection takes."""

    urls: list[str]
    username: str | None
    credential: str | None


def create_app(
    gateway: GatewayPort,
    config: Config | None = None,
    clients: Callable[[], dict[str, int]] = lambda: {"clients": 0},
) -> FastAPI:
    """The application. `clients` gives what /health says of connected WebSockets."""
    config = config or Config()
    # The interactive pages load scripts from elsewhere; /openapi.json describes the API without them.
    app = FastAPI(
        title="active-call",
        version=__version__,
        description="REST interface of the voice-agent gateway; calls are led over WebSockets.",
        docs_url=None,
        redoc_url=None,
    )
    explain_errors(app)
    app.openapi = openapi_of(app)  # type: ignore[method-assign]

    @app.head("/health", include_in_schema=False)
    @app.get(
        "/health",
        response_model=Health,
        responses={503: {"model": Health, "description": "No calls are taken"}},
    )
    async def health() -> JSONResponse:
        """200 while calls are taken, else 503; `reasons` says why not."""
        report: dict[str, Any] = {**gateway.status(), "api": clients()}
        return JSONResponse(report, status_code=200 if report["status"] == "running" else 503)

    @app.get("/iceservers", response_model=list[IceServer])
    async def ice_servers() -> list[dict[str, Any]]:
        """STUN and TURN servers for browser calls."""
        return config.browser_ice_servers

    app.include_router(calls_router(gateway))
    app.include_router(stream_router(gateway.calls))
    app.include_router(playbooks_router(gateway.calls.pending_playbooks))
    app.include_router(llm_proxy(config.llmproxy, gateway.outbound))
    app.include_router(records_router(gateway.calls, config.records_root, Path(config.recording.path)))
    # The last one added is the outermost.
    app.add_middleware(BodyLimit)
    app.add_middleware(AccessLogger, log=AccessLog(config.logs_access))
    if config.http_gzip:
        app.add_middleware(GZipMiddleware, minimum_size=500)
    return app
