"""An INVITE dialog usage: what both directions of a call have in common (RFC 3261 §12-15, RFC 5057).

    calling ──1xx──► early ──2xx──► confirmed ──BYE──► ending ──final response──► ended
       └──────────── failure, CANCEL, BYE of the peer ────────────────────────────►┘

`ending` means that we want it over and wait for what the protocol still owes: the answer to our BYE or CANCEL,
or the ACK without which no BYE may be sent.

What goes on within the dialog has parts of its own: the peer's offers, ours, the session timer, transfers.
"""

import logging
import weakref
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from active_call.core.errors import LocalProtocolError, RemoteProtocolError
from active_call.sip.dialogs.core import Core
from active_call.sip.dialogs.dialog import Dialog
from active_call.sip.dialogs.local_offer import LocalOffer
from active_call.sip.dialogs.own_request import OwnRequest
from active_call.sip.dialogs.pending_ack import PendingAck
from active_call.sip.dialogs.refer import ReferNotifier, ReferSubscriber
from active_call.sip.dialogs.refresh import SessionRefresh
from active_call.sip.dialogs.remote_offer import RemoteOffer
from active_call.sip.events import (
    Acknowledged,
    Ended,
    InfoReceived,
    MessageAnswered,
    MessageReceived,
    SipEvent,
)
from active_call.sip.hop import Hop
from active_call.sip.messages.auth import Authenticator, Credentials
from active_call.sip.messages.body import SDP
from active_call.sip.messages.capabilities import ACCEPT, ALLOW, SUPPORTED, refusal_headers
from active_call.sip.messages.custom_headers import checked_headers, explained, usable_headers
from active_call.sip.messages.grammar import printable, quote
from active_call.sip.messages.message import Request, Response, make_response
from active_call.sip.messages.uri import bracketed, contact
from active_call.sip.transactions.alarms import Alarms
from active_call.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from active_call.sip.call import SipCall

log = logging.getLogger(__name__)

EndedBy = Literal["peer", "canceled", "timeout", "local"]


class UsageState(StrEnum):
    """Where a call stands as SIP sees it."""

    CALLING = "calling"
    EARLY = "early"
    CONFIRMED = "confirmed"
    ENDING = "ending"
    ENDED = "ended"


TRANSITIONS: Mapping[UsageState, frozenset[UsageState]] = {
    UsageState.CALLING: frozenset(
        {UsageState.EARLY, UsageState.CONFIRMED, UsageState.ENDING, UsageState.ENDED}
    ),
    UsageState.EARLY: frozenset({UsageState.CONFIRMED, UsageState.ENDING, UsageState.ENDED}),
    UsageState.CONFIRMED: frozenset({UsageState.ENDING, UsageState.ENDED}),
    UsageState.ENDING: frozenset({UsageState.ENDED}),
    UsageState.ENDED: frozenset(),
}


