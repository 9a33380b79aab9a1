"""A call that we make (RFC 3261 §13.2): one INVITE after the other until one is answered.

Each failure that can be mended leads to another INVITE: credentials (401, 407), a longer session (422), another
target (3xx). Each fork of an INVITE has an early dialog of its own; the first that answers gets the call.
"""

import logging
import re
from collections.abc import Callable, Iterable

from active_call.core.digits import is_number
from active_call.core.errors import LocalProtocolError, RemoteProtocolError
from active_call.sip.dialogs.core import Core
from active_call.sip.dialogs.dialog import MAX_FORWARDS, Dialog, check_routes
from active_call.sip.dialogs.offers import Offers, Open, Step
from active_call.sip.dialogs.own_request import OwnRequest
from active_call.sip.dialogs.redirect import Targets
from active_call.sip.dialogs.usage import EndedBy, Usage, UsageState, with_reason
from active_call.sip.events import Answered, Rejected, Ringing
from active_call.sip.hop import Hop, Target, is_public
from active_call.sip.messages.addressing import (
    ANONYMOUS,
    caller_address,
    contact_value,
    hides_caller,
    next_hop_target,
    target_uri,
    to_uri,
)
from active_call.sip.messages.auth import Authenticator, Credentials
from active_call.sip.messages.body import SDP, sdp_of
from active_call.sip.messages.capabilities import ALLOW, SUPPORTED, requires
from active_call.sip.messages.custom_headers import checked_headers, usable_headers
from active_call.sip.messages.grammar import printable, quote
from active_call.sip.messages.message import MAX_CSEQ, Headers, Request, Response
from active_call.sip.messages.uri import SipUri
from active_call.sip.transactions.delivery import Delivery
from active_call.sip.transactions.timers import GIVE_UP

log = logging.getLogger(__name__)

NO_ANSWER = 180.0
"""Timer C's value: a callee that has not said anything for so long is given up on."""
MAX_FORKS = 16
"""How many early dialogs one INVITE may have; those of further forks are ignored."""
MAX_INVITES = 16
"""How many INVITEs one call may take, whatever asks for them."""

_UNANSWERED = (UsageState.CALLING, UsageState.EARLY)
_REDIRECTIONS = (300, 301, 302, 305)
_IDENTITIES = ("p-asserted-identity", "p-preferred-identity")
"""For servers that we trust only (RFC 3325 §5)."""
_CALL_ID = re.compile(r"[!-~\x80-\U0010ffff]+")


