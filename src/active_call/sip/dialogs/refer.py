"""Transfers by REFER and the NOTIFYs that tell how they go (RFC 3515, RFC 4488, RFC 6665)."""

import logging
import re
from typing import TYPE_CHECKING

from active_call.core.digits import is_number
from active_call.core.errors import LocalProtocolError, RemoteProtocolError
from active_call.core.owner import Owner
from active_call.sip.dialogs.dialog import Dialog
from active_call.sip.dialogs.own_request import Headers, OwnRequest
from active_call.sip.dialogs.replaces import without_replaces
from active_call.sip.events import ReferProgress, ReferReceived
from active_call.sip.messages.address import Address
from active_call.sip.messages.custom_headers import checked_headers
from active_call.sip.messages.grammar import one_line, parse_params, printable
from active_call.sip.messages.message import REASONS, Request, Response
from active_call.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from active_call.sip.dialogs.usage import Usage

log = logging.getLogger(__name__)

LIFETIME = 180.0
"""How long a subscription lives without news, in seconds."""
SIPFRAG = "message/sipfrag;version=2.0"
_STATUS_LINE = re.compile(rb"\s*SIP/2\.0 ([1-6][0-9]{2})(?: ([^\r\n]*))?")


class ReferNotifier:
    """The peer asked us to call somebody: one such subscription at a time."""

    _usage = Owner["Usage"]()

    def __init__(self, usage: "Usage") -> None:
        self._usage = usage
        self._dialog: Dialog | None = None
        self._id = ""
        self._silent = False
        self._sending = False
        self._next: tuple[int, str, bool] | None = None

    def receive(self, request: Request, dialog: Dialog, transaction: ServerTransaction, now: float) -> None:
        """REFER: 202 and the first NOTIFY, or a refusal."""
        usage = self._usage
        if self._dialog is not None or not usage.answered:
            words = "another transfer is under way" if self._dialog is not None else "the call is not answered"
            usage.respond(transaction, 491, now, reason=words)
            return
        try:
            event = refer_received(request)
        except RemoteProtocolError as error:
            usage.refuse(transaction, error, now)
            return
        # All but the first REFER in a dialog are told apart by their number (RFC 3515 §2.4.6).
        self._id = f";id={request.cseq[0]}" if self._id else " "
        self._dialog = dialog
        self._silent = (request.headers.get("refer-sub") or "").strip().lower().startswith("false")
        headers = (("Refer-Sub", "false"),) if self._silent else ()
        usage.respond(transaction, 202, now, headers=(("Contact", usage.contact), *headers))
        usage.alarms.set("refer expires", now + LIFETIME, self._expired)
        self.notify(100, "", now, final=False)
        usage.emit(event)

    def notify(self, status: int, reason: str, now: float, *, final: bool) -> None:
        """Tell the peer; nothing happens if it doesn't listen."""
        if self._dialog is None:
            log.debug("- %s: nobody waits for news of a transfer", self._usage.call_id)
            return
        if not self._silent and (self._next is None or not self._next[2]):
            self._next = (status, one_line(reason) or REASONS.get(status, ""), final)
            self._send(now)
        if final:
            self._usage.alarms.clear("refer expires")
            self._dialog = self._dialog if self._next is not None else None

    def close(self) -> None:
        """The call is over, and the subscription with it."""
        self._dialog = self._next = None

    def _send(self, now: float) -> None:
        """One NOTIFY after the other, so that they arrive in order; old news is skipped."""
        if self._next is None or self._sending or self._dialog is None:
            return
        (status, reason, final), self._next = self._next, None
        state = "terminated;reason=noresource" if final else f"active;expires={LIFETIME:.0f}"
        self._sending = True
        contact, event = ("Contact", self._usage.contact), ("Event", f"refer{self._id}".strip())
        OwnRequest(
            self._usage,
            self._dialog,
            "NOTIFY",
            now,
            headers=(contact, event, ("Subscription-State", state)),
            body=f"SIP/2.0 {status} {reason}\r\n".encode("utf-8", "surrogateescape"),
            content_type=SIPFRAG,
            on_final=lambda response, at: self._on_answer(response, final, at),
        )
        if final:
            self._dialog = None

    def _on_answer(self, response: Response, final: bool, now: float) -> None:
        self._sending = False
        if response.status >= 300 and not final:  # the peer has no such subscription (any more)
            self._next = self._dialog = None
            self._usage.alarms.clear("refer expires")
        else:
            self._send(now)

    def _expired(self, now: float) -> None:
        self.notify(408, "the transfer took too long", now, final=True)