class Usage:
    """One call's signalling, without I/O. `InboundUsage` and `OutboundUsage` add how it starts."""

    inbound: bool
    request: Request
    """The INVITE that began it."""
    replaces: "Usage | None" = None
    """The call that it takes over."""
    handle: "weakref.ref[SipCall] | None" = None
    """What its owner has in hand, once there is one."""

    def __init__(self, core: Core, call_id: str, peer: Hop, credentials: Credentials | None = None) -> None:
        self.call_id = call_id
        self.peer = peer
        self.state = UsageState.CALLING
        self.dialog: Dialog | None = None
        self.local_sdp = b""
        self.remote_sdp: bytes | None = None
        self.contact = ""
        self.core = core
        self.layer = core.layer
        self.alarms = Alarms(core.layer.timers)
        self.auth = Authenticator(credentials, core.layer.tokens)
        self.session = SessionRefresh(self)
        self.remote_offer = RemoteOffer(self)
        self.local_offer = LocalOffer(self)
        self.pending_ack = PendingAck(self)
        self.transfer_asked = ReferNotifier(self)
        self.transfer = ReferSubscriber(self)
        self._dialogs: dict[str, Dialog] = {}
        self._bye_headers: tuple[tuple[str, str], ...] = ()
        self._bye_sent = False
        self._why: tuple[EndedBy, str] = ("local", "hung up")

    @property
    def call(self) -> "SipCall | None":
        """The owner's handle, if there is one and somebody still has it."""
        return self.handle() if self.handle is not None else None

    # --- where it stands ------------------------------------------------------------------------------

    @property
    def answered(self) -> bool:
        """Whether the call is going on."""
        return self.state is UsageState.CONFIRMED

    @property
    def ending(self) -> bool:
        """Whether we have hung up, or it is over."""
        return self.state in (UsageState.ENDING, UsageState.ENDED)

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state is UsageState.ENDED

    @property
    def may_offer(self) -> bool:
        """Whether we may send a re-INVITE: no other INVITE is under way in either direction (§14.1)."""
        return self.answered and not self.pending_ack.waiting and not self.remote_offer.inviting

    def may_renegotiate(self, *, invite: bool) -> bool:
        """Whether the peer may send a re-INVITE, or an UPDATE."""
        if self.state is UsageState.ENDING:
            return False
        return not invite or (self.answered and not self.local_offer.under_way)

    # --- commands -------------------------------------------------------------------------------------

    def hangup(self, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """End the call in the way that fits its state; harmless if it is over."""
        if not self.answered:
            return
        self._bye_headers = usable_headers(headers)
        self._set_state(UsageState.ENDING)
        if not self.pending_ack.waiting:
            self._send_bye(now)
        # Otherwise the ACK must come first, or be given up on (§15).

    def end(self, by: EndedBy, words: str, now: float) -> None:
        """End the call because it can't go on: BYE, without waiting for what becomes of it."""
        if self.over:
            return
        if self.answered:
            self._why = (by, words)
            self._bye_headers = (("Reason", f"SIP;cause=408;text={quote(words)}"),)
            self._set_state(UsageState.ENDING)
        if self.dialog is not None and not self._bye_sent:
            self._send_bye(now)
        self._finish(*self._why, now)

    def say(
        self, method: str, body: bytes, content_type: str, headers: Iterable[tuple[str, str]], now: float
    ) -> None:
        """MESSAGE or INFO; `MessageAnswered` follows. Raises LocalProtocolError if a header can't be set."""
        fields = checked_headers(headers)
        if self.dialog is None or self.ending:
            self.emit(MessageAnswered(method, 481, "there is no dialog"))
            return

        def answered(response: Response, _: float) -> None:
            self.emit(MessageAnswered(method, response.status, printable(response.reason)))

        OwnRequest(
            self,
            self.dialog,
            method,
            now,
            headers=fields,
            body=body,
            content_type=content_type,
            on_final=answered,
        )

    # --- requests of the peer -------------------------------------------------------------------------

    def receive_request(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """A request within the dialog, other than ACK and CANCEL."""
        dialog = self._dialogs[request.from_.tag]
        number = request.cseq[0]
        if number < dialog.remote_cseq:
            self.respond(transaction, 500, now, reason="CSeq is lower than before")
            return
        dialog.remote_cseq = number
        dialog.follow(transaction.destination)
        match request.method:
            case "BYE":
                self.respond(transaction, 200, now)
                self._peer_left(request, now)
            case "INVITE" | "UPDATE":
                self.remote_offer.receive(request, dialog, transaction, now)
            case "PRACK":
                self._receive_prack(request, dialog, transaction, now)
            case "INFO":
                self.respond(transaction, 200, now)
                self.emit(InfoReceived(printable(request.headers.get("content-type") or ""), request.body))
            case "MESSAGE":
                self.respond(transaction, 200, now)
                self.emit(MessageReceived(printable(request.headers.get("content-type") or ""), request.body))
            case "REFER":
                self.transfer_asked.receive(request, dialog, transaction, now)
            case "NOTIFY":
                self.transfer.notified(request, transaction, now)
            case "OPTIONS":
                self.respond(transaction, 200, now, headers=(ACCEPT, ALLOW, SUPPORTED))
            case _:
                self.respond(transaction, 405, now)

    def _receive_prack(
        self, request: Request, dialog: Dialog, transaction: ServerTransaction, now: float
    ) -> None:
        self.respond(transaction, 481, now, reason="no such provisional response")

    def receive_ack(self, request: Request, now: float) -> None:
        """The ACK of a 2xx."""
        self.pending_ack.receive(request, now)

    def acknowledged(self, now: float, *, news: bool) -> None:
        """The ACK has come; `news` if the owner waits for it."""
        if self.state is UsageState.ENDING:
            self._send_bye(now)
            return
        if news:
            self.emit(Acknowledged())
        self.local_offer.proceed(now)

    def _peer_left(self, request: Request, now: float) -> None:
        """BYE came."""
        if self.state is UsageState.ENDING:
            self._finish(*self._why, now)
        else:
            self._finish("peer", with_reason("BYE", request), now)

    # --- responses of ours ----------------------------------------------------------------------------

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        now: float,
        *,
        reason: str = "",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        """Answer a request of the peer's; a `body` is SDP."""
        request = transaction.request
        fields = []
        if request.method in ("INVITE", "UPDATE") and 100 < status < 300:
            fields = [("Contact", self.contact), ALLOW]
            if status >= 200:
                fields.append(SUPPORTED)
        if body:
            fields.append(("Content-Type", SDP))
        fields += headers
        if status >= 300:
            host = bracketed(self.layer.local(self.peer)[0])
            fields = explained(status, reason, host, (*fields, *refusal_headers(status)))
        fields.append(("Server", self.layer.user_agent))
        tag = self.dialog.local_tag if self.dialog is not None and status > 100 else ""
        response = make_response(request, status, reason, tag=tag, headers=fields, body=body)
        if status > 100 and "record-route" in request.headers:
            for value in request.headers.all("record-route"):
                response.headers.add("Record-Route", value)
        transaction.respond(response, now)

    def refuse(self, transaction: ServerTransaction, error: RemoteProtocolError, now: float) -> None:
        """Answer a request that is wrong."""
        self.respond(transaction, error.status, now, reason=str(error))

    # --- requests of ours -----------------------------------------------------------------------------

    def acknowledge(self, dialog: Dialog, invite: Request, now: float) -> Callable[[], None]:
        """ACK the 2xx to `invite` (§13.2.2.4); what is returned sends it again."""
        proof = ("Authorization", "Proxy-Authorization")
        headers = [one for one in invite.headers.fields if one[0] in proof]
        request = dialog.ack(invite.cseq[0], (*headers, ("User-Agent", self.layer.user_agent)))
        return self.layer.acknowledge(request, dialog.destination(), now)

    def _send_bye(self, now: float) -> None:
        assert self.dialog is not None
        self._bye_sent = True
        OwnRequest(self, self.dialog, "BYE", now, headers=self._bye_headers, on_final=self._on_bye_answered)

    def _on_bye_answered(self, _: Response, now: float) -> None:
        self._finish(*self._why, now)

    # --- life -----------------------------------------------------------------------------------------

    def emit(self, event: SipEvent) -> None:
        """Tell the owner, unless the call is over."""
        if not self.over:
            self.core.events.append((self, event))

    def _set_state(self, state: UsageState) -> None:
        if state is self.state:
            return
        if state not in TRANSITIONS[self.state]:
            raise LocalProtocolError(f"a call that is {self.state} can't become {state}")
        log.debug("- %s: %s -> %s", self.call_id, self.state, state)
        self.state = state

    def _add_dialog(self, dialog: Dialog) -> None:
        self._dialogs[dialog.remote_tag] = dialog
        self.core.dialogs[dialog.id] = self

    def _own_contact(self, user: str, hop: Hop, *, sips: bool) -> str:
        return contact(user, self.layer.local(hop), hop.transport, sips=sips)

    def _finish(self, by: EndedBy, reason: str, now: float) -> None:
        """The last thing that happens, once."""
        if self.over:
            return
        self.remote_offer.close(now)
        self.local_offer.close(now)
        self.transfer_asked.close()
        self.transfer.close()
        self.emit(Ended(by, reason))
        self._set_state(UsageState.ENDED)
        self.alarms.clear_all()
        self.replaces = None
        for dialog in self._dialogs.values():
            self.core.forget(dialog)


def with_reason(text: str, request: Request) -> str:
    """`text` and what BYE or CANCEL gives as Reason (RFC 3326)."""
    reason = request.headers.get("reason")
    return printable(f"{text} ({reason})") if reason else text
