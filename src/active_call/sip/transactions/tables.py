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

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from active_call.sip.transactions.timers import GIVE_UP, T1, T2, T4


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
    (State.PROCEEDING, Input.EXPIRE): (State.TERMINATED, Action.FAIL),  # after `leave` or `connection_lost`
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


NEVER = Timing()
"""No timer runs."""
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
