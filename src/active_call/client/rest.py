"""The REST interface of a gateway.

async with Rest("http://localhost:8080") as gateway:
    session_id = await gateway.dial(CallOption(callee="sip:bob@example.com", playbook="greeting.md"))
    async for message in gateway.follow(session_id):
        print(message)
"""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from active_call.client.encoding import given, to_json
from active_call.client.errors import ClientError, ConnectionLost, Refused, reason_of
from active_call.wire.commands import Command, Tts, parse_command
from active_call.wire.events import Event, parse_event
from active_call.wire.options import CallOption


class Rest:
    """A gateway at `url` (http://host:port). An async context manager; every method raises ClientError.

    What the gateway refuses is its subclass Refused, with the HTTP status and the gateway's own words.
    """

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout)

    async def __aenter__(self) -> "Rest":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    # --- calls ----------------------------------------------------------------------------------------

    async def dial(self, option: CallOption) -> str:
        """Make an outbound call that `option.playbook`, or commands, lead; the session id."""
        return str((await self._json("POST", "/call", given(option)))["session_id"])

    async def calls(self) -> list[dict[str, Any]]:
        """The live calls (GET /call/lists)."""
        return list((await self._json("GET", "/call/lists"))["calls"])

    async def kill(self, session_id: str) -> None:
        """End a call."""
        await self._json("POST", f"/call/kill/{_part(session_id)}")

    async def command(self, session_id: str, command: Command) -> None:
        """Send a command to a live call; what is wrong with it comes as an `error` event."""
        await self._request("POST", f"/command/{_part(session_id)}", to_json(command))

    async def follow(self, session_id: str) -> AsyncIterator[Event | Command]:
        """The events and commands of a live call from now on, until it ends."""
        try:
            async with self._http.stream("GET", f"/events/{_part(session_id)}", timeout=None) as response:
                if response.status_code != 200:
                    raise Refused(response.status_code, reason_of(await response.aread()))
                async for name, data in _server_sent(response.aiter_lines()):
                    yield parse_command(data) if name == "command" else parse_event(data)
        except httpx.HTTPError as error:
            raise ConnectionLost(f"the event stream broke off: {error or type(error).__name__}") from error

    # --- playbooks and records ------------------------------------------------------------------------

    async def playbooks(self) -> list[dict[str, Any]]:
        """Names and times of the playbooks."""
        return list(await self._json("GET", "/api/playbooks"))

    async def playbook(self, name: str) -> str:
        """The text of one."""
        return (await self._request("GET", f"/api/playbooks/{_part(name)}")).text

    async def save_playbook(self, name: str, text: str) -> None:
        """Write one."""
        await self._request("POST", f"/api/playbooks/{_part(name)}", text)

    async def run(self, *, playbook: str | None = None, content: str | None = None) -> str:
        """The session id that a client connects with to have the call led by a playbook, by name or as text."""
        asked = {"playbook": playbook} if playbook is not None else {"content": content}
        return str((await self._json("POST", "/api/playbook/run", asked))["session_id"])

    async def records(self) -> list[dict[str, Any]]:
        """What is known of past calls, latest first."""
        return list(await self._json("GET", "/api/records"))

    # --- the gateway ----------------------------------------------------------------------------------

    async def health(self) -> dict[str, Any]:
        """Its state; `status` is "running" while it takes calls."""
        response = await self._send("GET", "/health", None)
        return dict(_decoded(response))

    async def ice_servers(self) -> list[dict[str, Any]]:
        """For browsers."""
        return list(await self._json("GET", "/iceservers"))

    async def precache(self, command: Tts) -> dict[str, Any]:
        """Synthesise into the media cache: `status` ("cached" or "exists"), `cacheKey`, `bytes`."""
        return dict(_decoded(await self._request("POST", "/precache", to_json(command))))

    # --- requests -------------------------------------------------------------------------------------

    async def _json(self, method: str, path: str, body: Any = None) -> Any:
        return _decoded(await self._request(method, path, body))

    async def _request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        response = await self._send(method, path, body)
        if not response.is_success:
            raise Refused(response.status_code, reason_of(response.content))
        return response

    async def _send(self, method: str, path: str, body: Any) -> httpx.Response:
        """`body`: text is sent as it is, anything else as JSON."""
        content = {"content": body} if isinstance(body, str) else {"json": body} if body is not None else {}
        headers = {"content-type": "application/json"} if isinstance(body, str) and body.startswith("{") else {}
        try:
            return await self._http.request(method, path, headers=headers, **content)
        except httpx.HTTPError as error:
            raise ClientError(f"{method} {path} failed: {error or type(error).__name__}") from error


def _decoded(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        raise ClientError(f"{response.request.url.path} did not answer with JSON") from None


def _part(text: str) -> str:
    return quote(text, safe="@:~")


async def _server_sent(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, str]]:
    """(event name, data) of a stream of server-sent events; comments are passed over."""
    name, data = "", list[str]()
    async for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line and data:
            yield name, "\n".join(data)
        if not line:
            name, data = "", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
