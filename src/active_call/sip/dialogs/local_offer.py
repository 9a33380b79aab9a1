"""Our re-INVITE: a new offer, or the refresh of a session (RFC 3261 §14.1, RFC 4028 §7.4)."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from active_call.core.digits import is_number
from active_call.core.errors import RemoteProtocolError
from active_call.core.owner import Owner
from active_call.sip.dialogs.offers import Step
from active_call.sip.dialogs.own_request import OwnRequest
from active_call.sip.events import OfferAnswered, OfferRefused
from active_call.sip.messages.body import SDP, sdp_of
from active_call.sip.messages.capabilities import ALLOW, SUPPORTED
from active_call.sip.messages.grammar import printable
from active_call.sip.messages.message import Response
from active_call.sip.transactions.timers import GIVE_UP

if TYPE_CHECKING:
    from active_call.sip.dialogs.usage import Usage

log = logging.getLogger(__name__)

MAX_TRIES = 5
"""How often one offer is sent, if it collides or the peer asks us to come back."""
_LONGEST_RETRY = 10.0
_RETRY = "offer again"
_SILENCE = "offer unanswered"


class LocalOffer:
    """One re-INVITE at a time. It waits while the call is not answered or another INVITE is going on."""

    _usage = Owner["Usage"]()

    def __init__(self, usage: "Usage") -> None:
        self._usage = usage
        self._waiting: bytes | None = None
        self._sent = b""
        self._request: OwnRequest | None = None
        self._refreshing = False
        self._tries = 0
        self._ack: tuple[int, Callable[[], None]] | None = None

    @property
    def under_way(self) -> bool:
        """Whether our re-INVITE waits for its final response."""
        return self._request is not None

    def make(self, sdp: bytes, now: float) -> None:
        """Offer `sdp`, as soon as that is possible, instead of what still waits."""
        self._waiting, self._refreshing, self._tries = sdp, False, 0
        self.proceed(now)

    def refresh(self, now: float) -> None:
        """Offer again what was agreed on, unless an offer is on its way already."""
        if self._request is None and self._waiting is None and self._usage.local_sdp:
            self._waiting, self._refreshing, self._tries = self._usage.local_sdp, True, 0
            self.proceed(now)

    def proceed(self, now: float) -> None:
        """Send what waits if nothing is in the way."""
        usage = self._usage
        dialog = usage.dialog
        if self._waiting is None or self._request is not None or _RETRY in usage.alarms:
            return
        if dialog is None or not usage.may_offer or not dialog.offers.take(Step.OFFER_SENT):
            return
        self._sent, self._waiting = self._waiting, None
        self._tries += 1
        self._request = OwnRequest(
            usage,
            dialog,
            "INVITE",
            now,
            headers=(("Contact", usage.contact), ALLOW, SUPPORTED, *usage.session.asks()),
            body=self._sent,
            content_type=SDP,
            on_final=self._on_final,
            on_provisional=self._on_provisional,
        )

    def close(self, now: float) -> None:
        """The call is over."""
        self._waiting = None
        if self._request is not None:
            self._request.delivery.leave(now)
            self._request = None

    # --- responses ------------------------------------------------------------------------------------

    def _on_provisional(self, now: float) -> None:
        if self._request is not None:
            self._usage.alarms.set(_SILENCE, now + GIVE_UP, self._on_silence)

    def _on_silence(self, now: float) -> None:
        if self._request is not None:
            self._usage.layer.cancel(self._request.delivery, lambda *_: None, now)
            self._failed(408, "no final response", now)

    def _on_final(self, response: Response, now: float) -> None:
        if response.status < 300:
            self._on_success(response, now)
        elif self._request is not None:
            self._request = None
            self._usage.alarms.clear(_SILENCE)
            self._on_failure(response, now)

    def _on_success(self, response: Response, now: float) -> None:
        usage, dialog = self._usage, self._usage.dialog
        if self._ack is not None and self._ack[0] == response.cseq[0]:
            self._ack[1]()  # our ACK was lost
            return
        if self._request is None or dialog is None:
            return  # the call is over
        invite, self._request = self._request.delivery.request, None
        usage.alarms.clear(_SILENCE)
        try:
            dialog.refresh(response)
            sdp = sdp_of(response)
        except RemoteProtocolError as error:
            log.debug("- %s: useless 2xx to re-INVITE: %s", usage.call_id, error)
            sdp = None
        self._ack = (response.cseq[0], usage.acknowledge(dialog, invite, now))
        dialog.offers.take(Step.ANSWER_RECEIVED)
        usage.session.agreed(response, now)
        usage.local_sdp = self._sent
        news = sdp is not None and sdp != usage.remote_sdp
        usage.remote_sdp = sdp or usage.remote_sdp
        if news or not self._refreshing:
            usage.emit(OfferAnswered(sdp))
        self.proceed(now)

    def _on_failure(self, response: Response, now: float) -> None:
        usage = self._usage
        assert usage.dialog is not None
        usage.dialog.offers.take(Step.REFUSED)
        pause = self._pause(response) if self._tries < MAX_TRIES else None
        if pause is None:
            self._failed(response.status, printable(response.reason), now)
            return
        if self._waiting is None:  # otherwise there is something newer to offer
            self._waiting = self._sent
        if pause > 0:
            usage.alarms.set(_RETRY, now + pause, self.proceed)
        else:
            self.proceed(now)

    def _pause(self, response: Response) -> float | None:
        """Seconds until the offer may be repeated; None if that is useless."""
        usage = self._usage
        if response.status == 491:
            # §14.1: who made the Call-ID waits longer, so that the two don't collide again.
            tens = int(usage.layer.tokens(4), 36)
            return tens % 200 / 100 if usage.inbound else 2.1 + tens % 191 / 100
        if response.status == 422:
            return 0.0 if usage.session.too_brief(response) else None
        after = (response.headers.get("retry-after") or "").split(";")[0].split("(")[0].strip()
        if response.status in (500, 503) and is_number(after, 3):
            return float(after) if float(after) <= _LONGEST_RETRY else None
        return None

    def _failed(self, status: int, reason: str, now: float) -> None:
        usage = self._usage
        if self._request is not None:
            self._request.delivery.leave(now)
            self._request = None
        if self._refreshing:
            usage.session.refused(status, now)
        else:
            usage.emit(OfferRefused(status, reason))
        if status in (408, 481):  # §14.1: the dialog is gone
            usage.end("timeout" if status == 408 else "peer", f"re-INVITE failed: {status} {reason}", now)
        else:
            self.proceed(now)
