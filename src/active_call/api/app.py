"""The HTTP application: what operators and load balancers ask for."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from active_call import __version__


def create_app(status: Callable[[], dict[str, Any]]) -> FastAPI:
    """The application. `status` gives what /health answers; its `status` is "running" while calls are taken."""
    # The interactive pages load scripts from elsewhere; /openapi.json describes the API without them.
    app = FastAPI(title="active-call", version=__version__, docs_url=None, redoc_url=None)

    @app.get("/health")
    async def health() -> JSONResponse:
        """200 while calls are taken, else 503; `reasons` says why not."""
        report = status()
        return JSONResponse(report, status_code=200 if report["status"] == "running" else 503)

    return app
