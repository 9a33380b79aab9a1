"""A call that came to us (RFC 3261 §13.3)."""

import logging
from collections.abc import Iterable

from active_call.core.digits import is_number
from active_call.core.errors import RemoteProtocolError
from active_call.sip.dialogs.core import Core
from active_call.sip.dialogs.dialog import Dialog
from active_call.sip.dialogs.offers import Step
from active_call.sip.dialogs.reliable import ReliableResponses
from active_call.sip.dialogs.replaces import Replaces
from active_call.sip.dialogs.session_timer import SessionTimer
from active_call.sip.dialogs.usage import Usage, UsageState, with_reason
from active_call.sip.hop import Hop
from active_call.sip.messages.body import sdp_of
from active_call.sip.messages.custom_headers import usable_headers
from active_call.sip.messages.message import Request
from active_call.sip.messages.uri import SipUri, tel_number
from active_call.sip.transactions.transaction import ServerTransaction

log = logging.getLogger(__name__)

_UNANSWERED = (UsageState.CALLING, UsageState.EARLY)
_GAVE_UP = "the caller gave up before the answer"
_EXTEND_SECONDS = 60.0
"""Between provisional responses, so that no proxy takes the call for dead (§13.3.1.1)."""


class InboundUsage(Usage):
    """We are the server of the INVITE."""

    inbound = True

    def __init__(
        self, core: Core, request: Request, transaction: ServerTransaction, source: Hop, tag: str
    ) -> None:
        """Raises RemoteProtocolError if no call can be made from `request`; the status says why."""
        super().__init__(core, request.call_id, source)
        self.request = request
        self.remote_sdp = sdp_of(request)
        SessionTimer.check(request)
        self.replaces = replaced_by(core, request)
        self.dialog = Dialog.of_invite(request, tag, source)
        self.dialog.destination()  # refuse now what could not be reached later
        self.dialog.offers.take(Step.OFFER_RECEIVED if self.remote_sdp is not None else Step.OFFER_SENT)
        self.session.note(request)
        self._invite = transaction
        self._accepted: bytes | None = None
        self._described = False
        """Whether a reliable response had a description: then the 200 has none."""
        self._reliable = ReliableResponses(self, transaction, self._no_prack)
        transaction.on_cancel = self._canceled
        number = tel_number(request.uri)
        uri = SipUri.parse(request.uri) if number is None else SipUri("", number)
        self.contact = self._own_contact(uri.user or "", source, sips=uri.scheme == "sips")
        self._add_dialog(self.dialog)

    def trying(self, now: float) -> None:
        """100: the INVITE has arrived."""
        self.respond(self._invite, 100, now)
        seconds = self.request.headers.get("expires") or ""
        if is_number(seconds, 9) and int(seconds):
            self.alarms.set("expires", now + int(seconds), self._expired)

    def ring(self, now: float) -> None:
        """180."""
        self._provisional(180, b"", now)

    def progress(self, sdp: bytes, now: float) -> None:
        """183 with our answer: early media."""
        self.local_sdp = sdp
        self._provisional(183, sdp, now)

    def _provisional(self, status: int, sdp: bytes, now: float) -> None:
        if self.state not in _UNANSWERED or self._accepted is not None:
            return
        self._set_state(UsageState.EARLY)
        if self._reliable.wanted(sdp):
            self._reliable.send(status, sdp, now)
            if sdp:
                assert self.dialog is not None
                self._described = True
                self.dialog.offers.take(Step.ANSWER_SENT)
        else:
            self.respond(self._invite, status, now, body=sdp)
        # What a reliable response has described is not described again (RFC 6337 §3.1.1).
        again = b"" if self._described else sdp
        self.alarms.set("extend", now + _EXTEND_SECONDS, lambda at: self._provisional(status, again, at))

    def accept(self, sdp: bytes, now: float) -> None:
        """200 with our answer, or our offer if there was none; repeated until the ACK comes.

        It waits for the PRACK of a description that was sent before (RFC 3262 §3).
        """
        if self.state not in _UNANSWERED:
            log.debug("- %s: too late to accept", self.call_id)
            return
        self._accepted = sdp
        if self._reliable.describing:
            self._reliable.then(self._succeed)
        else:
            self._succeed(now)

    def _succeed(self, now: float) -> None:
        assert self.dialog is not None
        assert self._accepted is not None
        self._reliable.stop()
        sdp, offers = self._accepted, self.dialog.offers
        if self._described:
            sdp = b""  # PRACK or UPDATE may have changed what was said (RFC 6337 §3.1.1)
        else:
            offers.take(Step.ANSWER_SENT)
            self.local_sdp = sdp
        self._set_state(UsageState.CONFIRMED)
        self.pending_ack.start(self._invite, now, initial=True)
        self.respond(self._invite, 200, now, headers=self.session.agree(self.request, now), body=sdp)

    def reject(self, status: int, reason: str, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """A final failure."""
        if self.state in _UNANSWERED:
            self._reliable.stop()
            self.respond(self._invite, status, now, reason=reason, headers=usable_headers(headers))
            self._finish("local", f"rejected with {status} {reason}".rstrip(), now)

    def hangup(self, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """BYE, or 480 if the call was not answered."""
        if self.state in _UNANSWERED:
            self.reject(480, "", now, headers)
        else:
            super().hangup(now, headers)

    def _canceled(self, request: Request, now: float) -> None:
        """CANCEL, or BYE before the answer (§9.2, §15.1.2)."""
        if self.state in _UNANSWERED:
            self._reliable.stop()
            self.respond(self._invite, 487, now)
            self._finish("canceled", with_reason(_GAVE_UP, request), now)

    def _expired(self, now: float) -> None:
        """Nobody has answered in the time that the caller gave (§13.3.1)."""
        if self.state in _UNANSWERED and self._accepted is None:
            self._reliable.stop()
            self.respond(self._invite, 487, now)
            self._finish("canceled", f"{_GAVE_UP}, as its INVITE said (Expires)", now)

    def _peer_left(self, request: Request, now: float) -> None:
        if self.state in _UNANSWERED:
            self._canceled(request, now)
        else:
            super()._peer_left(request, now)

    # --- reliable responses ---------------------------------------------------------------------------

    def _receive_prack(
        self, request: Request, dialog: Dialog, transaction: ServerTransaction, now: float
    ) -> None:
        try:
            sdp = sdp_of(request)
        except RemoteProtocolError as error:
            self.refuse(transaction, error, now)
            return
        if self._reliable.acknowledged(request, now) is None:
            super()._receive_prack(request, dialog, transaction, now)
            return
        if sdp is None:
            self.respond(transaction, 200, now)
        elif dialog.offers.take(Step.ANSWER_RECEIVED):
            self.remote_sdp = sdp
            self.respond(transaction, 200, now)
        elif dialog.offers.may(Step.OFFER_RECEIVED):
            self.remote_offer.open(sdp, dialog, transaction)
        else:
            self.respond(transaction, 400, now, reason="an offer is open")
        self._reliable.proceed(now)

    def _no_prack(self, now: float) -> None:
        self.reject(504, "no PRACK came", now)


def replaced_by(core: Core, request: Request) -> Usage | None:
    """The call of ours that `request` wants to take over. Raises RemoteProtocolError (RFC 3891 §3)."""
    replaces = Replaces.of(request.headers)
    if replaces is None:
        return None
    usage = core.dialogs.get(replaces.dialog_id)
    if usage is None and replaces.dialog_id in core.past or usage is not None and usage.ending:
        raise RemoteProtocolError("the call to be replaced is over", 603)
    if usage is None or (usage.inbound and not usage.answered):
        raise RemoteProtocolError("there is no call to be replaced", 481)
    if replaces.early_only and usage.answered:
        raise RemoteProtocolError("the call to be replaced is answered already", 486)
    return usage
