"""A request of ours on its way: one address after the other until one takes it (RFC 3263 §4.3)."""

import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from active_call.sip.hop import Hop, Target
from active_call.sip.messages.message import Headers, Request, Response, make_response
from active_call.sip.transactions.tables import State
from active_call.sip.transactions.timers import Timers
from active_call.sip.transactions.transaction import ClientTransaction

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 8
PATIENCE = 8.0
"""Seconds without any response after which the next address is tried, if there is one. The last has 32."""
UDP_BYTES = 1300
"""Larger requests go over TCP unless the URI names a transport (RFC 3261 §18.1.1)."""
_VIA_BYTES = 100

OnResponse = Callable[[Response, float], None]
FindHops = Callable[[list[Hop], str, float], None]


class Layer(Protocol):
    """What a delivery needs of the transaction layer."""

    tcp: bool
    timers: Timers

    def find(self, destination: Hop | Target, found: FindHops, now: float) -> None:
        """Look up where to send to; `found(hops, what went wrong, now)` may be called at once."""
        ...

    def transact(self, request: Request, hop: Hop, on_response: OnResponse, now: float) -> ClientTransaction:
        """Start a transaction under a new branch."""
        ...

    def cancel_transaction(self, invite: ClientTransaction, on_response: OnResponse, now: float) -> None:
        """Send CANCEL for an INVITE that got a provisional response."""
        ...

    def refuses_tcp(self, hop: Hop, now: float) -> bool:
        """Whether large requests had better go over UDP, because TCP failed there not long ago."""
        ...

    def remember_refusal(self, hop: Hop, now: float) -> None:
        """TCP failed there."""
        ...


