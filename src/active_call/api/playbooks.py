"""REST: the playbooks in the playbook folder, and calls that one of them is to lead."""

import asyncio
import os
import secrets
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Body, Request
from fastapi import Path as PathParameter
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel

from active_call.api.answers import BAD_REQUEST, Problem, problem
from active_call.api.ports import PendingPort

FOLDER = Path("config/playbook")
"""Below the working directory."""

_INLINE = "---"

Name = Annotated[str, PathParameter(description="File name, ending in .md")]


class ListedPlaybook(BaseModel):
    """A playbook file."""

    name: str
    updated: str
    """RFC 3339."""


class RunRequest(BaseModel):
    """Which playbook: a file by name, or its text. With both, the file."""

    playbook: str | None = None
    content: str | None = None


class RunAnswer(BaseModel):
    """Connect a WebSocket with this `id` within five minutes."""

    session_id: str


def playbooks_router(pending: PendingPort, folder: Path = FOLDER) -> APIRouter:
    """List, read, write, run. Names never lead out of `folder`."""
    router = APIRouter(prefix="/api")

    @router.get("/playbooks", response_model=list[ListedPlaybook])
    def listed() -> list[ListedPlaybook]:
        """All playbooks, by name."""
        return _listed(folder)

    @router.get(
        "/playbooks/{name:path}",
        response_class=Response,
        responses=BAD_REQUEST
        | {
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Its text"},
            404: {"model": Problem, "description": "There is no such playbook"},
        },
    )
    def read(name: Name) -> Response:
        """The text of a playbook."""
        if wrong := _wrong_name(name):
            return problem(400, wrong)
        try:
            data = (folder / name).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            return problem(404, "Playbook not found")
        return PlainTextResponse(data.decode("utf-8", "replace"))

    @router.post(
        "/playbooks/{name:path}",
        response_class=Response,
        responses=BAD_REQUEST | {500: {"model": Problem, "description": "It can't be written"}},
        openapi_extra={"requestBody": {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def write(name: Name, request: Request) -> Response:
        """Write a playbook: the body is its text. Calls that run already keep theirs."""
        data = await request.body()
        if wrong := _wrong_name(name) or _wrong_text(data):
            return problem(400, wrong)
        try:
            await asyncio.to_thread(_write, folder, name, data)
        except OSError as error:
            return problem(500, f"the playbook can't be written: {os.strerror(error.errno or 0)}")
        return Response()

    @router.post("/playbook/run", response_model=RunAnswer, responses=BAD_REQUEST)
    async def run(asked: Annotated[RunRequest, Body()]) -> Response | RunAnswer:
        """Let a playbook lead the next call that connects with the session id returned."""
        if asked.playbook:
            if wrong := _wrong_name(asked.playbook.removeprefix(f"{FOLDER}/")):
                return problem(400, f"playbook: {wrong}")
            return RunAnswer(session_id=pending.add(asked.playbook))
        if asked.content is None:
            return problem(400, "playbook: is missing; name a playbook, or give its text as content")
        if not asked.content.lstrip().startswith(_INLINE):
            return problem(400, f'content: a playbook begins with a line "{_INLINE}"')
        return RunAnswer(session_id=pending.add(asked.content))

    return router


def _wrong_name(name: str) -> str:
    """What is wrong with a file name; "" if nothing."""
    if ".." in name or any(each in "/\\" or not each.isprintable() for each in name) or name.startswith("."):
        return "Invalid filename"
    if not name.endswith(".md"):
        return 'Invalid filename; it must end in ".md"'
    return "Invalid filename; it is too long" if len(name.encode()) > 200 else ""


def _wrong_text(data: bytes) -> str:
    try:
        data.decode()
    except UnicodeDecodeError:
        return "a playbook is UTF-8 text"
    return ""


def _listed(folder: Path) -> list[ListedPlaybook]:
    found = []
    try:
        entries = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    for name in entries:
        if _wrong_name(name):
            continue
        try:
            status = (folder / name).stat()
        except OSError:
            continue  # gone meanwhile
        if stat.S_ISREG(status.st_mode):
            updated = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
            found.append(ListedPlaybook(name=name, updated=updated.replace("+00:00", "Z")))
    return found


def _write(folder: Path, name: str, data: bytes) -> None:
    """Complete or not at all, also for a call that reads it now."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / name)
    finally:
        temporary.unlink(missing_ok=True)
