"""What the REST interface answers with, and how it says what is wrong."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Route

from active_call.wire.problems import explain_all


class Problem(BaseModel):
    """Why a request failed."""

    status: str = "error"
    error: str
    """One sentence; names the field."""


class NotFound(BaseModel):
    """No live call has this id."""

    status: str = "not_found"
    id: str


Responses = dict[int | str, dict[str, Any]]

BAD_REQUEST: Responses = {400: {"model": Problem, "description": "Something in the request is wrong"}}
NO_CALL: Responses = {404: {"model": NotFound | Problem, "description": "No live call has this id"}}
UNAVAILABLE: Responses = {503: {"model": Problem, "description": "No calls are taken now"}}


def problem(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """A response that says what is wrong."""
    return JSONResponse(Problem(error=text).model_dump(), status_code=status, headers=headers)


def no_call(call_id: str) -> JSONResponse:
    """404 for an id that no live call has."""
    return JSONResponse(NotFound(id=call_id).model_dump(), status_code=404)


def explain_errors(app: FastAPI) -> None:
    """Let `app` answer every error with a Problem."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        details: Sequence[Any] = error.errors()
        if _is_unread_body(request, details):
            return problem(415, 'the body must be JSON, sent with "content-type: application/json"')
        return problem(400, explain_all(details))

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_methods(app, request.url.path)))
        return problem(error.status_code, str(error.detail), headers or None)

    @app.exception_handler(RecursionError)
    async def too_deep(request: Request, error: RecursionError) -> JSONResponse:
        return problem(400, "the JSON is nested too deeply")


def _is_unread_body(request: Request, details: Sequence[Any]) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    return not is_json and any(each["loc"] == ("body",) for each in details)


def _methods(app: FastAPI, path: str) -> set[str]:
    """What can be done with a path: one route may know the half of it only."""
    routes = [route for route in app.routes if isinstance(route, Route) and route.path_regex.match(path)]
    return {method for route in routes for method in route.methods or ()}


def openapi_of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """The description that FastAPI makes, with the errors of `explain_errors` in place of its own 422."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        schema = original()
        for operations in schema["paths"].values():
            for operation in operations.values():
                _describe_errors(operation)
        for unused in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(unused, None)
        return schema

    return openapi


def _describe_errors(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if responses.pop("422", None) is not None:
        responses.setdefault("400", _problem("Something in the request is wrong"))
    if "requestBody" in operation:
        responses["413"] = _problem("The body is too large")
        if "application/json" in operation["requestBody"]["content"]:
            responses["415"] = _problem("The body is not sent as JSON")


def _problem(description: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": description, "content": content}
