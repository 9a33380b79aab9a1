"""A transaction is one request and its responses: the tables of `tables` at work (RFC 3261 §17)."""

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from active_call.sip.hop import Hop
from active_call.sip.messages.message import REASONS, Headers, Request, Response, make_response
from active_call.sip.transactions.tables import (
    CLIENT,
    CLIENT_TIMING,
    INVITE_CLIENT,
    INVITE_CLIENT_TIMING,
    INVITE_SERVER,
    INVITE_SERVER_TIMING,
    NEVER,
    SERVER,
    SERVER_TIMING,
    Action,
    Input,
    State,
    Table,
    Timing,
    input_of,
)
from active_call.sip.transactions.timers import GIVE_UP, Timers

log = logging.getLogger(__name__)


class Layer(Protocol):
    """Where transactions live (`sip.layer`)."""

    timers: Timers

    def send(self, data: bytes, destination: Hop) -> None:
        """Queue a datagram."""
        ...

    def forget(self, transaction: "Transaction") -> None:
        """The transaction has terminated."""
        ...


class Transaction:
    """A table at work: the state, its two timers, and the bytes sent last."""

    def __init__(
        self,
        table: Table,
        timing: Mapping[State, Timing],
        state: State,
        destination: Hop,
        layer: Layer,
    ) -> None:
        self.state = state
        self.destination = destination
        self.deadline: float | None = None
        self._table = table
        self._timing = timing
        self._layer = layer
        self._sent = b""
        self._repeat_at: float | None = None
        self._expire_at: float | None = None
        self._interval = 0.0
        self._reason = ""

    def _step(self, given: Input, now: float) -> Action:
        state, action = self._table.get((self.state, given), (self.state, Action.NOTHING))
        if state is not self.state:
            self._enter(state, now)
        if action is Action.SEND:
            self._transmit()
        return action

    def _enter(self, state: State, now: float) -> None:
        timing = self._timing.get(state, NEVER)
        if timing.absorbs and self.destination.reliable:
            state, timing = State.TERMINATED, NEVER
        repeat = None if self.destination.reliable else timing.repeat
        # Timer F runs on when a provisional response comes (§17.1.2.2).
        runs_on = self.state is State.TRYING and state is State.PROCEEDING
        log.debug("- %s: %s -> %s", self, self.state, state)
        self.state = state
        self._interval = repeat or 0.0
        self._repeat_at = now + repeat if repeat is not None else None
        if timing.expire is None:
            self._expire_at = None
        elif not (runs_on and self._expire_at is not None):
            self._expire_at = now + timing.expire
        self._arm()
        if state is State.TERMINATED:
            self._layer.forget(self)

    def _arm(self) -> None:
        times = [when for when in (self._repeat_at, self._expire_at) if when is not None]
        self.deadline = min(times, default=None)
        self._layer.timers.schedule(self)

    def _transmit(self) -> None:
        if self._sent:
            self._layer.send(self._sent, self.destination)

    def handle_timer(self, now: float) -> None:
        """The deadline has come: repeat, or give up."""
        if self._expire_at is not None and self._expire_at <= now:
            self._expire_at = self._repeat_at = self.deadline = None
            self._settle(self._step(Input.EXPIRE, now), now)
        elif self._repeat_at is not None and self._repeat_at <= now:
            longest = self._timing.get(self.state, NEVER).longest
            self._interval = min(2 * self._interval, longest)
            self._repeat_at = now + self._interval
            self._arm()
            self._step(Input.REPEAT, now)

    def _settle(self, action: Action, now: float) -> None:
        """Carry out what an expiry or a transport error asks for."""

    def transport_failed(self, reason: str, now: float) -> None:
        """What was sent can't reach the peer."""
        self._reason = reason
        self._settle(self._step(Input.BROKEN, now), now)


