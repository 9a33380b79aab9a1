"""A peer that asks for a transfer (SIP REFER): who leads the call decides, and the peer is told how it goes."""

from active_call.call.dialing.parties import attendee
from active_call.call.leg import SipLeg
from active_call.sip.events import ReferReceived


class TransferRequest:
    """One REFER, which waits for a `refer` command to the same party."""

    def __init__(self, leg: SipLeg, event: ReferReceived) -> None:
        self.leg = leg
        """Of the peer that asks."""
        self.event = event
        self._told = 0

    def asks_for(self, target: str) -> bool:
        """Whether a call to `target` is what is asked for: user and host are the same."""
        wanted, given = attendee(self.event.refer_to), attendee(target)
        return (wanted.username, wanted.realm.lower()) == (given.username, given.realm.lower())

    @property
    def headers(self) -> dict[str, str]:
        """What the INVITE that carries it out must say (RFC 3892, RFC 3891)."""
        headers = {}
        if self.event.referred_by is not None:
            headers["Referred-By"] = self.event.referred_by
        if self.event.replaces is not None:
            headers["Replaces"] = self.event.replaces
        return headers

    def tell(self, status: int, reason: str) -> None:
        """How it goes: 180 rings; 200 and above is the end of it. Nothing is told twice."""
        if self._told < 200 and status > self._told:
            self._told = status
            self.leg.sip.notify_refer(status, reason, final=status >= 200)

    def decline(self) -> None:
        """Nobody carries it out."""
        self.tell(603, "Decline")
