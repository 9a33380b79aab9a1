"""The transaction layer: which datagram belongs to which transaction (RFC 3261 §17.1.3, §17.2.3)."""

import logging
from collections import deque
from collections.abc import Callable

from active_call.core.tokens import Tokens
from active_call.sip.message import Headers, Request, Response
from active_call.sip.timers import Timers
from active_call.sip.transaction import ClientTransaction, ServerTransaction, State, Transaction
from active_call.sip.uri import bracketed
from active_call.sip.via import MAGIC_COOKIE

log = logging.getLogger(__name__)

MAX_SERVER_TRANSACTIONS = 50_000
"""Further requests are dropped: their senders repeat them when there is room again."""

LocalAddress = Callable[[str], tuple[str, int]]
"""The (host, port) at which a peer, named by host, reaches us."""

ServerKey = tuple[str, ...]


class TransactionLayer:
    """All transactions that are alive, and what waits to be sent."""

    def __init__(self, local: LocalAddress, tokens: Tokens, user_agent: str) -> None:
        self.local = local
        self.tokens = tokens
        self.user_agent = user_agent
        self.timers = Timers()
        self.outbox: deque[tuple[bytes, tuple[str, int]]] = deque()
        self._clients: dict[tuple[str, str], ClientTransaction] = {}
        self._servers: dict[ServerKey, ServerTransaction] = {}
        self._unmerged: dict[tuple[str, str, int, str], ServerTransaction] = {}

    # --- sending --------------------------------------------------------------------------------------

    def send(self, data: bytes, destination: tuple[str, int]) -> None:
        """Queue a datagram."""
        self.outbox.append((data, destination))

    def request(
        self,
        request: Request,
        destination: tuple[str, int],
        on_response: Callable[[Response, float], None],
        now: float,
    ) -> ClientTransaction:
        """Send `request` in a transaction of its own; it gets its Via here."""
        transaction = ClientTransaction(
            self.with_via(request, destination), destination, on_response, self, now
        )
        self._clients[transaction.branch, request.method] = transaction
        return transaction

    def cancel(
        self, invite: ClientTransaction, on_response: Callable[[Response, float], None], now: float
    ) -> ClientTransaction:
        """Send CANCEL for an INVITE: same Via, To, From, Call-ID, number and route (RFC 3261 §9.1)."""
        fields = [
            (name, value)
            for name, value in invite.request.headers.fields
            if name in ("Via", "Max-Forwards", "From", "To", "Call-ID", "Route", "User-Agent")
        ]
        fields.append(("CSeq", f"{invite.request.cseq[0]} CANCEL"))
        request = Request("CANCEL", invite.request.uri, Headers(fields))
        transaction = ClientTransaction(request, invite.destination, on_response, self, now)
        self._clients[transaction.branch, "CANCEL"] = transaction
        return transaction

    def with_via(self, request: Request, destination: tuple[str, int]) -> Request:
        """`request` with our Via in front, under a new branch."""
        host, port = self.local(destination[0])
        via = f"SIP/2.0/UDP {bracketed(host)}:{port};branch={MAGIC_COOKIE}{self.tokens(16)};rport"
        headers = Headers((("Via", via), *request.headers.fields))
        return Request(request.method, request.uri, headers, request.body)

    # --- receiving ------------------------------------------------------------------------------------

    def receive_response(self, response: Response, now: float) -> None:
        """Give a response to its transaction, or drop it."""
        transaction = self._clients.get((response.via.branch, response.cseq[1]))
        if transaction is None:
            log.debug("- dropped a response to no request of ours: %r", response)
            return
        transaction.receive(response, now)

    def find_server(self, request: Request) -> ServerTransaction | None:
        """The transaction that `request` repeats, or whose failure it acknowledges."""
        method = "INVITE" if request.method == "ACK" else request.method
        return self._servers.get(_server_key(request, method))

    def find_canceled(self, cancel: Request) -> ServerTransaction | None:
        """The INVITE transaction that a CANCEL is about (RFC 3261 §9.2)."""
        return self._servers.get(_server_key(cancel, "INVITE"))

    def is_merged(self, request: Request) -> bool:
        """Whether `request` came a second time over another path (RFC 3261 §8.2.2.2)."""
        return not request.to.tag and _identity(request) in self._unmerged

    @property
    def full(self) -> bool:
        """Whether no further server transaction may be opened."""
        return len(self._servers) >= MAX_SERVER_TRANSACTIONS

    def open_server(self, request: Request, source: tuple[str, int]) -> ServerTransaction:
        """A transaction for a request that is new."""
        transaction = ServerTransaction(request, request.via.response_address(source), self)
        self._servers[_server_key(request, request.method)] = transaction
        self._unmerged.setdefault(_identity(request), transaction)
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

    def transport_failed(self, destination: tuple[str, int], now: float) -> None:
        """Nothing can be sent to `destination`: end what is being sent there."""
        waiting: list[Transaction] = [*self._clients.values(), *self._servers.values()]
        for transaction in waiting:
            if transaction.destination == destination:
                transaction.transport_failed(now)

    @property
    def busy(self) -> bool:
        """Whether a request of ours still waits for its final response."""
        waiting = (State.CALLING, State.TRYING, State.PROCEEDING)
        return any(transaction.state in waiting for transaction in self._clients.values())

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