def refer_received(request: Request) -> ReferReceived:
    """What a REFER asks for. Raises RemoteProtocolError."""
    values = request.headers.items("refer-to")
    if len(values) != 1:
        raise RemoteProtocolError("REFER needs exactly one Refer-To")
    try:
        address = Address.parse(values[0])
    except RemoteProtocolError as error:
        raise RemoteProtocolError(f"Refer-To: {error}") from None
    uri, replaces = without_replaces(address.uri)
    scheme = uri.partition(":")[0].lower()
    if scheme not in ("sip", "sips", "tel"):
        raise RemoteProtocolError(f"Refer-To: can't call {scheme[:20]} URIs", 416)
    method = re.search(r";method=([^;?]*)", uri, re.IGNORECASE)
    if method is not None and method.group(1).upper() != "INVITE":
        raise RemoteProtocolError(f"Refer-To: method {method.group(1)[:20]} is not supported")
    by = request.headers.get("referred-by")
    return ReferReceived(
        printable(uri), printable(by) if by else None, printable(replaces) if replaces else None
    )


class ReferSubscriber:
    """We asked the peer to call somebody: one such subscription at a time."""

    _usage = Owner["Usage"]()

    def __init__(self, usage: "Usage") -> None:
        self._usage = usage
        self._request: OwnRequest | None = None
        self._listening = False
        self._status = 408

    def send(self, refer_to: str, referred_by: str | None, headers: Headers, now: float) -> None:
        """REFER. Raises LocalProtocolError if one is under way or something can't be sent."""
        usage = self._usage
        if self._listening:
            raise LocalProtocolError("a transfer is under way")
        fields = [("Refer-To", _name_addr(refer_to, "Refer-To"))]
        if referred_by is not None:
            fields.append(("Referred-By", _name_addr(referred_by, "Referred-By")))
        fields += checked_headers(headers)
        if usage.dialog is None or not usage.answered:
            usage.emit(ReferProgress(481, "the call is not answered", True))
            return
        self._listening, self._status = True, 408
        contact = ("Contact", usage.contact)
        self._request = OwnRequest(
            usage, usage.dialog, "REFER", now, headers=(contact, *fields), on_final=self._on_answer
        )

    def close(self) -> None:
        """The call is over, and the subscription with it."""
        self._request, self._listening = None, False

    def _on_answer(self, response: Response, now: float) -> None:
        if not self._listening:
            return  # a NOTIFY was faster and said everything, or the call has ended meanwhile
        unwatched = (response.headers.get("refer-sub") or "").strip().lower().startswith("false")
        final = response.status >= 300 or unwatched
        self._tell(response.status, response.reason, final=final, now=now)

    def notified(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """A NOTIFY within the dialog."""
        usage = self._usage
        package, _, params = (request.headers.get("event") or "").partition(";")
        if package.strip().lower() != "refer":
            usage.respond(transaction, 489, now, headers=(("Allow-Events", "refer"),))
            return
        number = _id_of(params)
        if self._request is None or number not in (None, self._request.cseq):
            usage.respond(transaction, 481, now, reason="no such subscription")
            return
        usage.respond(transaction, 200, now)
        state = (request.headers.get("subscription-state") or "").strip().lower()
        terminated = state.startswith("terminated")
        found = _STATUS_LINE.match(request.body)
        if self._listening and (found is not None or terminated):
            status = int(found.group(1)) if found is not None else self._status
            reason = (found.group(2) or b"").decode("utf-8", "replace") if found is not None else state
            self._tell(status, reason, final=terminated or status >= 200, now=now)
        if terminated:
            self._request = None

    def _tell(self, status: int, reason: str, *, final: bool, now: float) -> None:
        self._status = status
        alarms = self._usage.alarms
        if final:
            self._listening = False
            alarms.clear("refer silent")
        else:
            alarms.set("refer silent", now + LIFETIME, self._on_silence)
        self._usage.emit(ReferProgress(status, printable(one_line(reason)), final))

    def _on_silence(self, now: float) -> None:
        self._request = None
        self._tell(408, "the peer never told how the transfer went", final=True, now=now)


def _name_addr(text: str, name: str) -> str:
    try:
        address = Address.parse(text if "<" in text else f"<{text}>")
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"{name}: {error}") from None
    return one_line(str(address))


def _id_of(params: str) -> int | None:
    try:
        text = parse_params(f";{params}" if params.strip() else "").get("id") or ""
    except RemoteProtocolError:
        return None
    return int(text) if is_number(text, 10) else None