class OutboundUsage(Usage):
    """We are the client of the INVITE."""

    inbound = False

    def __init__(
        self,
        core: Core,
        target: str,
        *,
        caller: str,
        sdp: bytes,
        call_id: str,
        now: float,
        headers: Iterable[tuple[str, str]] = (),
        credentials: Credentials | None = None,
        contact: str | None = None,
        next_hop: str | None = None,
        ring_timeout: float | None = None,
        describe: Callable[[str], bytes] | None = None,
    ) -> None:
        """Send INVITE. Raises LocalProtocolError if what is given can't be used.

        `describe` gives the offer again, for the host at which the callee turns out to reach us: which of our
        addresses that is may not be known before the callee's name was looked up.
        `contact` replaces ours; `next_hop` (URI or host:port) is where the request is sent to instead of
        `target`; after `ring_timeout` seconds without an answer the call is given up.
        """
        if _CALL_ID.fullmatch(call_id) is None:
            raise LocalProtocolError(f"Call-ID: {call_id!r} has spaces or control characters")
        self._uri = target_uri(target)
        self._destination: Hop | Target = next_hop_target(next_hop) if next_hop else self._uri.target
        first = self._destination.hop if isinstance(self._destination, Target) else self._destination
        super().__init__(core, call_id, first, credentials)
        headers = tuple(headers)
        own = caller_address(caller, self.layer.local(self.peer)[0])
        if hides_caller(headers):
            own = ANONYMOUS
        self._user = SipUri.parse(own.uri).user or ""
        self._given_contact = contact_value(contact) if contact else None
        self.local_sdp = sdp
        self._describe = describe
        self._fields: tuple[tuple[str, str], ...] = (
            MAX_FORWARDS,
            ("From", f"{own};tag={self.layer.tokens(10)}"),
            ("To", f"<{to_uri(self._uri)}>"),
            ("Call-ID", call_id),
            ALLOW,
            SUPPORTED,
            *(() if _names("user-agent", headers) else (("User-Agent", self.layer.user_agent),)),
            *checked_headers((name, value) for name, value in headers if name.lower() != "max-forwards"),
            *((("Content-Type", SDP),) if sdp else ()),
        )
        self._targets = Targets(self._uri)
        self._guarded = False
        self._own_auth = self.auth
        self._trusted = {self._uri.target.host.lower(), first.host.lower()}
        self._cseq = 0
        self._tried: set[str] = set()
        self._acks: dict[str, Callable[[], None]] = {}
        self._numbers: dict[str, int] = {}
        self._provisional_seen = False
        self._canceled = False
        self._invite = self._send_invite(now)
        self.request = self._invite.request
        if ring_timeout is not None:
            self.alarms.set("ring timeout", now + ring_timeout, lambda at: self._ring_timeout(ring_timeout, at))

    # --- our INVITE -----------------------------------------------------------------------------------

    def _send_invite(self, now: float) -> Delivery:
        self._cseq += 1
        self._provisional_seen = False
        self.contact = self._contact_towards(self.peer)
        trusted = self.auth is self._own_auth
        fields = [
            *(field for field in self._fields if trusted or field[0].lower() not in _IDENTITIES),
            ("Contact", self.contact),
            *self.session.asks(),
            ("CSeq", f"{self._cseq} INVITE"),
            *self.auth.headers("INVITE", str(self._uri)),
        ]
        request = Request("INVITE", str(self._uri), Headers(fields), self.local_sdp)
        return self.layer.request(
            request,
            self._destination,
            self._on_response,
            now,
            contact=self._contact_towards,
            body=self._offer_towards if self._describe is not None else None,
        )

    def _contact_towards(self, hop: Hop) -> str:
        self.peer = hop
        sips = self._uri.scheme == "sips"
        self.contact = self._given_contact or self._own_contact(self._user, hop, sips=sips)
        return self.contact

    def _offer_towards(self, hop: Hop) -> bytes:
        if self._describe is not None:
            self.local_sdp = self._describe(self.layer.local(hop)[0])
        return self.local_sdp

    def _invite_again(self, now: float) -> None:
        """The last INVITE has failed for a reason that can be mended."""
        for dialog in self._dialogs.values():
            self.core.forget(dialog)
        self._dialogs.clear()
        self._numbers.clear()
        self.dialog = None
        self._invite = self._send_invite(now)

    def _on_response(self, response: Response, now: float) -> None:
        if response.cseq[0] != self._cseq:
            return  # to an earlier INVITE
        if response.status < 200:
            self._on_provisional(response, now)
        elif response.status < 300:
            self._on_success(response, now)
        else:
            self._on_failure(response, now)

    def _on_provisional(self, response: Response, now: float) -> None:
        self._provisional_seen = True
        if self.state is UsageState.ENDING:
            self._cancel(now)
            return
        if self.state not in _UNANSWERED:
            return
        self.alarms.set("no answer", now + NO_ANSWER, self._no_answer)
        if response.status == 100:
            return
        dialog = self._early_dialog(response)
        sdp = self._sdp_of(response)
        if requires(response, "100rel") and not self._acknowledge_provisional(response, dialog, sdp, now):
            return
        if sdp is not None:
            self.remote_sdp = sdp
            if dialog is not None:
                dialog.remote_sdp = sdp
        self.session.note(response)
        self._set_state(UsageState.EARLY)
        self.emit(Ringing(response.status, printable(response.reason), sdp))

    def _acknowledge_provisional(
        self, response: Response, dialog: Dialog | None, sdp: bytes | None, now: float
    ) -> bool:
        """PRACK a reliable response; False if it is a repetition, or not the next one (RFC 3262 §4)."""
        text = (response.headers.get("rseq") or "").strip()
        if dialog is None or not is_number(text, 10):
            log.debug("- %s: a reliable response without RSeq or dialog", self.call_id)
            return False
        tag, number = dialog.remote_tag, int(text)
        if number >= MAX_CSEQ or number != self._numbers.get(tag, number - 1) + 1:
            return False
        self._numbers[tag] = number
        if sdp is not None:
            dialog.offers.take(Step.ANSWER_RECEIVED)
        headers = (("RAck", f"{number} {self._cseq} INVITE"),)
        OwnRequest(self, dialog, "PRACK", now, headers=headers, on_final=self._on_prack_answered)
        return True

    def _on_prack_answered(self, response: Response, _: float) -> None:
        if response.status >= 300:
            log.info("- %s: PRACK was refused: %d %s", self.call_id, response.status, response.reason)

    def _on_success(self, response: Response, now: float) -> None:
        tag = response.to.tag
        if tag in self._acks:
            self._acks[tag]()  # our ACK was lost
            return
        try:
            dialog = self._open_dialog(response)
            dialog.destination()
        except RemoteProtocolError as error:
            if self.state in _UNANSWERED:
                self._reject(502, f"the callee's 200 can't be used: {error}", now, ours=True)
            return
        self._acks[tag] = self.acknowledge(dialog, self._invite.request, now)
        if self.state in _UNANSWERED:
            self._on_answer(response, dialog, now)
        elif self.state is UsageState.ENDING and not self._bye_sent:
            # It was answered before our CANCEL arrived.
            self.alarms.clear("give up")
            self.dialog = dialog
            self._send_bye(now)
        else:
            # Another fork answered too: it gets its ACK and a BYE at once (§13.2.2.4).
            OwnRequest(self, dialog, "BYE", now, on_final=lambda *_: None)
            self.core.forget(dialog)

    def _on_answer(self, response: Response, dialog: Dialog, now: float) -> None:
        self.alarms.clear("no answer", "ring timeout")
        self.auth.accepted(response)
        self.dialog = dialog
        self.remote_sdp = self._sdp_of(response) or dialog.remote_sdp or self.remote_sdp
        dialog.offers.take(Step.ANSWER_RECEIVED)
        self._set_state(UsageState.CONFIRMED)
        self.session.note(response)
        self.session.agreed(response, now)
        self.emit(Answered(self.remote_sdp))
        self.local_offer.proceed(now)

    def _on_failure(self, response: Response, now: float) -> None:
        if self.state not in _UNANSWERED:
            if self.state is UsageState.ENDING and not self._bye_sent:
                self._finish(*self._why, now)
            return
        reason, ours = printable(response.reason), response.source is None
        if ours and response.status == 408:
            reason += ": is it the right address, does a firewall drop it?"
        if self._cseq < MAX_INVITES:
            if response.status in (401, 407):
                fault = self.auth.refused(response, self._tried)
                if fault is None:
                    self._mend(now)
                    return
                reason, ours = printable(fault), True
                if self.auth is not self._own_auth:
                    reason += "; passwords go to the server that was called only, and this is another one"
                elif self.auth.credentials is None:
                    reason += "; set sip.username and sip.password, or register there"
            elif response.status == 422 and self.session.too_brief(response):
                self._mend(now)
                return
            if response.status in _REDIRECTIONS:
                self._note_redirection(response)
            uri = self._targets.next() if response.status < 600 else None
            if uri is not None:
                self._redirect(uri, now)
                return
            if response.status in _REDIRECTIONS:
                reason, ours = f"redirected by {response.status}, but {self._targets.why_not}", True
        self._reject(response.status, reason, now, _plain_headers(response), ours=ours)

    def _mend(self, now: float) -> None:
        self._destination = self._invite.destination  # the one who asks, if the callee has several addresses
        self._invite_again(now)

    def _note_redirection(self, response: Response) -> None:
        self._targets.redirected(response)
        redirector = self._invite.destination.host
        if is_public(redirector):
            self._guarded = True  # from the Internet nobody sends us into a network of ours
        if self.auth is self._own_auth:
            self._trusted.add(redirector)

    def _redirect(self, uri: SipUri, now: float) -> None:
        log.info("- %s: redirected to %s", self.call_id, uri)
        # A password belongs to the server that was called, and who redirects may name anybody.
        trusted = uri.target.host.lower() in self._trusted
        self.auth = self._own_auth if trusted else Authenticator(None, self.layer.tokens)
        self._uri, self._destination = uri, uri.target._replace(guarded=self._guarded)
        self.peer = uri.target.hop
        self._tried.clear()
        self._invite_again(now)

    def _reject(
        self,
        status: int,
        reason: str,
        now: float,
        headers: dict[str, str] | None = None,
        *,
        ours: bool = False,
    ) -> None:
        self.emit(Rejected(status, reason, headers or {}, ours))
        words = reason if reason.startswith(f"{status} ") else f"{status} {reason}".rstrip()
        self._finish("timeout" if status == 408 else "peer", words, now)

    # --- dialogs --------------------------------------------------------------------------------------

    def _early_dialog(self, response: Response) -> Dialog | None:
        if not response.to.tag:
            return None
        try:
            return self._open_dialog(response)
        except RemoteProtocolError as error:
            log.debug("- %s: no early dialog: %s", self.call_id, error)
            return None

    def _open_dialog(self, response: Response) -> Dialog:
        """The dialog of a fork, new or known."""
        check_routes(response)
        dialog = self._dialogs.get(response.to.tag)
        if dialog is None:
            if len(self._dialogs) >= MAX_FORKS:
                raise RemoteProtocolError("too many forks")
            dialog = Dialog.of_response(self._invite.request, response, response.source or self.peer)
            dialog.offers = Offers(Open.OURS if self.local_sdp else Open.NOBODY)
            self._add_dialog(dialog)
        elif response.status >= 200:
            dialog.confirm(response)
        else:
            dialog.refresh(response)  # many a 180 that follows a 183 leaves out Record-Route
        if self.dialog is None or self.state in _UNANSWERED:
            self.dialog = dialog
        return dialog

    def _sdp_of(self, response: Response) -> bytes | None:
        try:
            return sdp_of(response)
        except RemoteProtocolError as error:
            log.debug("- %s: useless body in %d: %s", self.call_id, response.status, error)
            return None

    # --- giving up ------------------------------------------------------------------------------------

    def hangup(self, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """BYE, or CANCEL before the answer."""
        if self.state not in _UNANSWERED:
            super().hangup(now, headers)
            return
        self._bye_headers = usable_headers(headers)
        self._give_up(now)

    def _give_up(self, now: float) -> None:
        self._set_state(UsageState.ENDING)
        self.alarms.clear("no answer", "ring timeout")
        if self._provisional_seen:
            self._cancel(now)
        else:
            self._invite.settle(now)  # CANCEL must wait for the first provisional response (§9.1)

    def _cancel(self, now: float) -> None:
        if not self._canceled:
            self._canceled = True
            self._invite.cancel_fields = tuple(one for one in self._bye_headers if one[0].lower() == "reason")
            self.layer.cancel(self._invite, lambda *_: None, now)
            self.alarms.set("give up", now + GIVE_UP, self._no_end)

    def _no_end(self, now: float) -> None:
        """Nothing came of our CANCEL."""
        self._invite.abandon()
        self._finish(*self._why, now)

    def _ring_timeout(self, seconds: float, now: float) -> None:
        rang = "it rang, but nobody picked up" if self.state is UsageState.EARLY else "no answer"
        self._expire(f"{rang} within {seconds:g} s (ring timeout)", now)

    def _no_answer(self, now: float) -> None:
        self._expire(f"the callee never answered, and was last heard of {NO_ANSWER:.0f} s ago", now)

    def _expire(self, reason: str, now: float) -> None:
        self.emit(Rejected(408, reason, {}, ours=True))
        self._why = ("timeout", f"408 {reason}")
        self._bye_headers = (("Reason", f"SIP;cause=408;text={quote(reason)}"),)
        self._give_up(now)

    def _peer_left(self, request: Request, now: float) -> None:
        # A callee must not send BYE before its answer (§15); its INVITE is still to be ended.
        if self.state in _UNANSWERED:
            self._why = ("peer", with_reason("BYE", request))
            self._give_up(now)
        else:
            super()._peer_left(request, now)

    def _finish(self, by: EndedBy, reason: str, now: float) -> None:
        super()._finish(by, reason, now)
        self._describe = None  # its owner knows us, too


def _names(key: str, headers: Iterable[tuple[str, str]]) -> bool:
    return any(name.lower() == key for name, _ in headers)


def _plain_headers(response: Response) -> dict[str, str]:
    """The headers that tell the owner why; those of the protocol itself are left out."""
    skip = ("via", "from", "to", "call-id", "cseq", "content-length")
    return {name: printable(value) for name, value in response.headers.fields if name.lower() not in skip}
