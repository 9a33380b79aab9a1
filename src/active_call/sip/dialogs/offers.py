"""Whose offer is open in a dialog (RFC 3264 §4, RFC 3311 §5, RFC 6337 §2).

    nobody ──we offer──────► ours ────answer received, refused──► nobody
       └─────the peer offers─► theirs ──answer sent, refused──────► nobody

An INVITE without a description asks us to offer: from then on the offer is ours, though still to be made.
"""

from collections.abc import Mapping
from enum import StrEnum


class Open(StrEnum):
    """Who has an open offer."""

    NOBODY = "nobody"
    OURS = "ours"
    THEIRS = "theirs"


class Step(StrEnum):
    """What a description in a message, or its refusal, is to the exchange."""

    OFFER_SENT = "offer sent"
    OFFER_RECEIVED = "offer received"
    ANSWER_SENT = "answer sent"
    ANSWER_RECEIVED = "answer received"
    REFUSED = "refused"


TABLE: Mapping[tuple[Open, Step], Open] = {
    (Open.NOBODY, Step.OFFER_SENT): Open.OURS,
    (Open.NOBODY, Step.OFFER_RECEIVED): Open.THEIRS,
    (Open.OURS, Step.ANSWER_RECEIVED): Open.NOBODY,
    (Open.OURS, Step.REFUSED): Open.NOBODY,
    (Open.THEIRS, Step.ANSWER_SENT): Open.NOBODY,
    (Open.THEIRS, Step.REFUSED): Open.NOBODY,
}
"""What may happen; a pair that is missing is against the rules and changes nothing."""

REFUSALS: Mapping[Open, int] = {Open.OURS: 491, Open.THEIRS: 500}
"""What an offer of the peer's gets while one is open (RFC 3261 §14.2, RFC 3311 §5.2)."""


class Offers:
    """The exchange in one dialog."""

    def __init__(self, open_: Open = Open.NOBODY) -> None:
        self.open = open_

    def may(self, step: Step) -> bool:
        """Whether `step` is allowed now."""
        return (self.open, step) in TABLE

    def take(self, step: Step) -> bool:
        """Note that `step` happens; False, without effect, if it isn't allowed."""
        following = TABLE.get((self.open, step))
        if following is None:
            return False
        self.open = following
        return True
