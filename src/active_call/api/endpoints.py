"""The WebSocket endpoints: /call, /call/sip and /call/webrtc."""

import asyncio
import logging
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

from websockets.http11 import Request

from active_call.api.access_log import AccessLog
from active_call.api.ports import ApiCall, CallsPort
from active_call.api.query import Query, QueryError, parse_query
from active_call.api.session import ApiSession
from active_call.api.socket import CallSocket, NotAdmitted
from active_call.call.refusals import Refused
from active_call.core.errors import LocalProtocolError
from active_call.wire.dialogue import CallType

log = logging.getLogger(__name__)

_PATHS: dict[str, CallType] = {"/call": "webSocket", "/call/sip": "sip", "/call/webrtc": "webrtc"}


class Endpoints:
    """Gives each client that connects its call. An async context manager that owns the sessions' tasks."""

    def __init__(self, calls: CallsPort, access: AccessLog) -> None:
        self._calls = calls
        self._access = access
        self._sockets: set[CallSocket] = set()
        self._dropped = 0
        self._stack = AsyncExitStack()
        self._tasks: asyncio.TaskGroup

    async def __aenter__(self) -> "Endpoints":
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in list(self._sockets):
            connection.abort()
        await self._stack.__aexit__(kind, error, trace)

    def protocol(self, *, config: Any, server_state: Any, app_state: Any) -> CallSocket:
        """What uvicorn calls for an upgrade request."""
        return CallSocket(self, server_state.connections)

    def status(self) -> dict[str, int]:
        """For /health: connected clients, and audio frames that clients were too slow for."""
        dropped = self._dropped + sum(each.dropped for each in self._sockets)
        return {"clients": len(self._sockets), "audioDropped": dropped}

    # --- the reception of CallSocket ------------------------------------------------------------------

    def admit(self, request: Request, client: str) -> tuple[ApiCall, Query]:
        try:
            admitted = self._admit(request.path)
        except NotAdmitted as refusal:
            self._access.log(client, request.headers, "GET", request.path, refusal.status)
            raise
        self._access.log(client, request.headers, "GET", request.path, 101)
        return admitted

    def _admit(self, target: str) -> tuple[ApiCall, Query]:
        path, _, raw = target.partition("?")
        call_type = _PATHS.get(path.rstrip("/"))
        if call_type is None:
            raise NotAdmitted(404, f"no WebSocket is served here; connect to one of {', '.join(_PATHS)}")
        try:
            query = parse_query(raw)
            call = self._calls.open(
                call_type, query.id, dump=query.dump, server_side_track=query.server_side_track
            )
        except QueryError as error:
            raise NotAdmitted(400, str(error)) from error
        except LocalProtocolError as error:
            raise NotAdmitted(409, str(error)) from error
        except Refused as error:
            raise NotAdmitted(error.status, str(error), error.headers) from error
        return call, query

    def begin(self, call: ApiCall, connection: CallSocket, query: Query) -> ApiSession:
        session = ApiSession(call, connection, query)
        self._sockets.add(connection)
        self._tasks.create_task(self._run(session, connection), name=f"client of {call.id}")
        return session

    def ended(self, connection: CallSocket) -> None:
        self._sockets.discard(connection)
        self._dropped += connection.dropped
        if connection.dropped:
            log.info("- %s: %d audio frames dropped, it read too slowly", connection.client, connection.dropped)

    async def _run(self, session: ApiSession, connection: CallSocket) -> None:
        """One session's defect ends that session and touches no other."""
        try:
            await session.run()
        except Exception:
            log.exception("[%s] the session with its client crashed", session.call.id)
            connection.close()
