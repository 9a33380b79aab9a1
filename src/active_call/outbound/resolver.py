"""Names to addresses, each of them checked: what is connected to is what was checked."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from active_call.outbound.errors import FetchError, GuardError
from active_call.outbound.guard import Guard, Origin, parse_ip

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Finds the IP addresses of a host for a port. Raises OSError."""


async def resolve(host: str, port: int) -> list[str]:
    """The system's answer, in its order."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Resolver:
    """Finds addresses that may be connected to."""

    def __init__(self, guard: Guard, resolve: Resolve = resolve) -> None:
        self._guard = guard
        self._resolve = resolve

    async def addresses(self, host: str, port: int, origin: Origin) -> list[str]:
        """The host's addresses that are allowed, at least one. Raises GuardError if none is; FetchError."""
        self._guard.check_address(host, host, origin)
        if parse_ip(host) is not None:
            return [host]
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise FetchError(f"{host}: can't be found: {error}") from None
        allowed: list[str] = []
        refusal = GuardError(f"{host}: has no address")
        for address in found:
            try:
                self._guard.check_address(host, address, origin)
            except GuardError as error:
                refusal = error
            else:
                allowed.append(address)
        if not allowed:
            raise refusal
        return allowed
