"""The four transaction state machines (RFC 3261 §17, as corrected by RFC 6026).

A transaction is one request and its responses. Over UDP it is what makes both arrive:

* **INVITE client**: repeats the request (timer A) until any response comes, gives up after B. A failure is
  acknowledged here, again for each repetition, until D. After a 2xx it stays `accepted` until M so that further
  2xx, repeated or from other forks, still find their way up; their ACK is the dialog's business.
* **Other clients**: repeat (E) until a final response or F; swallow repeated finals until K.
* **INVITE server**: answers repeated requests with the last response. A failure is repeated (G) until its ACK
  or H, then further ACKs are swallowed until I. After a 2xx it only absorbs repeated INVITEs until L; the 2xx
  itself is repeated by the dialog.
* **Other servers**: answer repeated requests until J.

What may happen stands in the tables; a pair that is missing changes nothing and does nothing.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from active_call.sip.hop import Hop
from active_call.sip.messages.message import Headers, Request, Response, make_response
from active_call.sip.transactions.timers import GIVE_UP, T1, T2, T4, Timers

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


class State(StrEnum):
    """Where a transaction stands."""

    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


class Input(StrEnum):
    """What moves a transaction on. The first three are received by a client, sent by a server."""

    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "3xx-6xx"
    REQUEST = "repeated request"
    ACK = "ACK"
    REPEAT = "timer A, E or G"
    EXPIRE = "timer B, D, F, H, I, J, K, L or M"
    BROKEN = "transport error"


class Action(StrEnum):
    """What a transition does."""

    NOTHING = "nothing"
    SEND = "send again what was sent last"
    DELIVER = "hand to the user"
    ACKNOWLEDGE = "send ACK"
    ACKNOWLEDGE_AND_DELIVER = "send ACK, hand to the user"
    TIME_OUT = "tell the user: 408"
    FAIL = "tell the user: 503"


Table = Mapping[tuple[State, Input], tuple[State, Action]]

INVITE_CLIENT: Table = {  # §17.1.1.2, RFC 6026 §8.4
    (State.CALLING, Input.REPEAT): (State.CALLING, Action.SEND),
    (State.CALLING, Input.EXPIRE): (State.TERMINATED, Action.TIME_OUT),
    (State.CALLING, Input.BROKEN): (State.TERMINATED, Action.FAIL),
    (State.CALLING, Input.PROVISIONAL): (State.PROCEEDING, Action.DELIVER),
    (State.CALLING, Input.SUCCESS): (State.ACCEPTED, Action.DELIVER),
    (State.CALLING, Input.FAILURE): (State.COMPLETED, Action.ACKNOWLEDGE_AND_DELIVER),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, Action.DELIVER),
    (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, Action.DELIVER),
    (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, Action.ACKNOWLEDGE_AND_DELIVER),
    (State.PROCEEDING, Input.EXPIRE): (State.TERMINATED, Action.NOTHING),  # only after `leave`
    (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, Action.DELIVER),
    (State.ACCEPTED, Input.EXPIRE): (State.TERMINATED, Action.NOTHING),
    (State.COMPLETED, Input.FAILURE): (State.COMPLETED, Action.ACKNOWLEDGE),
    (State.COMPLETED, Input.BROKEN): (State.TERMINATED, Action.NOTHING),
    (State.COMPLETED, Input.EXPIRE): (State.TERMINATED, Action.NOTHING),
}
CLIENT: Table = {  # §17.1.2.2
    (State.TRYING, Input.REPEAT): (State.TRYING, Action.SEND),
    (State.TRYING, Input.EXPIRE): (State.TERMINATED, Action.TIME_OUT),
    (State.TRYING, Input.BROKEN): (State.TERMINATED, Action.FAIL),
    (State.TRYING, Input.PROVISIONAL): (State.PROCEEDING, Action.DELIVER),
    (State.TRYING, Input.SUCCESS): (State.COMPLETED, Action.DELIVER),
    (State.TRYING, Input.FAILURE): (State.COMPLETED, Action.DELIVER),
    (State.PROCEEDING, Input.REPEAT): (State.PROCEEDING, Action.SEND),
    (State.PROCEEDING, Input.EXPIRE): (State.TERMINATED, Action.TIME_OUT),
    (State.PROCEEDING, Input.BROKEN): (State.TERMINATED, Action.FAIL),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, Action.DELIVER),
    (State.PROCEEDING, Input.SUCCESS): (State.COMPLETED, Action.DELIVER),
    (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, Action.DELIVER),
    (State.COMPLETED, Input.EXPIRE): (State.TERMINATED, Action.NOTHING),
}
INVITE_SERVER: Table = {  # §17.2.1, RFC 6026 §8.7
    (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, Action.SEND),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, Action.SEND),
    (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, Action.SEND),
    (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, Action.SEND),
    (State.PROCEEDING, Input.BROKEN): (State.TERMINATED, Action.NOTHING),
    (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, Action.SEND),
    (State.ACCEPTED, Input.EXPIRE): (State.TERMINATED, Action.NOTHING),
    (State.COMPLETED, Input.REQUEST): (State.COMPLETED, Action.SEND),
    (State.COMPLETED, Input.REPEAT): (State.COMPLETED, Action.SEND),
    (State.COMPLETED, Input.ACK): (State.CONFIRMED, Action.NOTHING),
    (State.COMPLETED, Input.EXPIRE): (State.TERMINATED, Action.NOTHING),
    (State.COMPLETED, Input.BROKEN): (State.TERMINATED, Action.NOTHING),
    (State.CONFIRMED, Input.EXPIRE): (State.TERMINATED, Action.NOTHING),
}
SERVER: Table = {  # §17.2.2
    (State.TRYING, Input.PROVISIONAL): (State.PROCEEDING, Action.SEND),
    (State.TRYING, Input.SUCCESS): (State.COMPLETED, Action.SEND),
    (State.TRYING, Input.FAILURE): (State.COMPLETED, Action.SEND),
    (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, Action.SEND),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, Action.SEND),
    (State.PROCEEDING, Input.SUCCESS): (State.COMPLETED, Action.SEND),
    (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, Action.SEND),
    (State.PROCEEDING, Input.BROKEN): (State.TERMINATED, Action.NOTHING),
    (State.COMPLETED, Input.REQUEST): (State.COMPLETED, Action.SEND),
    (State.COMPLETED, Input.EXPIRE): (State.TERMINATED, Action.NOTHING),
    (State.COMPLETED, Input.BROKEN): (State.TERMINATED, Action.NOTHING),
}


@dataclass(frozen=True, slots=True)
class Timing:
    """The timers that run in a state, in seconds. Over TCP and TLS nothing is repeated."""

    repeat: float | None = None
    """First interval of A, E or G; it doubles."""
    longest: float = float("inf")
    """What the doubling stops at."""
    expire: float | None = None
    """B, D, F, H, I, J, K, L or M."""
    absorbs: bool = False
    """D, I, J or K, which only wait for repetitions: none come over TCP and TLS, so there they are 0."""


_NEVER = Timing()
INVITE_CLIENT_TIMING: Mapping[State, Timing] = {
    State.CALLING: Timing(repeat=T1, expire=GIVE_UP),  # A, B
    State.ACCEPTED: Timing(expire=GIVE_UP),  # M
    State.COMPLETED: Timing(expire=GIVE_UP, absorbs=True),  # D
}
CLIENT_TIMING: Mapping[State, Timing] = {
    State.TRYING: Timing(repeat=T1, longest=T2, expire=GIVE_UP),  # E, F
    State.PROCEEDING: Timing(repeat=T2, longest=T2, expire=GIVE_UP),  # E, F
    State.COMPLETED: Timing(expire=T4, absorbs=True),  # K
}
INVITE_SERVER_TIMING: Mapping[State, Timing] = {
    State.ACCEPTED: Timing(expire=GIVE_UP),  # L
    State.COMPLETED: Timing(repeat=T1, longest=T2, expire=GIVE_UP),  # G, H
    State.CONFIRMED: Timing(expire=T4, absorbs=True),  # I
}
SERVER_TIMING: Mapping[State, Timing] = {State.COMPLETED: Timing(expire=GIVE_UP, absorbs=True)}  # J


def input_of(status: int) -> Input:
    """What a response with `status` is to a transaction."""
    if status < 200:
        return Input.PROVISIONAL
    return Input.SUCCESS if status < 300 else Input.FAILURE


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
        timing = self._timing.get(state, _NEVER)
        if timing.absorbs and self.destination.reliable:
            state, timing = State.TERMINATED, _NEVER
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
            longest = self._timing.get(self.state, _NEVER).longest
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
        self._sent = bytes(request)
        self._enter(self.state, now)
        self._transmit()

    def __str__(self) -> str:
        return f"{self.request.method} {self.request.call_id}"

    def receive(self, response: Response, now: float) -> None:
        """A response with our branch and method."""
        self.silent = False
        action = self._step(input_of(response.status), now)
        if action in (Action.ACKNOWLEDGE, Action.ACKNOWLEDGE_AND_DELIVER):
            self._acknowledge(response)
        if action in (Action.DELIVER, Action.ACKNOWLEDGE_AND_DELIVER):
            self._on_response(response, now)

    def _settle(self, action: Action, now: float) -> None:
        if action is Action.TIME_OUT:
            what = "no response" if self.silent else "no final response"
            reason = f"{what} from {self.destination} in {GIVE_UP:.0f} s"
            self._on_response(make_response(self.request, 408, reason), now)
        elif action is Action.FAIL:
            self._on_response(make_response(self.request, 503, self._reason), now)

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

    def leave(self, now: float) -> None:
        """Nobody waits for the answer any more, but a failure that still comes gets its ACK."""
        if self.state is State.PROCEEDING and self._expire_at is None:
            self._expire_at = now + GIVE_UP
            self._arm()

    def abandon(self) -> None:
        """Forget the request without telling anybody."""
        self.state = State.TERMINATED
        self.deadline = None
        self._layer.forget(self)


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
