"""A call that came to us (RFC 3261 §13.3)."""

from collections.abc import Iterable

from active_call.sip.body import sdp_of
from active_call.sip.dialog import Dialog
from active_call.sip.layer import log
from active_call.sip.message import Request
from active_call.sip.transaction import ServerTransaction
from active_call.sip.uri import SipUri
from active_call.sip.usage import SUPPORTED, Core, Usage, UsageState, usable_headers

_UNANSWERED = (UsageState.CALLING, UsageState.EARLY)


class InboundUsage(Usage):
    """We are the server of the INVITE."""

    inbound = True

    def __init__(
        self, core: Core, request: Request, transaction: ServerTransaction, source: tuple[str, int], tag: str
    ) -> None:
        """Raises RemoteProtocolError if no dialog can be made from `request`, or its body is no SDP."""
        super().__init__(core, request.call_id, source)
        self.request = request
        self.remote_sdp = sdp_of(request)
        self.dialog = Dialog.of_invite(request, tag, source)
        self.dialog.destination()  # refuse now what could not be reached later
        self._invite = transaction
        transaction.on_cancel = self.cancel
        self._own_contact(SipUri.parse(request.uri).user or "")
        self._add_dialog(self.dialog)

    def trying(self, now: float) -> None:
        """100: the INVITE has arrived."""
        self._respond(self._invite, 100, now)

    def ring(self, now: float) -> None:
        """180."""
        self._provisional(180, b"", now)

    def progress(self, sdp: bytes, now: float) -> None:
        """183 with our answer: early media."""
        self._provisional(183, sdp, now)

    def _provisional(self, status: int, sdp: bytes, now: float) -> None:
        if self.state in _UNANSWERED:
            self._set_state(UsageState.EARLY)
            self._respond(self._invite, status, now, sdp=sdp)

    def accept(self, sdp: bytes, now: float) -> None:
        """200 with our answer, repeated until the ACK comes."""
        if self.state not in _UNANSWERED:
            log.debug("- %s: too late to accept", self.call_id)
            return
        self._set_state(UsageState.CONFIRMED)
        self._await_ack(self._invite, now, initial=True)
        self._respond(self._invite, 200, now, headers=(SUPPORTED,), sdp=sdp)

    def reject(self, status: int, reason: str, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """A final failure."""
        if self.state in _UNANSWERED:
            fields = usable_headers(headers)
            self._respond(self._invite, status, now, reason=reason, headers=fields)
            self._finish("local", f"rejected with {status} {reason}".rstrip(), now)

    def hangup(self, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """BYE, or 480 if the call was not answered."""
        if self.state in _UNANSWERED:
            self.reject(480, "", now, headers)
        else:
            super().hangup(now, headers)

    def cancel(self, now: float) -> None:
        """The caller gave up (§9.2)."""
        if self.state in _UNANSWERED:
            self._respond(self._invite, 487, now)
            self._finish("canceled", "the caller gave up before the answer", now)

    def _peer_left(self, request: Request, now: float) -> None:
        # A BYE may also end an early dialog; the INVITE then still wants an answer (§15.1.2).
        if self.state in _UNANSWERED:
            self.cancel(now)
        else:
            super()._peer_left(request, now)
