"""A call that we make (RFC 3261 §13.2)."""

import re
from collections.abc import Iterable

from active_call.core.errors import LocalProtocolError, RemoteProtocolError
from active_call.sip.address import Address
from active_call.sip.auth import Credentials
from active_call.sip.body import SDP, sdp_of
from active_call.sip.dialog import MAX_FORWARDS, Dialog, check_routes
from active_call.sip.events import Answered, Rejected, Ringing
from active_call.sip.grammar import printable
from active_call.sip.layer import log
from active_call.sip.message import Headers, Request, Response
from active_call.sip.timers import GIVE_UP
from active_call.sip.transaction import ClientTransaction
from active_call.sip.uri import SipUri
from active_call.sip.usage import ALLOW, SUPPORTED, Core, Usage, UsageState, checked_headers, usable_headers

NO_ANSWER = 180.0
"""Timer C's value: a callee that has not said anything for so long is given up on."""

_UNANSWERED = (UsageState.CALLING, UsageState.EARLY)
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
    ) -> None:
        """Send INVITE. Raises LocalProtocolError if what is given can't be used."""
        if _CALL_ID.fullmatch(call_id) is None:
            raise LocalProtocolError(f"Call-ID: {call_id!r} has spaces or control characters")
        uri = _target(target)
        super().__init__(core, call_id, uri.address)
        own = _caller(caller, self._layer.local(self.peer[0])[0])
        self._credentials = credentials
        self._own_contact(SipUri.parse(own.uri).user or "")
        self._invite_body = sdp
        self._invite_headers: tuple[tuple[str, str], ...] = (
            MAX_FORWARDS,
            ("From", f"{own};tag={self._layer.tokens(10)}"),
            ("To", f"<{_without_transport(uri)}>"),
            ("Call-ID", call_id),
            ("Contact", self._contact),
            ALLOW,
            SUPPORTED,
            ("User-Agent", self._layer.user_agent),
            *checked_headers((name, value) for name, value in headers if name.lower() != "max-forwards"),
            *((("Content-Type", SDP),) if sdp else ()),
        )
        self._uri = uri
        self._cseq = 0
        self._authorizations: tuple[tuple[str, str], ...] = ()
        self._acks: dict[str, tuple[bytes, tuple[str, int]]] = {}
        self._provisional_seen = False
        self._canceled = False
        self._invite = self._send_invite(now)
        self.request = self._invite.request

    # --- our INVITE -----------------------------------------------------------------------------------

    def _send_invite(self, now: float) -> ClientTransaction:
        self._cseq += 1
        fields = [*self._invite_headers, ("CSeq", f"{self._cseq} INVITE"), *self._authorizations]
        request = Request("INVITE", str(self._uri), Headers(fields), self._invite_body)
        return self._layer.request(request, self.peer, self._on_response, now)

    def _on_response(self, response: Response, now: float) -> None:
        if response.cseq[0] != self._cseq:
            return  # to an INVITE before we authorised ourselves
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
        self._arm(now, **{"no answer": NO_ANSWER})
        if response.status == 100:
            return
        if response.to.tag:
            try:
                self._open_dialog(response)
            except RemoteProtocolError as error:
                log.debug("- %s: no early dialog: %s", self.call_id, error)
        sdp = self._sdp_of(response)
        if sdp is not None:
            self.remote_sdp = sdp
        self._set_state(UsageState.EARLY)
        self._emit(Ringing(response.status, printable(response.reason), sdp))

    def _on_success(self, response: Response, now: float) -> None:
        tag = response.to.tag
        if tag in self._acks:
            self._layer.send(*self._acks[tag])  # our ACK was lost
            return
        try:
            dialog = self._open_dialog(response)
            dialog.destination()
        except RemoteProtocolError as error:
            if self.state is not UsageState.ENDED:
                self._reject(502, f"useless 2xx: {error}", now)
            return
        self._acknowledge(dialog)
        if self.state in _UNANSWERED:
            self._disarm("no answer")
            self.dialog = dialog
            self.remote_sdp = self._sdp_of(response) or self.remote_sdp
            self._set_state(UsageState.CONFIRMED)
            self._emit(Answered(self.remote_sdp))
        elif self.state is UsageState.ENDING and not self._bye_sent:
            # It was answered before our CANCEL arrived.
            self._disarm("give up")
            self.dialog = dialog
            self._send_bye(now)
        else:
            # Another fork answered too: it gets its ACK and a BYE at once (§13.2.2.4).
            fork = dialog.request("BYE", (("User-Agent", self._layer.user_agent),))
            self._layer.request(fork, dialog.destination(), lambda *_: None, now)
            self._core.dialogs.pop(dialog.id, None)

    def _on_failure(self, response: Response, now: float) -> None:
        if self.state not in _UNANSWERED:
            if self.state is UsageState.ENDING and not self._bye_sent:
                self._finish(*self._why, now)
            return
        authorization = self._authorize(response, "INVITE", str(self._uri))
        if authorization is not None:
            self._authorizations += (authorization,)
            self._provisional_seen = False
            self._invite = self._send_invite(now)
            return
        self._reject(response.status, printable(response.reason), now, _plain_headers(response))

    def _reject(self, status: int, reason: str, now: float, headers: dict[str, str] | None = None) -> None:
        self._emit(Rejected(status, reason, headers or {}))
        self._finish("timeout" if status == 408 else "peer", f"{status} {reason}".rstrip(), now)

    # --- dialogs --------------------------------------------------------------------------------------

    def _open_dialog(self, response: Response) -> Dialog:
        check_routes(response)
        known = self._dialogs.get(response.to.tag)
        dialog = Dialog.of_response(self._invite.request, response, response.source or self.peer)
        if known is not None:
            dialog.remote_cseq = known.remote_cseq
        self._add_dialog(dialog)
        if self.dialog is None or self.state in _UNANSWERED:
            self.dialog = dialog
        return dialog

    def _acknowledge(self, dialog: Dialog) -> None:
        headers = (*self._authorizations, ("User-Agent", self._layer.user_agent))
        destination = dialog.destination()
        ack = bytes(self._layer.with_via(dialog.ack(self._cseq, headers), destination))
        self._acks[dialog.remote_tag] = (ack, destination)
        self._layer.send(ack, destination)

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
        self._disarm("no answer")
        if self._provisional_seen:
            self._cancel(now)
        # Otherwise CANCEL must wait for the first provisional response (§9.1).

    def _cancel(self, now: float) -> None:
        if not self._canceled:
            self._canceled = True
            self._layer.cancel(self._invite, lambda *_: None, now)
            self._arm(now, **{"give up": GIVE_UP})

    def _on_alarm(self, name: str, now: float) -> None:
        if name == "no answer":
            reason = "Request Timeout"
            self._emit(Rejected(408, reason, {}))
            self._why = ("timeout", f"408 {reason}")
            self._give_up(now)
        elif name == "give up" and self._unacknowledged is None:
            self._invite.abandon()
            self._finish(*self._why, now)
        else:
            super()._on_alarm(name, now)


