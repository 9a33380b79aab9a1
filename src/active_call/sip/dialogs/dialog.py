"""Dialogs: two tags, two sequence numbers, a remote target and a route (RFC 3261 §12)."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from active_call.core.errors import RemoteProtocolError
from active_call.sip.dialogs.offers import Offers
from active_call.sip.hop import Hop, Target, is_address
from active_call.sip.messages.address import Address
from active_call.sip.messages.message import Headers, Request, Response
from active_call.sip.messages.uri import SipUri

MAX_FORWARDS = ("Max-Forwards", "70")

DialogId = tuple[str, str, str]
"""Call-ID, local tag, remote tag."""


@dataclass(slots=True)
class Dialog:
    """What both ends remember of each other."""

    call_id: str
    local: str
    """Our From or To as it stands in messages, with our tag."""
    remote: str
    """The peer's."""
    local_tag: str
    remote_tag: str
    remote_target: SipUri
    """Where the peer wants requests, from its Contact."""
    route_set: tuple[str, ...]
    source: Hop
    """Where the peer's messages come from."""
    local_cseq: int = 0
    remote_cseq: int = -1
    offers: Offers = field(default_factory=Offers)
    """Whose offer is open."""
    remote_sdp: bytes | None = None
    """What the peer said last in this dialog: one of several if the call forks."""

    @classmethod
    def of_invite(cls, request: Request, tag: str, source: Hop) -> "Dialog":
        """The server's dialog, with our `tag` (§12.1.1). Raises RemoteProtocolError."""
        return cls(
            call_id=request.call_id,
            local=f"{request.headers.get('to')};tag={tag}",
            remote=request.headers.get("from") or "",
            local_tag=tag,
            remote_tag=request.from_.tag,
            remote_target=_target_of_invite(request),
            route_set=_routes(request),
            source=source,
            remote_cseq=request.cseq[0],
        )

    @classmethod
    def of_response(cls, request: Request, response: Response, source: Hop) -> "Dialog":
        """The client's dialog, from a response with a To tag (§12.1.2). Raises RemoteProtocolError."""
        # A provisional response may leave out Contact; until there is one the request's target must do.
        target = response.contact() if "contact" in response.headers else SipUri.parse(request.uri)
        return cls(
            call_id=request.call_id,
            local=request.headers.get("from") or "",
            remote=response.headers.get("to") or "",
            local_tag=request.from_.tag,
            remote_tag=response.to.tag,
            remote_target=target,
            route_set=_routes(response)[::-1],
            source=source,
            local_cseq=request.cseq[0],
        )

    @property
    def id(self) -> DialogId:
        """What requests within the dialog are found by."""
        return (self.call_id, self.local_tag, self.remote_tag)

    def request(self, method: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> Request:
        """The next request within the dialog (§12.2.1.1)."""
        self.local_cseq += 1
        return self._request(method, self.local_cseq, headers, body)

    def ack(self, cseq: int, headers: Iterable[tuple[str, str]] = ()) -> Request:
        """The ACK of a 2xx to the INVITE numbered `cseq` (§13.2.2.4)."""
        return self._request("ACK", cseq, headers, b"")

    def request_uri(self) -> str:
        """What requests within the dialog are addressed to (§12.2.1.1)."""
        if self.route_set and not _is_loose(self.route_set[0]):
            return Address.parse(self.route_set[0]).uri  # a strict router of RFC 2543 wants to be it
        return str(self.remote_target)

    def _request(self, method: str, cseq: int, headers: Iterable[tuple[str, str]], body: bytes) -> Request:
        uri, route = self.request_uri(), list(self.route_set)
        if route and not _is_loose(route[0]):
            route = [*route[1:], f"<{self.remote_target}>"]
        fields = [
            MAX_FORWARDS,
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
            *(("Route", value) for value in route),
            *headers,
        ]
        return Request(method, uri, Headers(fields), body)

    def destination(self) -> Hop | Target:
        """Where requests within the dialog are sent."""
        route = self.route_set[0] if self.route_set else None
        target = (SipUri.parse(Address.parse(route).uri) if route else self.remote_target).target
        if _reach(target.host) < _reach(self.source.host):
            # The peer, or its proxy, is behind a NAT and named an address that means nothing here.
            return self.source
        if target.transport == "tls" and self.source.transport != "tls":
            return target
        if not is_address(target.host):
            # Many a PBX calls itself by a name that only its own network knows.
            return target._replace(fallback=self.source)
        if self.source.reliable and target.host == self.source.host and target.transport != "udp":
            return target._replace(connection=self.source)  # which may be the only way, whatever it says
        return target

    def confirm(self, response: Response) -> None:
        """A 2xx settles the route anew (§13.2.2.4). Raises RemoteProtocolError."""
        self.refresh(response)
        self.route_set = _routes(response)[::-1]
        self.remote = response.headers.get("to") or ""
        self.source = response.source or self.source

    def follow(self, source: Hop) -> None:
        """A request has come from there: the peer's connection, or its NAT's port, may be a new one.

        But what began over TLS stays so, whoever knows the tags.
        """
        if self.source.transport != "tls" or source.transport == "tls":
            self.source = source

    def refresh(self, message: Request | Response) -> None:
        """Take over the peer's new Contact, if there is one. Raises RemoteProtocolError."""
        if "contact" in message.headers:
            self.remote_target = message.contact()


def _target_of_invite(request: Request) -> SipUri:
    if "contact" not in request.headers and not request.from_.tag:
        return SipUri.parse(request.from_.uri)  # RFC 2543 peers need not send Contact
    return request.contact()


def _routes(message: Request | Response) -> tuple[str, ...]:
    """Its Record-Route. Brackets that a proxy leaves out are added: `lr` is meant for the URI."""
    values = message.headers.items("record-route")
    return tuple(value if "<" in value else f"<{value}>" for value in values)


def _is_loose(route: str) -> bool:
    return "lr" in SipUri.parse(Address.parse(route).uri).params


def _reach(host: str) -> int:
    """From how far a host can be reached: its own network (0), that of its provider (1), everywhere (2)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return 2
    return 0 if address.is_private else 1 + address.is_global


def check_routes(message: Request | Response) -> None:
    """Make sure that the message's Record-Route can be used. Raises RemoteProtocolError."""
    for value in message.headers.items("record-route"):
        try:
            SipUri.parse(Address.parse(value).uri)
        except RemoteProtocolError as error:
            raise RemoteProtocolError(f"Record-Route: {error}") from None
