"""An INVITE dialog usage: what both directions of a call have in common (RFC 3261 §12-15, RFC 5057).

    calling ──1xx──► early ──2xx──► confirmed ──BYE──► ending ──final response──► ended
       └──────────── failure, CANCEL, BYE of the peer ────────────────────────────►┘

`ending` means that we want it over and wait for what the protocol still owes: the answer to our BYE or CANCEL,
or the ACK without which no BYE may be sent.
"""

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from active_call.core.errors import LocalProtocolError, RemoteProtocolError
from active_call.sip.auth import Credentials, authorize, choose_challenge
from active_call.sip.body import SDP, sdp_of
from active_call.sip.dialog import Dialog, DialogId
from active_call.sip.events import Acknowledged, Ended, InfoReceived, OfferReceived, SipEvent
from active_call.sip.grammar import is_token, one_line, printable, quote
from active_call.sip.layer import TransactionLayer
from active_call.sip.message import Request, Response, make_response
from active_call.sip.timers import GIVE_UP, T1, T2
from active_call.sip.transaction import ServerTransaction
from active_call.sip.uri import bracketed

log = logging.getLogger(__name__)

ALLOW = ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE")
ACCEPT = ("Accept", SDP)
SUPPORTED = ("Supported", "")

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


@dataclass(eq=False)
class Core:
    """What all usages share."""

    layer: TransactionLayer
    dialogs: dict[DialogId, "Usage"] = field(default_factory=dict)
    events: "deque[tuple[Usage, SipEvent]]" = field(default_factory=deque)


@dataclass(slots=True)
class _Unacknowledged:
    """A 2xx of ours that is repeated until its ACK comes (§13.3.1.4)."""

    transaction: ServerTransaction
    offered: bool
    """Whether the peer's INVITE had an offer; otherwise the ACK brings its answer."""
    initial: bool
    interval: float = T1


