"""The transaction layer: which datagram belongs to which transaction (RFC 3261 §17.1.3, §17.2.3)."""

import logging
from collections import deque
from collections.abc import Callable

from active_call.core.tokens import Tokens
from active_call.sip.hop import Hop, Judge, LocalAddress, Target, is_address, only_public
from active_call.sip.messages.message import Headers, Request, Response
from active_call.sip.messages.uri import bracketed
from active_call.sip.messages.via import MAGIC_COOKIE, Via
from active_call.sip.transactions.delivery import Delivery, FindHops, OnResponse
from active_call.sip.transactions.tables import State
from active_call.sip.transactions.timers import Timers
from active_call.sip.transactions.transaction import ClientTransaction, ServerTransaction, Transaction

log = logging.getLogger(__name__)

MAX_SERVER_TRANSACTIONS = 50_000
"""Further requests are dropped: their senders repeat them when there is room again."""


_MAX_REFUSALS = 1000
_MAX_ALIASES = 4096
_REFUSAL_SECONDS = 600.0

Learn = Callable[[Hop, Via], None]
"""Takes the topmost Via of a response from a peer: where our request came from as the peer saw it."""

ServerKey = tuple[str, ...]


class TransactionLayer:
    """All transactions that are alive, and what waits to be sent."""

    def __init__(
        self, local: LocalAddress, tokens: Tokens, user_agent: str, learn: Learn = lambda *_: None
    ) -> None:
        self.local = local
        self._learn = learn
        self.tokens = tokens
        self.user_agent = user_agent
        self.timers = Timers()
        self.outbox: deque[tuple[bytes, Hop]] = deque()
        self.lookups: deque[Target] = deque()
        self.tcp = False
        """Whether large requests may go over TCP."""
        self.judge: Judge = only_public
        """Where a peer may not redirect us to."""
        self._searches: dict[Target, list[FindHops]] = {}
        self._no_tcp: dict[Hop, float] = {}
        self._aliases: dict[Hop, Hop] = {}
        self._clients: dict[tuple[str, str], ClientTransaction] = {}
        self._servers: dict[ServerKey, ServerTransaction] = {}
        self._unmerged: dict[tuple[str, str, int, str], ServerTransaction] = {}

    # --- sending --------------------------------------------------------------------------------------

    def send(self, data: bytes, destination: Hop) -> None:
        """Queue a datagram."""
        self.outbox.append((data, destination))

    def request(
        self,
        request: Request,
        destination: Hop | Target,
        on_response: OnResponse,
        now: float,
        *,
        contact: Callable[[Hop], str] | None = None,
        body: Callable[[Hop], bytes] | None = None,
    ) -> Delivery:
        """Send `request`; it gets its Via here, and its Contact and body from `contact` and `body` if given.

        It is tried at each address that `destination` leads to, until one answers.
        """
        delivery = Delivery(request, destination, on_response, self, contact, body)
        delivery.start(now)
        return delivery

    def acknowledge(self, request: Request, destination: Hop | Target, now: float) -> Callable[[], None]:
        """Send the ACK of a 2xx; what is returned sends it again."""
        ways: deque[tuple[bytes, Hop]] = deque()

        def send() -> None:
            if ways:
                self.send(*ways[0])
                if ways[0][1].reliable:
                    ways.rotate(-1)  # if it has to be sent again, that connection is dead

        def found(hops: list[Hop], reason: str, _: float) -> None:
            if not hops:
                log.warning("- %s: the ACK can't be sent: %s", request.call_id, reason)
            ways.extend((bytes(self.with_via(request, hop)), hop) for hop in hops)
            send()

        self.find(destination, found, now)
        return send

    def cancel(self, invite: Delivery, on_response: OnResponse, now: float) -> None:
        """Send CANCEL for an INVITE to where that was sent (RFC 3261 §9.1)."""
        invite.cancel(on_response, now)

    def cancel_transaction(self, invite: ClientTransaction, on_response: OnResponse, now: float) -> None:
        """The CANCEL: same Via, To, From, Call-ID, number and route."""
        fields = [
            (name, value)
            for name, value in invite.request.headers.fields
            if name in ("Via", "Max-Forwards", "From", "To", "Call-ID", "Route", "User-Agent")
        ]
        fields += (("CSeq", f"{invite.request.cseq[0]} CANCEL"), *invite.cancel_fields)
        request = Request("CANCEL", invite.request.uri, Headers(fields))
        transaction = ClientTransaction(request, invite.destination, on_response, self, now)
        self._clients[transaction.branch, "CANCEL"] = transaction

    def transact(self, request: Request, hop: Hop, on_response: OnResponse, now: float) -> ClientTransaction:
        """Start a transaction for `request` under a new branch."""
        transaction = ClientTransaction(self.with_via(request, hop), hop, on_response, self, now)
        self._clients[transaction.branch, request.method] = transaction
        return transaction

    def with_via(self, request: Request, destination: Hop) -> Request:
        """`request` with our Via in front, under a new branch."""
        host, port = self.local(destination)
        branch = MAGIC_COOKIE + self.tokens(16)
        rport = "" if destination.reliable else ";rport"  # RFC 3581 is about UDP
        via = f"SIP/2.0/{destination.transport.upper()} {bracketed(host)}:{port};branch={branch}{rport}"
        headers = Headers((("Via", via), *request.headers.fields))
        return Request(request.method, request.uri, headers, request.body)

    # --- addresses ------------------------------------------------------------------------------------

    def find(self, destination: Hop | Target, found: FindHops, now: float) -> None:
        """Call `found` with the hops to try: at once if there is nothing to look up."""
        if isinstance(destination, Target) and destination.guarded:
            found = self._allowed(destination.host, found)
        if isinstance(destination, Hop):
            if is_address(destination.host):
                found(self._with_connection(destination), "", now)
                return
            destination = Target(destination.host, destination.port, destination.transport)
        if is_address(destination.host):
            hops = self._with_connection(destination.hop)
            if destination.connection is not None:
                hops = list(dict.fromkeys((destination.connection, *hops)))
            found(hops, "", now)
        elif destination in self._searches:
            self._searches[destination].append(found)
        else:
            self._searches[destination] = [found]
            self.lookups.append(destination)

    def _allowed(self, host: str, found: FindHops) -> FindHops:
        """`found`, told only of hops that a peer may send us to."""

        def judged(hops: list[Hop], reason: str, now: float) -> None:
            faults = [self.judge(host, hop.host) for hop in hops]
            allowed = [hop for hop, fault in zip(hops, faults, strict=True) if not fault]
            found(allowed, reason if allowed or not faults else f"not followed: {faults[0]}", now)

        return judged

    def _with_connection(self, hop: Hop) -> list[Hop]:
        """Who has a connection to us and listens at `hop` is better reached over that (RFC 5923)."""
        alias = self._aliases.get(hop)
        return [hop] if alias is None else [alias, hop]

    def looked_up(self, target: Target, hops: list[Hop], reason: str, now: float) -> None:
        """One of `lookups` has succeeded, or failed for a `reason`."""
        if not hops and target.fallback is not None:
            hops = [target.fallback]
        for found in self._searches.pop(target, ()):
            found(hops, reason, now)

    def refuses_tcp(self, hop: Hop, now: float) -> bool:
        """Whether large requests had better go over UDP, because TCP failed there not long ago."""
        return self._no_tcp.get(hop.peer, 0.0) > now

    def remember_refusal(self, hop: Hop, now: float) -> None:
        """TCP failed there."""
        if len(self._no_tcp) >= _MAX_REFUSALS:
            self._no_tcp.clear()
        self._no_tcp[hop.peer] = now + _REFUSAL_SECONDS

    # --- receiving ------------------------------------------------------------------------------------

    def receive_response(self, response: Response, now: float) -> None:
        """Give a response to its transaction, or drop it."""
        transaction = self._clients.get((response.via.branch, response.cseq[1]))
        if transaction is None:
            log.debug("- dropped a response to no request of ours: %r", response)
            return
        if response.source is not None and not transaction.request.to.tag:
            # Servers that we chose to call. Within a dialog it may be any caller, who could claim anything.
            self._learn(response.source, response.via)
        transaction.receive(response, now)

    def find_server(self, request: Request) -> ServerTransaction | None:
        """The transaction that `request` repeats, or whose failure it acknowledges."""
        method = "INVITE" if request.method == "ACK" else request.method
        return self._servers.get(_server_key(request, method))

    def find_canceled(self, cancel: Request) -> ServerTransaction | None:
        """The INVITE transaction that a CANCEL is about (RFC 3261 §9.2)."""
        return self._servers.get(_server_key(cancel, "INVITE"))

    def is_merged(self, request: Request) -> bool:
        """Whether `request` came a second time over another path (RFC 3261 §8.2.2.2).

        Not if it was refused before: then a proxy that hunts has come to the next of our accounts.
        """
        first = self._unmerged.get(_identity(request))
        return not request.to.tag and first is not None and not first.refused

    @property
    def full(self) -> bool:
        """Whether no further server transaction may be opened."""
        return len(self._servers) >= MAX_SERVER_TRANSACTIONS

    def open_server(self, request: Request, source: Hop) -> ServerTransaction:
        """A transaction for a request that is new."""
        via = request.via
        if source.reliable and via.host.strip("[]") == source.host:
            if len(self._aliases) >= _MAX_ALIASES:
                self._aliases.clear()
            self._aliases[via.sent_by(source)] = source
        fallback = via.sent_by(source) if source.reliable else None
        transaction = ServerTransaction(request, via.response_address(source), self, fallback=fallback)
        self._servers[_server_key(request, request.method)] = transaction
        first = self._unmerged.get(_identity(request))
        if first is None or first.refused:
            self._unmerged[_identity(request)] = transaction
        return transaction

    # --- life -----------------------------------------------------------------------------------------

    def forget(self, transaction: Transaction) -> None:
        """The transaction has terminated."""
        if isinstance(transaction, ClientTransaction):
            self._clients.pop((transaction.branch, transaction.request.method), None)
        elif isinstance(transaction, ServerTransaction):
            request = transaction.request
            self._servers.pop(_server_key(request, request.method), None)
            if self._unmerged.get(_identity(request)) is transaction:
                del self._unmerged[_identity(request)]

    def transport_failed(self, hop: Hop, reason: str, now: float) -> None:
        """Nothing can be sent to `hop`: end what is being sent there."""
        waiting: list[Transaction] = [*self._clients.values(), *self._servers.values()]
        for transaction in waiting:
            if transaction.destination == hop:
                transaction.transport_failed(reason, now)

    def connection_closed(self, hop: Hop, reason: str, now: float) -> None:
        """The connection to `hop` has gone: requests that nobody answered yet won't be, others perhaps."""
        for listening in [one for one, connected in self._aliases.items() if connected == hop]:
            del self._aliases[listening]
        for transaction in list(self._clients.values()):
            if transaction.destination == hop:
                transaction.connection_lost(reason, now)

    def unreachable(self, hop: Hop, reason: str, now: float) -> None:
        """Nobody is at `hop`, as ICMP says: requests that nobody answered yet won't be."""
        for transaction in list(self._clients.values()):
            if transaction.destination.peer == hop and transaction.silent:
                transaction.transport_failed(reason, now)

    @property
    def busy(self) -> bool:
        """Whether a request of ours still waits for its final response."""
        waiting = (State.CALLING, State.TRYING, State.PROCEEDING)
        return bool(self._searches) or any(one.state in waiting for one in self._clients.values())

    def __len__(self) -> int:
        return len(self._clients) + len(self._servers)


def _server_key(request: Request, method: str) -> ServerKey:
    via = request.via
    branch = via.branch
    if branch.startswith(MAGIC_COOKIE) and len(branch) > len(MAGIC_COOKIE):
        return (branch, via.host.lower(), str(via.port or ""), method)
    # RFC 2543 peers: everything that stays the same in a repetition, an ACK and a CANCEL. The To tag of an ACK
    # is ours, so it can't take part.
    number = str(request.cseq[0])
    return (request.uri, request.from_.tag, request.call_id, number, str(via), method)


def _identity(request: Request) -> tuple[str, str, int, str]:
    number, method = request.cseq
    return (request.call_id, request.from_.tag, number, method)
