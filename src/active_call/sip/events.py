"""What happens in a call, as its owner sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Ringing:
    """Our INVITE got a provisional response other than 100; `sdp` is early media."""

    status: int
    reason: str
    sdp: bytes | None


@dataclass(frozen=True, slots=True)
class Answered:
    """Our INVITE got a 2xx; `sdp` is its body, or that of the last provisional response if it has none."""

    sdp: bytes | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Our INVITE failed: a final response, 408 if nobody answered, 503 if it can't be sent. `Ended` follows."""

    status: int
    reason: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The peer confirmed our 200 to its INVITE, or to its re-INVITE without an offer (see `remote_sdp`)."""


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """A re-INVITE or UPDATE, to be answered with `answer_offer`; None asks us to make the offer."""

    sdp: bytes | None


@dataclass(frozen=True, slots=True)
class InfoReceived:
    """An INFO, already answered with 200."""

    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The call is over: exactly once, and the last event. `reason` is for people."""

    by: Literal["peer", "canceled", "timeout", "local"]
    reason: str


SipEvent: TypeAlias = Ringing | Answered | Rejected | Acknowledged | OfferReceived | InfoReceived | Ended
