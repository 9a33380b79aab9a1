"""The addresses at which peers reach us: bound, routed, given by the operator, or learnt from answers."""

import ipaddress
from collections.abc import Callable, Mapping

from active_call.core.digits import is_number
from active_call.sip.config import SipConfig
from active_call.sip.hop import DEFAULT_PORTS, Hop, Transport, is_address
from active_call.sip.messages.via import Via
from active_call.sip.transport.sockets import source_address

_MAX_ROUTES = 4096
_ANYWHERE = "192.0.2.1"
"""A documentation address (RFC 5737): the way to it is the default route."""


class OwnAddress:
    """What we call ourselves in Via, Contact and descriptions depends on whom we talk to."""

    def __init__(self, config: SipConfig, known_address: Callable[[str], str | None]) -> None:
        """`known_address` gives the address of a name, if it was looked up before."""
        self.ports: Mapping[Transport, int] = {}
        """Where we listen."""
        self._config = config
        self._known_address = known_address
        self._routes: dict[str, str] = {}
        self._learnt: dict[str, tuple[str, int]] = {}
        self.public: tuple[str, int] | None = None
        """Host and UDP port that peers in the Internet see, once one has told."""

    def host_towards(self, peer: str) -> str:
        """The address at which `peer` (address or name, with or without a port) reaches us."""
        address = self._address_of(peer)
        external = self._config.external_ip
        if external and (not is_address(external) or _version(external) == _version(address)):
            return external
        learnt = self._learnt_towards(address)
        if learnt is not None:
            return learnt[0]
        bound = self._config.host
        if is_address(bound) and not ipaddress.ip_address(bound).is_unspecified:
            return bound
        host = self._routes.get(address)
        if host is None:
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            host = self._routes[address] = source_address(address)
        return host

    def towards(self, hop: Hop) -> tuple[str, int]:
        """The (host, port) at which a peer reaches us over its transport."""
        host = self.host_towards(hop.host)
        if hop.transport == "udp" and not self._config.external_ip:
            learnt = self._learnt_towards(self._address_of(hop.host))
            if learnt is not None:
                return learnt
        fallback = self.ports.get("udp", 0) if hop.transport == "tcp" else DEFAULT_PORTS["tls"]
        return host, self.ports.get(hop.transport, fallback)

    def learn(self, peer: Hop, via: Via) -> bool:
        """Note where a request of ours came from as `peer` saw it (RFC 3581). True if that changes `public`."""
        if not self._config.learn_public_address or self._config.external_ip or peer.transport != "udp":
            return False
        received = via.params.get("received") or via.host.strip("[]")
        rport = via.params.get("rport") or str(via.port or 0)
        port = int(rport) if is_number(rport, 5) else 0
        if not is_address(received) or not 0 < port < 65536 or _version(received) != _version(peer.host):
            return False
        seen = (received, port)
        if _is_public(peer.host):
            if not _is_public(received) or self.public == seen:
                return False
            self.public = seen
            return True
        if seen != (self.host_towards(peer.host), self.ports.get("udp")):
            if len(self._learnt) >= _MAX_ROUTES:
                self._learnt.clear()
            self._learnt[peer.host] = seen
        return False

    def _learnt_towards(self, address: str) -> tuple[str, int] | None:
        if self.public is not None and _is_public(address) and _version(address) == _version(self.public[0]):
            return self.public
        return self._learnt.get(address)

    def _address_of(self, peer: str) -> str:
        name = peer.strip("[]")
        if not is_address(name):
            name = peer.rsplit(":", 1)[0].strip("[]")
        if is_address(name):
            return name
        if name == "localhost":
            return "127.0.0.1"
        return self._known_address(name) or _ANYWHERE


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version


def _is_public(address: str) -> bool:
    """Out in the Internet, or at an address that documentation uses for it: not in a network of ours."""
    return not ipaddress.ip_address(address).is_private or address == _ANYWHERE