class Usage:
    """One call's signalling, without I/O. `InboundUsage` and `OutboundUsage` add how it starts."""

    inbound: bool
    request: Request
    """The INVITE that began it."""

    def __init__(self, core: Core, call_id: str, peer: tuple[str, int]) -> None:
        self.call_id = call_id
        self.peer = peer
        self.state = UsageState.CALLING
        self.dialog: Dialog | None = None
        self.remote_sdp: bytes | None = None
        self.deadline: float | None = None
        self._core = core
        self._layer = core.layer
        self._dialogs: dict[str, Dialog] = {}
        self._contact = ""
        self._credentials: Credentials | None = None
        self._answered_realms: set[str] = set()
        self._alarms: dict[str, float] = {}
        self._unacknowledged: _Unacknowledged | None = None
        self._offer: ServerTransaction | None = None
        self._bye_headers: tuple[tuple[str, str], ...] = ()
        self._bye_sent = False
        self._why: tuple[EndedBy, str] = ("local", "hung up")

    # --- commands -------------------------------------------------------------------------------------

    def hangup(self, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """End the call in the way that fits its state; harmless if it is over."""
        if self.state is not UsageState.CONFIRMED:
            return
        self._bye_headers = usable_headers(headers)
        self._set_state(UsageState.ENDING)
        if self._unacknowledged is None:
            self._send_bye(now)
        # Otherwise the ACK must come first, or be given up on (§15).

    def answer_offer(self, sdp: bytes | None, status: int, reason: str, now: float) -> None:
        """Answer the re-INVITE or UPDATE that is open; too late if the peer has given up on it."""
        transaction, self._offer = self._offer, None
        if transaction is None:
            log.debug("- %s: no offer is open", self.call_id)
            return
        if self.state is UsageState.ENDING:
            status, reason = 487, ""  # we have hung up meanwhile
        if status >= 300:
            self._respond(transaction, status, now, reason=reason)
            return
        if transaction.request.method == "INVITE":
            self._await_ack(transaction, now, initial=False)
        self._respond(transaction, status, now, reason=reason, sdp=sdp or b"")

    # --- requests of the peer -------------------------------------------------------------------------

    def receive_request(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """A request within the dialog, other than ACK and CANCEL."""
        dialog = self._dialogs[request.from_.tag]
        number = request.cseq[0]
        if number < dialog.remote_cseq:
            self._respond(transaction, 500, now, reason="CSeq is lower than before")
            return
        dialog.remote_cseq = number
        match request.method:
            case "BYE":
                self._respond(transaction, 200, now)
                self._peer_left(request, now)
            case "INVITE" | "UPDATE":
                self._receive_offer(request, dialog, transaction, now)
            case "INFO":
                self._respond(transaction, 200, now)
                if self.state is not UsageState.ENDED:
                    self._emit(InfoReceived(printable(request.headers.get("content-type") or ""), request.body))
            case "OPTIONS":
                self._respond(transaction, 200, now, headers=(ACCEPT, ALLOW, SUPPORTED))
            case _:
                self._respond(transaction, 405, now, headers=(ALLOW,))

    def receive_ack(self, request: Request, now: float) -> None:
        """The ACK of a 2xx."""
        pending = self._unacknowledged
        if pending is None or pending.transaction.request.cseq[0] != request.cseq[0]:
            return
        self._unacknowledged = None
        self._disarm("repeat", "give up")
        if not pending.offered and request.body:
            try:
                self.remote_sdp = sdp_of(request)
            except RemoteProtocolError as error:
                log.debug("- %s: useless body in ACK: %s", self.call_id, error)
        if self.state is UsageState.ENDING:
            self._send_bye(now)
        elif pending.initial or not pending.offered:
            self._emit(Acknowledged())

    def _receive_offer(
        self, request: Request, dialog: Dialog, transaction: ServerTransaction, now: float
    ) -> None:
        invite = request.method == "INVITE"
        if self.state is UsageState.ENDING or (invite and self.state is not UsageState.CONFIRMED):
            self._respond(transaction, 491, now)
            return
        pending = self._unacknowledged
        if self._offer is not None:
            # §14.2, RFC 3311 §5.2: one offer at a time; come back soon.
            self._respond(transaction, 500, now, reason="an offer is open", headers=(("Retry-After", "1"),))
            return
        if pending is not None and not pending.offered:
            self._respond(transaction, 491, now)
            return
        try:
            sdp = sdp_of(request)
            dialog.refresh(request)
        except RemoteProtocolError as error:
            extra = (ACCEPT,) if error.status == 415 else ()
            self._respond(transaction, error.status, now, reason=str(error), headers=extra)
            return
        if sdp is None and not invite:
            self._respond(transaction, 200, now)  # only refreshes the target
            return
        if self.inbound and self.state is not UsageState.CONFIRMED:
            # RFC 3311 §5.2: the offer in the INVITE is still to be answered.
            self._respond(transaction, 500, now, reason="an offer is open", headers=(("Retry-After", "1"),))
            return
        if pending is not None:
            # Who sends a re-INVITE has got our 2xx: its ACK was lost (RFC 5407 §3.1.5).
            self._unacknowledged = None
            self._disarm("repeat", "give up")
        if sdp is not None:
            self.remote_sdp = sdp
        self._offer = transaction
        transaction.on_cancel = self._offer_canceled
        self._emit(OfferReceived(sdp))

    def _offer_canceled(self, now: float) -> None:
        if self._offer is not None:
            self._respond(self._offer, 487, now)
            self._offer = None

    def _peer_left(self, request: Request, now: float) -> None:
        """BYE came."""
        reason = request.headers.get("reason")
        if self.state is UsageState.ENDING:
            self._finish(*self._why, now)
        else:
            self._finish("peer", printable(f"BYE ({reason})") if reason else "BYE", now)

    # --- responses of ours ----------------------------------------------------------------------------

    def _respond(
        self,
        transaction: ServerTransaction,
        status: int,
        now: float,
        *,
        reason: str = "",
        headers: Iterable[tuple[str, str]] = (),
        sdp: bytes = b"",
    ) -> None:
        fields = []
        if transaction.request.method in ("INVITE", "UPDATE") and 100 < status < 300:
            fields = [("Contact", self._contact), ALLOW]
        if sdp:
            fields.append(("Content-Type", SDP))
        fields += headers
        fields.append(("Server", self._layer.user_agent))
        tag = self.dialog.local_tag if self.dialog is not None and status > 100 else ""
        response = make_response(transaction.request, status, reason, tag=tag, headers=fields, body=sdp)
        if status > 100 and "record-route" in transaction.request.headers:
            for value in transaction.request.headers.all("record-route"):
                response.headers.add("Record-Route", value)
        transaction.respond(response, now)

    def _await_ack(self, transaction: ServerTransaction, now: float, *, initial: bool) -> None:
        offered = bool(transaction.request.body.strip())
        self._unacknowledged = _Unacknowledged(transaction, offered, initial)
        self._arm(now, repeat=T1, **{"give up": GIVE_UP})

    # --- requests of ours -----------------------------------------------------------------------------

    def _send_bye(self, now: float) -> None:
        assert self.dialog is not None
        self._bye_sent = True
        headers = (*self._bye_headers, ("User-Agent", self._layer.user_agent))
        request = self.dialog.request("BYE", headers)
        self._layer.request(request, self.dialog.destination(), self._on_bye_response, now)

    def _on_bye_response(self, response: Response, now: float) -> None:
        if response.status < 200 or self.state is UsageState.ENDED:
            return
        assert self.dialog is not None
        authorization = self._authorize(response, "BYE", str(self.dialog.remote_target))
        if authorization is not None:
            self._bye_headers += (authorization,)
            self._send_bye(now)
        else:
            self._finish(*self._why, now)

    def _authorize(self, response: Response, method: str, uri: str) -> tuple[str, str] | None:
        """The header that answers a 401 or 407; None if there is no answer, or it was given already (§22.2)."""
        if response.status not in (401, 407) or self._credentials is None:
            return None
        proxy = response.status == 407
        values = response.headers.all("proxy-authenticate" if proxy else "www-authenticate")
        challenge = choose_challenge(values, self._credentials.realm)
        key = f"{method} {response.status} {challenge.realm}" if challenge is not None else ""
        if challenge is None or key in self._answered_realms:
            return None
        self._answered_realms.add(key)
        value = authorize(challenge, self._credentials, method, uri, cnonce=self._layer.tokens(16))
        return ("Proxy-Authorization" if proxy else "Authorization", value)

    # --- time -----------------------------------------------------------------------------------------

    def handle_timer(self, now: float) -> None:
        """The next alarm has come."""
        for name in [name for name, when in self._alarms.items() if when <= now]:
            self._alarms.pop(name, None)
            self._on_alarm(name, now)
        self._set_deadline()

    def _on_alarm(self, name: str, now: float) -> None:
        pending = self._unacknowledged
        if pending is None:
            return
        if name == "repeat":
            pending.transaction.repeat_success()
            pending.interval = min(2 * pending.interval, T2)
            self._arm(now, repeat=pending.interval)
        else:
            self._unacknowledged = None
            self._disarm("repeat")
            if self.state is UsageState.CONFIRMED:
                self._why = ("timeout", "no ACK came")
                self._set_state(UsageState.ENDING)
                self._bye_headers = (("Reason", f"SIP;cause=408;text={quote('no ACK')}"),)
            self._send_bye(now)
            self._finish(*self._why, now)

    def _arm(self, now: float, **alarms: float) -> None:
        for name, seconds in alarms.items():
            self._alarms[name] = now + seconds
        self._set_deadline()

    def _disarm(self, *names: str) -> None:
        for name in names:
            self._alarms.pop(name, None)
        self._set_deadline()

    def _set_deadline(self) -> None:
        deadline = min(self._alarms.values(), default=None)
        if deadline != self.deadline:
            self.deadline = deadline
            self._layer.timers.schedule(self)

    # --- life -----------------------------------------------------------------------------------------

    def _set_state(self, state: UsageState) -> None:
        if state is self.state:
            return
        if state not in TRANSITIONS[self.state]:
            raise LocalProtocolError(f"a call that is {self.state} can't become {state}")
        log.debug("- %s: %s -> %s", self.call_id, self.state, state)
        self.state = state

    def _add_dialog(self, dialog: Dialog) -> None:
        self._dialogs[dialog.remote_tag] = dialog
        self._core.dialogs[dialog.id] = self

    def _own_contact(self, user: str) -> None:
        host, port = self._layer.local(self.peer[0])
        user = f"{user}@" if user else ""
        self._contact = f"<sip:{user}{bracketed(host)}:{port}>"

    def _emit(self, event: SipEvent) -> None:
        self._core.events.append((self, event))

    def _finish(self, by: EndedBy, reason: str, now: float) -> None:
        """The last thing that happens, once."""
        if self.state is UsageState.ENDED:
            return
        self._set_state(UsageState.ENDED)
        self._alarms.clear()
        self._set_deadline()
        self._unacknowledged = None
        if self._offer is not None:
            self._respond(self._offer, 487, now)
            self._offer = None
        for dialog in self._dialogs.values():
            self._core.dialogs.pop(dialog.id, None)
        self._emit(Ended(by, reason))


_PROTOCOL_HEADERS = """
via from to call-id cseq contact route record-route content-length content-type max-forwards authorization
proxy-authorization
"""
_OURS = frozenset(_PROTOCOL_HEADERS.split())


def checked_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Headers that the owner adds to a message, fit to be sent; those that carry the protocol are ours alone.

    Raises LocalProtocolError naming the header.
    """
    return tuple(_checked(name, value) for name, value in headers)


def usable_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The same for the end of a call, which no header may prevent: the bad ones are left out and logged."""
    usable = []
    for name, value in headers:
        try:
            usable.append(_checked(name, value))
        except LocalProtocolError as error:
            log.warning("- left out: %s", error)
    return tuple(usable)


def _checked(name: str, value: str) -> tuple[str, str]:
    if not is_token(name):
        raise LocalProtocolError(f"{name!r} is no name for a SIP header")
    if name.lower() in _OURS:
        raise LocalProtocolError(f"the SIP header {name} can't be set")
    return (name, one_line(str(value)))
