"""Offers after the first one (re-INVITE, UPDATE), both ways."""

from typing import TYPE_CHECKING, TypeAlias

from active_call.call.leg import SipLeg
from active_call.core.errors import RemoteProtocolError
from active_call.sip.events import OfferAnswered, OfferReceived, OfferRefused

if TYPE_CHECKING:
    from active_call.call.call import Call

Renegotiation: TypeAlias = OfferReceived | OfferAnswered | OfferRefused


def renegotiate(call: "Call", leg: SipLeg, event: Renegotiation) -> None:
    """Answer the offer of `leg`'s peer, or take its answer to ours: only a failure is told."""
    match event:
        case OfferReceived():
            leg.reoffered(event.sdp)
        case OfferAnswered():
            try:
                leg.offer_answered(event.sdp)
            except RemoteProtocolError as error:
                call.complain("hold", str(error), error.status)
        case OfferRefused():
            leg.offer_refused()
            call.complain("hold", f"the peer refused: {event.status} {event.reason}", event.status)
