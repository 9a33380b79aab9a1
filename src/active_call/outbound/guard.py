"""Which URLs may be used, by who named them.

An operator's URLs are free. A client's may lead to this machine and to private networks unless the policy says
otherwise. One that came from a caller, a language model, a SIP header or a tool is never followed there.
Link-local addresses and others where clouds keep their credentials are for operators only.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from active_call.core.urls import mask_urls
from active_call.outbound.errors import GuardError

HTTP = ("http", "https")
WEBSOCKET = ("ws", "wss")

_LONGEST = 8_192
_HOST = re.compile(r"[^\s:*@/?#]+")
_NAT64 = IPv6Network("64:ff9b::/96")
_EMBEDS_IPV4 = IPv6Network("::/96")
_METADATA = frozenset(
    map(
        ip_address,
        (
            "fd00:ec2::254",  # Amazon
            "fd20:ce::254",  # Google
            "168.63.129.16",  # Azure
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle
        ),
    )
)
"""Services that give credentials to the machines of a cloud, where they aren't link-local."""


class Origin(StrEnum):
    """Who named a URL."""

    OPERATOR = "operator"
    CLIENT = "client"
    CALL = "call"
    """The caller, a language model, a SIP header, a tool's result."""


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """What the configuration says about URLs that an operator did not name.

    Hosts are names (`media.example`), all names below one (`*.example`), addresses, networks (`10.0.0.0/8`) or
    `*`. `allow_hosts` wins over `deny_hosts`, and both over `allow_private`.
    """

    allow_private: bool = True
    allow_hosts: tuple[str, ...] = ()
    deny_hosts: tuple[str, ...] = ()
    max_bytes: int = 100_000_000
    """Of one fetched file."""
    timeout: float = 10.0
    """Seconds to the first byte, and between two."""


class Guard:
    """Applies a policy: to URLs before they are used, to addresses when they are connected to."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self._policy = policy

    def check(self, url: str, origin: Origin, schemes: Collection[str] = HTTP + WEBSOCKET) -> None:
        """What can be said of `url` without resolving its host. Raises GuardError."""
        try:
            if len(url) > _LONGEST:
                raise ValueError(f"longer than {_LONGEST} characters")
            if any(character <= " " or character == "\x7f" for character in url):
                raise ValueError("it holds spaces or control characters")
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise GuardError(f"{mask_urls(url[:200])}: not a URL: {error}") from None
        if parts.scheme.lower() not in schemes:
            raise GuardError(f"{mask_urls(url)}: not a URL of {' or '.join(f'{s}://' for s in schemes)}")
        if not host:
            raise GuardError(f"{mask_urls(url)}: names no host")
        self.check_address(host, host, origin)

    def check_address(self, host: str, address: str, origin: Origin) -> None:
        """Whether `host`, found at the IP `address`, may be used. Raises GuardError if not.

        An `address` that is no IP is the host's name: then only the name is judged.
        """
        if origin is Origin.OPERATOR:
            return
        host, ip = host.lower().rstrip("."), parse_ip(address)
        policy = self._policy
        if _listed(host, ip, policy.allow_hosts):
            return
        if _listed(host, ip, policy.deny_hosts):
            raise GuardError(f"{host}: this host is not allowed")
        if ip is None:
            return
        if _is_special(ip):
            raise GuardError(f"{host}: its address {ip} is not allowed")
        if not ip.is_global and (origin is Origin.CALL or not policy.allow_private):
            raise GuardError(f"{host}: its address {ip} is in a private network, which is not allowed")


def parse_ip(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address that packets to `text` reach, unwrapped from IPv6 forms that carry an IPv4 address."""
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, IPv4Address):
        return ip
    if ip.ipv4_mapped or ip.sixtofour:
        return ip.ipv4_mapped or ip.sixtofour
    if ip in _NAT64 or (ip in _EMBEDS_IPV4 and int(ip) > 0xFFFF):
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip


def check_host_pattern(pattern: str) -> str:
    """`pattern` in lower case. Raises ValueError if it can match no host."""
    pattern = pattern.lower()
    if "/" in pattern:
        try:
            return str(ip_network(pattern, strict=False))
        except ValueError:
            raise ValueError(
                f'"{pattern}" is not a network; write one like 10.0.0.0/8, or only the host of a URL'
            ) from None
    if pattern != "*" and parse_ip(pattern) is None and not _HOST.fullmatch(pattern.removeprefix("*.")):
        raise ValueError(f'"{pattern}" is not a host; write a name, *.name, an address, a network or *')
    return pattern


def _listed(host: str, ip: IPv4Address | IPv6Address | None, patterns: Sequence[str]) -> bool:
    return any(_matches(host, ip, pattern) for pattern in patterns)


def _matches(host: str, ip: IPv4Address | IPv6Address | None, pattern: str) -> bool:
    if pattern in ("*", host):
        return True
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    if "/" in pattern:
        return ip is not None and ip in ip_network(pattern)
    return ip is not None and ip == parse_ip(pattern)


def _is_special(ip: IPv4Address | IPv6Address) -> bool:
    """Neither a public host nor one in somebody's network."""
    if ip.is_loopback:  # ::1 lies in a reserved block
        return False
    return ip in _METADATA or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved
