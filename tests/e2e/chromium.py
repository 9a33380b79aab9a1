"""A headless Chromium, driven by its DevTools protocol."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket

_BANNER = "DevTools listening on "


def installed() -> bool:
    """Whether there is a Chromium."""
    return shutil.which("chromium") is not None


class Page:
    """One tab. `console` grows by a line for each `console.log` and for each uncaught error."""

    def __init__(self, socket: ClientConnection) -> None:
        self.console: list[str] = []
        self._socket = socket
        self._session: str | None = None
        self._next = 0

    async def open(self, url: str) -> None:
        """Make the tab and go to `url`."""
        target = await self._ask("Target.createTarget", url="about:blank")
        attached = await self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        await self._ask("Runtime.enable")
        await self._ask("Page.enable")
        await self._ask("Page.navigate", url=url)
        await self._until("Page.loadEventFired")

    async def run(self, script: str) -> Any:
        """Run a classic script; the value of its last expression, awaited if it is a promise.

        Raises RuntimeError with the page's error.
        """
        found = await self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:2000])
        return found["result"].get("value")

    async def _ask(self, method: str, **params: Any) -> Any:
        self._next += 1
        number = self._next
        request: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            request["sessionId"] = self._session
        await self._socket.send(json.dumps(request))
        while True:
            message = await self._receive()
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]

    async def _until(self, event: str) -> None:
        while (await self._receive()).get("method") != event:
            pass

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self._socket.recv())
        match message.get("method"):
            case "Runtime.consoleAPICalled":
                values = [argument.get("value", "") for argument in message["params"]["args"]]
                self.console.append(" ".join(map(str, values)))
            case "Runtime.exceptionThrown":
                self.console.append(json.dumps(message["params"]["exceptionDetails"]))
        return message


@asynccontextmanager
async def chromium(profile: Path, *arguments: str) -> AsyncIterator[Page]:
    """A fresh browser with one tab to be opened."""
    process = await asyncio.create_subprocess_exec(
        *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *("--remote-debugging-port=0", f"--user-data-dir={profile}", *arguments, "about:blank"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            while not (line := (await process.stderr.readline()).decode()).startswith(_BANNER):
                if not line:
                    raise RuntimeError("chromium ended before it could be driven")
        url = line.removeprefix(_BANNER).strip()
        async with open_websocket(url, compression=None, max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