class ClientTransaction(Transaction):
    """Our request.

    `on_response` gets each response that matters, and a 408 or 503 of our own if none comes (§8.1.3.1).
    """

    def __init__(
        self,
        request: Request,
        destination: Hop,
        on_response: Callable[[Response, float], None],
        layer: Layer,
        now: float,
    ) -> None:
        invite = request.method == "INVITE"
        super().__init__(
            INVITE_CLIENT if invite else CLIENT,
            INVITE_CLIENT_TIMING if invite else CLIENT_TIMING,
            State.CALLING if invite else State.TRYING,
            destination,
            layer,
        )
        self.request = request
        self.branch = request.via.branch
        self._on_response = on_response
        self._ack = b""
        self.silent = True
        """Whether no response has come."""
        self.cancel_fields: tuple[tuple[str, str], ...] = ()
        """Further header fields of its CANCEL."""
        self.on_end: Callable[[], None] = _nothing
        """Is told that nothing more comes."""
        self._status = 0
        self._left = self._cut = False
        self._sent = bytes(request)
        self._enter(self.state, now)
        self._transmit()

    def __str__(self) -> str:
        return f"{self.request.method} {self.request.call_id}"

    def receive(self, response: Response, now: float) -> None:
        """A response with our branch and method."""
        self.silent, self._status = False, response.status
        if self._cut and not self._left:
            # The peer has found its way back, over a connection of its own (§18.2.2).
            self._cut, self._expire_at = False, None
            self._arm()
        action = self._step(input_of(response.status), now)
        if action in (Action.ACKNOWLEDGE, Action.ACKNOWLEDGE_AND_DELIVER):
            self._acknowledge(response)
        if action in (Action.DELIVER, Action.ACKNOWLEDGE_AND_DELIVER):
            self._on_response(response, now)
        self._let_go()

    def _settle(self, action: Action, now: float) -> None:
        if action is Action.TIME_OUT:
            what = "no response" if self.silent else "no final response"
            reason = f"{what} from {self.destination} in {GIVE_UP:.0f} s"
            self._on_response(make_response(self.request, 408, reason), now)
        elif action is Action.FAIL and not self._left:
            self._on_response(make_response(self.request, 503, self._reason), now)
        self._let_go()

    def _let_go(self) -> None:
        """In the end nobody is kept for being told: who waits for the answer knows us, too."""
        if self.state is State.TERMINATED:
            self._on_response = _nothing
            on_end, self.on_end = self.on_end, _nothing
            on_end()

    def _acknowledge(self, response: Response) -> None:
        """The ACK of a failure: same branch, same route, the response's To (§17.1.1.3)."""
        if not self._ack:
            headers = Headers(
                (name, value) for name, value in self.request.headers.fields if name in _ACK_FIELDS
            )
            headers.add("To", response.headers.get("to") or "")
            headers.add("CSeq", f"{self.request.cseq[0]} ACK")
            self._ack = bytes(Request("ACK", self.request.uri, headers))
        self._layer.send(self._ack, self.destination)

    def connection_lost(self, reason: str, now: float) -> None:
        """The connection that the request went over is gone.

        If the peer has not said anything it may not even have got the request. Otherwise the answer can still
        come: the peer opens a connection for it (§18.2.2), within the time that any request has.
        """
        if self.silent:
            self.transport_failed(reason, now)
        elif self.state is State.PROCEEDING and self._expire_at is None:  # an INVITE; others have timer F
            said = f"{self._status} {REASONS.get(self._status, '')}".rstrip()
            self._cut = True
            self._reason = f"{reason}, after {said}; no answer came in the {GIVE_UP:.0f} s since"
            self._expire_at = now + GIVE_UP
            self._arm()

    def leave(self, now: float) -> None:
        """Nobody waits for the answer any more, but a failure that still comes gets its ACK."""
        self._left = True
        if self.state is State.PROCEEDING and self._expire_at is None:
            self._expire_at = now + GIVE_UP
            self._arm()

    def abandon(self) -> None:
        """Forget the request without telling anybody."""
        self.state = State.TERMINATED
        self.deadline = None
        self._layer.forget(self)
        self._let_go()


def _nothing(*_: object) -> None:
    """Nobody waits."""


_ACK_FIELDS = ("Via", "Max-Forwards", "From", "Call-ID", "Route", "User-Agent")


class ServerTransaction(Transaction):
    """A request of the peer's, which the user answers with `respond`."""

    def __init__(
        self, request: Request, destination: Hop, layer: Layer, *, fallback: Hop | None = None
    ) -> None:
        """Responses go to `destination`; if that fails to `fallback`, where the peer listens (§18.2.2)."""
        invite = request.method == "INVITE"
        super().__init__(
            INVITE_SERVER if invite else SERVER,
            INVITE_SERVER_TIMING if invite else SERVER_TIMING,
            State.PROCEEDING if invite else State.TRYING,
            destination,
            layer,
        )
        self.request = request
        self._fallback = fallback
        self.refused = False
        """Whether the answer was a failure."""
        self.on_cancel: Callable[[Request, float], None] | None = None
        """Who wants to know that the peer takes the request back."""

    def __str__(self) -> str:
        return f"{self.request.method} {self.request.call_id} of the peer"

    @property
    def answered(self) -> bool:
        """Whether a final response was sent."""
        return self.state not in (State.TRYING, State.PROCEEDING)

    def respond(self, response: Response, now: float) -> None:
        """Send a response; one that comes too late is dropped."""
        given = input_of(response.status)
        if (self.state, given) in self._table:
            self._sent = bytes(response)
            self.refused = given is Input.FAILURE
            if given is not Input.PROVISIONAL:
                self.on_cancel = None  # nothing of the call is kept while the transaction rests
            self._step(given, now)

    def repeat_success(self) -> None:
        """Send the 2xx of an INVITE again: the dialog does this until the ACK comes (§13.3.1.4)."""
        if self.state in (State.ACCEPTED, State.TERMINATED):
            self._transmit()

    def transport_failed(self, reason: str, now: float) -> None:
        """The connection that the request came over is closed."""
        if self._fallback is None:
            super().transport_failed(reason, now)
            return
        self.destination, self._fallback = self._fallback, None
        self._transmit()

    def receive(self, request: Request, now: float) -> None:
        """The same request again, or the ACK of our failure."""
        self._step(Input.ACK if request.method == "ACK" else Input.REQUEST, now)