def _target(text: str) -> SipUri:
    text = text.strip()
    if text.startswith("<") or '"' in text:
        try:
            text = Address.parse(text).uri
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"callee: {error}") from None
    try:
        uri = SipUri.parse(text if text.lower().startswith(("sip:", "sips:")) else f"sip:{text}")
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"callee: {error}") from None
    if uri.headers:
        raise LocalProtocolError(f'callee "{text}": header fields in a URI are not supported')
    transport = (uri.params.get("transport") or "udp").lower()
    if uri.scheme != "sip" or transport != "udp":
        raise LocalProtocolError(f'callee "{text}": only SIP over UDP is supported')
    return uri


def _without_transport(uri: SipUri) -> SipUri:
    """The To URI: whom, not how (§8.1.1.2 with §19.1.1's table: no transport there)."""
    params = {name: value for name, value in uri.params.items() if name not in ("transport", "maddr", "lr")}
    return SipUri(uri.host, uri.user, uri.port, params)


def _caller(text: str, host: str) -> Address:
    try:
        if "<" not in text and not text.lower().startswith(("sip:", "sips:")):
            text = f"sip:{text}" if "@" in text else f"sip:{text}@{host}"
        address = Address.parse(text)
        SipUri.parse(address.uri)
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"caller: {error}") from None
    return Address(address.uri, address.name)


def _plain_headers(response: Response) -> dict[str, str]:
    """The headers that tell the owner why; those of the protocol itself are left out."""
    skip = ("via", "from", "to", "call-id", "cseq", "content-length")
    return {name: printable(value) for name, value in response.headers.fields if name.lower() not in skip}