class Delivery:
    """One request, and a transaction for each address that it is tried at.

    `on_response` gets what the last transaction says, and a 503 with the reason if there is no address.
    An INVITE that was given up on too early may still be answered: a late 1xx gets CANCEL, a late 2xx goes on.
    """

    def __init__(
        self,
        request: Request,
        destination: Hop | Target,
        on_response: OnResponse,
        layer: Layer,
        contact: Callable[[Hop], str] | None,
        body: Callable[[Hop], bytes] | None = None,
    ) -> None:
        """`contact` and `body` give what is to stand in the request in their place if it goes to a hop."""
        self.request = request
        """As it was sent last, with Via."""
        self.destination = destination.hop if isinstance(destination, Target) else destination
        """Where it was sent last."""
        self.deadline: float | None = None
        self.cancel_fields: tuple[tuple[str, str], ...] = ()
        """Further header fields of the CANCEL."""
        self._plain = request
        self._target = destination
        self._on_response = on_response
        self._layer = layer
        self._contact = contact
        self._body = body
        self._hops: deque[Hop] = deque()
        self._upgraded: set[Hop] = set()
        self._attempts: list[ClientTransaction] = []
        self._canceled: set[str] = set()
        self._cancel_later: OnResponse | None = None
        self._closed = False

    def __str__(self) -> str:
        return f"{self.request.method} {self.request.call_id}"

    @property
    def branch(self) -> str:
        """Of the attempt that counts; empty before the first."""
        return self._attempts[-1].branch if self._attempts else ""

    @property
    def state(self) -> State:
        """Of the attempt that counts."""
        return self._attempts[-1].state if self._attempts else State.TRYING

    def start(self, now: float) -> None:
        """Look for addresses and send."""
        self._layer.find(self._target, self._found, now)

    def settle(self, now: float) -> None:
        """Nobody wants an answer any more: no further address is tried; 487 if nothing has been sent yet."""
        self._hops.clear()
        self._arm(None)
        if not self._attempts and not self._closed:
            self._closed = True
            self._on_response(make_response(self.request, 487), now)
            self._let_go()

    def abandon(self) -> None:
        """Forget the request without telling anybody."""
        self._closed = True
        self._hops.clear()
        self._arm(None)
        for attempt in self._attempts:
            attempt.abandon()

    def leave(self, now: float) -> None:
        """Nobody waits for an answer any more: what has been sent is only finished as the protocol wants it."""
        self.settle(now)
        for attempt in self._attempts:
            attempt.leave(now)

    def cancel(self, on_response: OnResponse, now: float) -> None:
        """Send CANCEL, to where the INVITE was sent."""
        self.settle(now)
        if self.state is State.CALLING:
            self._cancel_later = on_response  # not before the first provisional response (RFC 3261 §9.1)
        elif self._attempts:
            self._cancel(self._attempts[-1], on_response, now)

    def handle_timer(self, now: float) -> None:
        """Patience is at an end."""
        self._arm(None)
        log.info("- %s: no response from %s, trying the next address", self, self.destination)
        self._try_next(now)

    # --- addresses ------------------------------------------------------------------------------------

    def _found(self, hops: list[Hop], reason: str, now: float) -> None:
        if self._closed:
            return
        large = len(bytes(self._plain)) + _VIA_BYTES > UDP_BYTES
        if large and self._layer.tcp and isinstance(self._target, Target) and self._target.transport is None:
            over_udp = [hop for hop in hops if hop.transport == "udp"]
            upgraded = [hop._replace(transport="tcp") for hop in over_udp]
            self._upgraded = {hop for hop in upgraded if not self._layer.refuses_tcp(hop, now)}
            hops = [hop for hop in upgraded if hop in self._upgraded] + hops
        self._hops.extend(hops[:MAX_ATTEMPTS])
        if self._hops:
            self._try_next(now)
        else:
            self._closed = True
            self._on_response(make_response(self.request, 503, reason), now)
            self._let_go()

    def _try_next(self, now: float) -> None:
        hop = self.destination = self._hops.popleft()
        request = self._plain
        if self._body is not None:
            request = Request(request.method, request.uri, request.headers, self._body(hop))
        if self._contact is not None:
            request = Request(request.method, request.uri, Headers(request.headers.fields), request.body)
            request.headers.replace_first("contact", self._contact(hop))
        attempt = self._layer.transact(
            request, hop, lambda response, at: self._answered(attempt, response, at), now
        )
        attempt.on_end = self._let_go
        self._attempts.append(attempt)
        self.request = attempt.request
        self._arm(now + PATIENCE if self._hops else None)

    def _arm(self, deadline: float | None) -> None:
        self.deadline = deadline
        self._layer.timers.schedule(self)

    def _let_go(self) -> None:
        """When nothing more can come nobody is kept for it: who sent the request knows us, too."""
        if not self._hops and all(attempt.state is State.TERMINATED for attempt in self._attempts):
            self._on_response = lambda *_: None
            self._cancel_later = self._contact = self._body = None

    # --- responses ------------------------------------------------------------------------------------

    def _answered(self, attempt: ClientTransaction, response: Response, now: float) -> None:
        if attempt is not self._attempts[-1]:
            self._answered_late(attempt, response, now)
            return
        failed = response.status == 503 or (response.status == 408 and attempt.silent)
        if attempt.destination in self._upgraded and failed and attempt.silent:
            self._layer.remember_refusal(attempt.destination, now)
        if failed and self._hops:
            log.info("- %s: %d %s, trying the next address", self, response.status, response.reason)
            self._try_next(now)
            return
        if response.status > 100:
            self._hops.clear()
        self._arm(None)
        self._closed = self._closed or response.status >= 200
        if response.status < 200 and self._cancel_later is not None:
            self._cancel(attempt, self._cancel_later, now)
        self._on_response(response, now)

    def _answered_late(self, attempt: ClientTransaction, response: Response, now: float) -> None:
        if self.request.method != "INVITE":
            return
        if response.status < 200:
            self._cancel(attempt, lambda *_: None, now)
        elif response.status < 300:
            self._on_response(response, now)

    def _cancel(self, attempt: ClientTransaction, on_response: OnResponse, now: float) -> None:
        if attempt.branch not in self._canceled:
            self._canceled.add(attempt.branch)
            attempt.cancel_fields = self.cancel_fields
            self._layer.cancel_transaction(attempt, on_response, now)
