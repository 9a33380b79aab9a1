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
    ours: bool = False
    """Whether `reason` is a sentence of ours that says why, and not the peer's own words."""


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
class OfferAnswered:
    """The peer took our re-INVITE; `sdp` is its answer."""

    sdp: bytes | None


@dataclass(frozen=True, slots=True)
class OfferRefused:
    """The peer refused our re-INVITE; the session stays as it was."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A MESSAGE within the call (RFC 3428), already answered with 200."""

    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class MessageAnswered:
    """What became of our MESSAGE or INFO."""

    method: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReferReceived:
    """The peer asks for a transfer (RFC 3515), already answered with 202; tell it by `notify_refer`."""

    refer_to: str
    """The URI, without its `Replaces` header."""
    referred_by: str | None
    replaces: str | None
    """The dialog to be replaced, as in a Replaces header, for an attended transfer."""


@dataclass(frozen=True, slots=True)
class ReferProgress:
    """How our REFER goes: the answer to it then what NOTIFYs tell (RFC 3515)."""

    status: int
    """Of the answer to REFER, then of the call that the peer makes; 408 if it never tells."""
    reason: str
    final: bool
    """Nothing more will be told."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The call is over: exactly once, and the last event. `reason` is for people."""

    by: Literal["peer", "canceled", "timeout", "local"]
    reason: str


@dataclass(frozen=True, slots=True)
class Declined:
    """An INVITE that we refused without making a call of it: no event of a call, but told all the same."""

    status: int
    reason: str
    """Why, in words; may be empty."""
    call_id: str
    dialog_id: str
    """`<Call-ID>-<our tag>-<their tag>`."""
    caller: str
    callee: str


SipEvent: TypeAlias = (
    Ringing
    | Answered
    | Rejected
    | Acknowledged
    | OfferReceived
    | OfferAnswered
    | OfferRefused
    | InfoReceived
    | MessageReceived
    | MessageAnswered
    | ReferReceived
    | ReferProgress
    | Ended
)
