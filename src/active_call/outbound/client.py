"""HTTP requests and WebSockets to URLs that somebody named, under guard."""

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from active_call import __version__
from active_call.core.urls import mask_urls
from active_call.outbound.errors import FetchError, GuardError
from active_call.outbound.guard import HTTP, WEBSOCKET, Guard, Origin, OutboundPolicy
from active_call.outbound.resolver import Resolve, Resolver, resolve

if TYPE_CHECKING:  # these take a while to load: `__aenter__` does it, when the media plane is starting up too
    import httpx
    from websockets.asyncio.client import ClientConnection

_USER_AGENT = f"active-call/{__version__}"


class Outbound:
    """An async context manager. Each origin has connections of its own: none is reused across their rules."""

    def __init__(self, policy: OutboundPolicy | None = None, *, resolve: Resolve = resolve) -> None:
        self.policy = policy or OutboundPolicy()
        self.guard = Guard(self.policy)
        self._resolver = Resolver(self.guard, resolve)
        self._clients: dict[Origin, httpx.AsyncClient] = {}
        self._trusted: ssl.SSLContext | None = None

    async def __aenter__(self) -> "Outbound":
        self._client(Origin.OPERATOR)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all HTTP connections. WebSockets belong to those who opened them."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()

    # --- HTTP -----------------------------------------------------------------------------------------

    async def fetch(self, url: str, origin: Origin, *, limit_bytes: int | None = None) -> AsyncIterator[bytes]:
        """The body of a GET, piece by piece as it comes.

        Raises GuardError if the URL or where it leads may not be used, FetchError if there is no body (its
        `status` says so if the server did) or it is longer than `limit_bytes` (None: the policy's).
        """
        import httpx

        limit = self.policy.max_bytes if limit_bytes is None else limit_bytes
        response = await self.send("GET", url, origin, headers={"accept-encoding": "identity"})
        try:
            if not response.is_success:
                raise FetchError(f"{mask_urls(url)} answered {response.status_code}", response.status_code)
            received = 0
            async for piece in response.aiter_bytes():
                received += len(piece)
                if received > limit:
                    raise FetchError(f"{mask_urls(url)}: longer than {limit} bytes")
                yield piece
        except httpx.HTTPError as error:
            raise FetchError(f"{mask_urls(url)} broke off: {_reason(error)}") from None
        finally:
            await response.aclose()

    async def post_json(
        self,
        url: str,
        body: Any,
        origin: Origin,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
        timeout: float | None = None,
        connect_timeout: float | None = None,
    ) -> int:
        """Send `body` as JSON; the status of the response, whose body is not read. Raises as `send` does.

        `timeout` seconds bound all of it, `connect_timeout` the connection alone.
        """
        limit = self.policy.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(limit):
                response = await self.send(
                    method, url, origin, headers=headers, json=body, connect_timeout=connect_timeout
                )
        except TimeoutError:
            raise FetchError(f"{mask_urls(url)}: no answer within {limit:g} s") from None
        await response.aclose()
        return response.status_code

    async def send(
        self,
        method: str,
        url: str,
        origin: Origin,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        timeout: float | None = None,
        connect_timeout: float | None = None,
    ) -> "httpx.Response":
        """Any request; the response, whose body is unread and which the caller closes.

        GET follows redirects. `timeout` is the longest silence of the other side, `connect_timeout` bounds the
        connection. Raises GuardError, and FetchError if there is no response.
        """
        import httpx

        self.guard.check(url, origin, HTTP)
        silence = self.policy.timeout if timeout is None else timeout
        connect_timeout = min(silence, self.policy.timeout) if connect_timeout is None else connect_timeout
        client = self._client(origin)
        try:
            request = client.build_request(
                method,
                url,
                headers=headers,
                json=json,
                content=content,
                timeout=httpx.Timeout(silence, connect=connect_timeout),
            )
            return await client.send(request, stream=True, follow_redirects=method == "GET")
        except httpx.HTTPError as error:
            raise FetchError(f"{mask_urls(url)}: {_reason(error)}") from None
        except httpx.InvalidURL as error:
            raise GuardError(f"{mask_urls(url)}: not a URL: {error}") from None

    def _client(self, origin: Origin) -> "httpx.AsyncClient":
        client = self._clients.get(origin)
        if client is None:
            from active_call.outbound.transport import open_client

            client = self._clients[origin] = open_client(self._resolver, origin, self._tls(), _USER_AGENT)
        return client

    def _tls(self) -> ssl.SSLContext:
        if self._trusted is None:
            import httpx

            self._trusted = httpx.create_ssl_context()
        return self._trusted

    # --- WebSockets -----------------------------------------------------------------------------------

    async def connect_websocket(
        self,
        url: str,
        origin: Origin,
        *,
        headers: Mapping[str, str] | None = None,
        open_timeout: float = 5.0,
        max_bytes: int = 1 << 20,
    ) -> "ClientConnection":
        """An open WebSocket without compression; its messages are at most `max_bytes` long. No redirects.

        Raises GuardError if the URL or where it leads may not be used, FetchError if there is no connection.
        """
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.uri import parse_uri

        self.guard.check(url, origin, WEBSOCKET)
        try:
            target = parse_uri(url)
            async with asyncio.timeout(open_timeout):
                failure = OSError("it has no address")
                for address in await self._resolver.addresses(target.host, target.port, origin):
                    try:
                        return await connect(
                            url,
                            host=address,
                            ssl=self._tls() if target.secure else None,
                            proxy=None,
                            compression=None,
                            additional_headers=headers,
                            user_agent_header=_USER_AGENT,
                            open_timeout=None,
                            close_timeout=1.0,
                            max_size=max_bytes,
                        )
                    except OSError as error:
                        failure = error
                raise failure
        except TimeoutError:
            raise FetchError(f"{mask_urls(url)}: no connection within {open_timeout:g} s") from None
        except InvalidStatus as error:
            status = error.response.status_code
            raise FetchError(f"{mask_urls(url)} answered {status} instead of a WebSocket", status) from None
        except (OSError, ValueError, WebSocketException) as error:
            raise FetchError(f"{mask_urls(url)}: {mask_urls(str(error))}") from None


def _reason(error: "httpx.HTTPError") -> str:
    """What happened, in words; httpx's timeouts have none of their own."""
    import httpx

    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return "no connection in time"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return mask_urls(str(error)) or type(error).__name__
