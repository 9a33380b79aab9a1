"""The peer's offers in a dialog: re-INVITE, UPDATE, PRACK (RFC 3261 §14.2, RFC 3311 §5.2, RFC 3262 §5)."""

import logging
from typing import TYPE_CHECKING

from active_call.core.errors import RemoteProtocolError
from active_call.core.owner import Owner
from active_call.sip.dialogs.dialog import Dialog
from active_call.sip.dialogs.offers import REFUSALS, Step
from active_call.sip.dialogs.session_timer import SessionTimer
from active_call.sip.events import OfferReceived
from active_call.sip.messages.body import sdp_of
from active_call.sip.messages.message import Request
from active_call.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from active_call.sip.dialogs.usage import Usage

log = logging.getLogger(__name__)

_SOON = ("Retry-After", "1")


class RemoteOffer:
    """At most one such request is open, waiting for the owner's answer."""

    _usage = Owner["Usage"]()

    def __init__(self, usage: "Usage") -> None:
        self._usage = usage
        self._open: tuple[ServerTransaction, Dialog] | None = None
        self._before: tuple[bytes | None, bytes | None] = None, None
        """The peer's description before the offer that is open, of the call and of the dialog."""

    @property
    def inviting(self) -> bool:
        """Whether a re-INVITE waits for its answer."""
        return self._open is not None and self._open[0].request.method == "INVITE"

    def receive(self, request: Request, dialog: Dialog, transaction: ServerTransaction, now: float) -> None:
        """A re-INVITE or UPDATE."""
        usage = self._usage
        invite = request.method == "INVITE"
        if not usage.may_renegotiate(invite=invite):
            if usage.inbound and not (usage.answered or usage.ending):
                words = "the INVITE before this one is not answered"  # §14.2
                usage.respond(transaction, 500, now, reason=words, headers=(_SOON,))
            else:
                usage.respond(transaction, 491, now)
            return
        try:
            sdp = sdp_of(request)
            SessionTimer.check(request)
            if sdp is None and not invite:
                dialog.refresh(request)
                usage.respond(transaction, 200, now, headers=usage.session.agree(request, now))
                return
            if self._open is not None or not dialog.offers.may(_step(sdp)):
                status = 500 if self._open is not None else REFUSALS[dialog.offers.open]
                retry = (_SOON,) if status == 500 else ()
                usage.respond(transaction, status, now, reason="an offer is open", headers=retry)
                return
            dialog.refresh(request)
        except RemoteProtocolError as error:
            usage.refuse(transaction, error, now)
            return
        if invite:
            # Who sends a re-INVITE has got our 2xx: its ACK was lost (RFC 5407 §3.1.5).
            usage.pending_ack.forget()
        self.open(sdp, dialog, transaction)

    def open(self, sdp: bytes | None, dialog: Dialog, transaction: ServerTransaction) -> None:
        """Let the owner answer `sdp`, or make an offer if there is none."""
        dialog.offers.take(_step(sdp))
        self._before = self._usage.remote_sdp, dialog.remote_sdp
        if sdp is not None:
            self._usage.remote_sdp = dialog.remote_sdp = sdp
        self._open = (transaction, dialog)
        transaction.on_cancel = self._canceled
        self._usage.emit(OfferReceived(sdp))

    @property
    def waits(self) -> bool:
        """Whether there is something to answer."""
        return self._open is not None

    def answer(self, sdp: bytes | None, status: int, reason: str, now: float) -> None:
        """The owner's answer; too late if the peer has given up on it."""
        usage = self._usage
        if self._open is None:
            log.debug("- %s: no offer is open", usage.call_id)
            return
        transaction, dialog = self._open
        if usage.ending:
            status, reason = 487, ""  # we have hung up meanwhile
        if status >= 300:
            self._refuse(status, reason, now)
        else:
            self._open = None
            request = transaction.request
            dialog.offers.take(Step.ANSWER_SENT)  # our offer, if the peer made none, stays open until the ACK
            usage.local_sdp = sdp or usage.local_sdp
            session = usage.session.agree(request, now) if request.method != "PRACK" else ()
            if request.method == "INVITE":
                usage.pending_ack.start(transaction, now, initial=False)
            usage.respond(transaction, status, now, reason=reason, headers=session, body=sdp or b"")
        usage.local_offer.proceed(now)

    def close(self, now: float) -> None:
        """The call is over: what is open is answered."""
        if self._open is not None:
            self._refuse(487, "", now)

    def _canceled(self, _: Request, now: float) -> None:
        if self._open is not None:
            self._refuse(487, "", now)
            self._usage.local_offer.proceed(now)

    def _refuse(self, status: int, reason: str, now: float) -> None:
        assert self._open is not None
        (transaction, dialog), self._open = self._open, None
        dialog.offers.take(Step.REFUSED)
        self._usage.remote_sdp, dialog.remote_sdp = self._before
        self._usage.respond(transaction, status, now, reason=reason)


def _step(sdp: bytes | None) -> Step:
    return Step.OFFER_RECEIVED if sdp is not None else Step.OFFER_SENT
