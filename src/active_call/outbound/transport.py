"""HTTP connections to checked addresses: httpx on a network of our own."""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from active_call.outbound.guard import Origin
from active_call.outbound.resolver import Resolver

_REDIRECTS = 5
_CONNECTIONS = 1_000
_IDLE_CONNECTIONS = 100
_IDLE_SECONDS = 30.0


def open_client(
    resolver: Resolver, origin: Origin, trusted: ssl.SSLContext, user_agent: str
) -> httpx.AsyncClient:
    """A client whose every connection, a redirect's too, passes `resolver`. Knows no proxies or cookies."""
    return httpx.AsyncClient(
        transport=_Transport(GuardedBackend(resolver, origin), trusted),
        headers={"user-agent": user_agent},
        max_redirects=_REDIRECTS,
        trust_env=False,
    )


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """The network of a connection pool: connects to the checked addresses of a host, in turn."""

    def __init__(self, resolver: Resolver, origin: Origin) -> None:
        self._resolver = resolver
        self._origin = origin
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises GuardError, FetchError, httpcore.ConnectError and httpcore.ConnectTimeout."""
        try:
            async with asyncio.timeout(timeout):
                failure = httpcore.ConnectError(f"{host}: no address")
                for address in await self._resolver.addresses(host, port, self._origin):
                    try:
                        return await self._backend.connect_tcp(
                            address, port, None, local_address, socket_options
                        )
                    except httpcore.ConnectError as error:
                        failure = error
                raise failure
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"{host}: no connection within {timeout:g} s") from None

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Never: a URL names a host."""
        raise httpcore.ConnectError("URLs don't lead to Unix sockets")

    async def sleep(self, seconds: float) -> None:
        """The pool's pause between attempts."""
        await asyncio.sleep(seconds)


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's own, which has no parameter for the network."""

    def __init__(self, network: GuardedBackend, trusted: ssl.SSLContext) -> None:
        super().__init__(verify=trusted, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted,
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=network,
        )
