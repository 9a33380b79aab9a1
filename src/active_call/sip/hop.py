"""Where SIP messages come from and go to: an address and a transport."""

import ipaddress
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

Transport: TypeAlias = Literal["udp", "tcp", "tls"]

DEFAULT_PORTS: dict[Transport, int] = {"udp": 5060, "tcp": 5060, "tls": 5061}


class Hop(NamedTuple):
    """One end of a SIP transport: a socket's address, or where a request goes next."""

    host: str
    """An address without brackets; before it was looked up, a name."""
    port: int
    transport: Transport = "udp"
    domain: str = ""
    """What it was found for, if that was a name: what a TLS certificate has to be for (RFC 5922)."""

    @property
    def reliable(self) -> bool:
        """Whether messages to it arrive or fail, but don't get lost."""
        return self.transport != "udp"

    @property
    def peer(self) -> "Hop":
        """Just the socket, whatever it was found for."""
        return self._replace(domain="") if self.domain else self

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" + ("" if self.transport == "udp" else f" over {self.transport.upper()}")


class Target(NamedTuple):
    """Where a URI wants requests to go: what DNS turns into hops, best first (RFC 3263 §4)."""

    host: str
    """An address without brackets, or a name."""
    port: int | None = None
    transport: Transport | None = None
    """None: UDP, or what DNS names, or TCP for what is too large for UDP."""
    connection: Hop | None = None
    """The peer's own connection to us, if it has one: to be tried first."""
    guarded: bool = False
    """A peer has redirected us there: only addresses that it may lead us to will do."""
    fallback: Hop | None = None
    """Where to send to if the name leads nowhere."""

    @property
    def hop(self) -> Hop:
        """Where it leads to as far as one can say without DNS."""
        transport = self.transport or "udp"
        domain = "" if is_address(self.host) else self.host
        return Hop(self.host, self.port or DEFAULT_PORTS[transport], transport, domain)


def is_address(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address, without brackets."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_public(host: str) -> bool:
    """Whether it is an address that the whole Internet reaches."""
    return is_address(host) and ipaddress.ip_address(host).is_global


Judge = Callable[[str, str], str]
"""Why a peer may not redirect us to a host (as it was named) at an address; nothing: it may."""


def only_public(host: str, address: str) -> str:
    """The judge that tells public addresses from others."""
    return "" if is_public(address) else f"{host}: its address {address} is in a private network"


LocalAddress = Callable[[Hop], tuple[str, int]]
"""The (host, port) at which a peer reaches us, over its transport."""
