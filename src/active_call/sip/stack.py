"""The SIP stack without I/O: datagrams and time in; datagrams, events and the next deadline out.

    stack.receive_datagram(data, source, now)
    while (event := stack.next_event()) is not None: …
    for data, destination in stack.datagrams_to_send(): …
    stack.next_deadline() → stack.handle_timer(now)

Nothing that a peer sends raises an exception here.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from active_call.core.errors import RemoteProtocolError
from active_call.core.tokens import Tokens
from active_call.sip.dialogs.core import Core
from active_call.sip.dialogs.dialog import check_routes
from active_call.sip.dialogs.inbound import InboundUsage
from active_call.sip.dialogs.outbound import OutboundUsage
from active_call.sip.dialogs.usage import Usage
from active_call.sip.events import Declined, SipEvent
from active_call.sip.hop import Hop, Judge, LocalAddress, Target, only_public
from active_call.sip.messages.address import Address
from active_call.sip.messages.auth import Credentials
from active_call.sip.messages.body import accepts_sdp
from active_call.sip.messages.capabilities import ACCEPT, ALLOW, SUPPORTED, refusal_headers, unsupported
from active_call.sip.messages.custom_headers import explained
from active_call.sip.messages.grammar import printable
from active_call.sip.messages.message import (
    METHODS,
    BadMessage,
    Request,
    Response,
    check_request,
    check_response,
    make_response,
    parse_message,
)
from active_call.sip.messages.uri import bracketed
from active_call.sip.registrations import Registrations
from active_call.sip.transactions.layer import Learn, TransactionLayer
from active_call.sip.transactions.transaction import ServerTransaction

log = logging.getLogger(__name__)

_SUPPORTED_METHODS = frozenset(ALLOW[1].split(", "))
_RETRY_AFTER = ("Retry-After", "10")
_SHUTTING_DOWN = "Server shutting down"
_SHUTDOWN_REASON = ("Reason", f'SIP;cause=503;text="{_SHUTTING_DOWN}"')


@dataclass(frozen=True, slots=True)
class Incoming:
    """A new call; 100 Trying is on its way."""

    usage: InboundUsage


@dataclass(frozen=True, slots=True)
class Happened:
    """Something happened in a call."""

    usage: Usage
    event: SipEvent


class _Refusal(RemoteProtocolError):
    """A proper request that gets a failure, with headers that say more."""

    def __init__(self, status: int, reason: str = "", *, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(reason, status)
        self.headers = headers


StackEvent: TypeAlias = Incoming | Happened


class SipStack:
    """A user agent: answers everything that is not a call by itself, and keeps the calls."""

    def __init__(
        self,
        *,
        local: LocalAddress,
        tokens: Tokens,
        user_agent: str = "active-call",
        learn: Learn = lambda *_: None,
        on_declined: Callable[[Declined], None] = lambda _: None,
        judge: Judge = only_public,
        tcp: bool = False,
        answer_options: bool = True,
        callid_suffix: str | None = None,
    ) -> None:
        """`learn` hears how peers see us, `on_declined` of INVITEs that become no calls; `judge` says where
        peers in the Internet may not redirect us to.

        `tcp`: whether large requests may go over TCP.
        """
        self.accepting = True
        """If False, new INVITEs and OPTIONS get 503."""
        self._answer_options = answer_options
        self._on_declined = on_declined
        self._callid_suffix = f"@{callid_suffix}" if callid_suffix else ""
        self._layer = TransactionLayer(local, tokens, user_agent, learn)
        self._layer.tcp = tcp
        self._layer.judge = judge
        self._core = Core(self._layer)
        self.registrations = Registrations(self._layer, self._callid_suffix)
        self._incoming: list[Incoming] = []
        self._secret = tokens(16)

    # --- in -------------------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, source: Hop, now: float) -> None:
        """Take in one datagram."""
        if not data.strip(b"\r\n\t \x00"):
            return  # keep-alive
        try:
            message = parse_message(data)
        except BadMessage as error:
            if error.request is not None:
                self._refuse(error.request, source, error)
            else:
                log.debug("< dropped from %s: %s", source, error)
            return
        if isinstance(message, Response):
            message.source = source
            self._receive_response(message, now)
        else:
            self._receive_request(message, source, now)

    def handle_timer(self, now: float) -> None:
        """Run what is due."""
        for owner in self._layer.timers.due(now):
            owner.handle_timer(now)

    def transport_failed(self, hop: Hop, reason: str, now: float) -> None:
        """A message to `hop` could not be sent."""
        self._layer.transport_failed(hop, reason, now)

    def connection_closed(self, hop: Hop, reason: str, now: float) -> None:
        """The connection to `hop` was closed or broke."""
        self._layer.connection_closed(hop, reason, now)
        self.registrations.connection_lost(hop, now)

    def unreachable(self, hop: Hop, reason: str, now: float) -> None:
        """ICMP says that nobody is at `hop`, over UDP."""
        self._layer.unreachable(hop, reason, now)

    def looked_up(self, target: Target, hops: list[Hop], reason: str, now: float) -> None:
        """What became of one of `lookups_to_make`: hops, best first, or none for a `reason`."""
        self._layer.looked_up(target, hops, reason, now)

    def invite(
        self,
        target: str,
        *,
        caller: str,
        sdp: bytes,
        now: float,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials | None = None,
        call_id: str | None = None,
        contact: str | None = None,
        next_hop: str | None = None,
        ring_timeout: float | None = None,
        describe: Callable[[str], bytes] | None = None,
    ) -> OutboundUsage:
        """Call `target`; see `OutboundUsage`. Raises LocalProtocolError if something given can't be used."""
        return OutboundUsage(
            self._core,
            target,
            caller=caller,
            sdp=sdp,
            call_id=call_id or self._layer.tokens(24) + self._callid_suffix,
            now=now,
            headers=(headers or {}).items(),
            credentials=credentials,
            contact=contact,
            next_hop=next_hop,
            ring_timeout=ring_timeout,
            describe=describe,
        )

    # --- out ------------------------------------------------------------------------------------------

    def datagrams_to_send(self) -> list[tuple[bytes, Hop]]:
        """What has to be sent now: bytes and destination, whose host is an address."""
        datagrams = list(self._layer.outbox)
        self._layer.outbox.clear()
        return datagrams

    def lookups_to_make(self) -> list[Target]:
        """What has to be looked up now, once each; the answers go to `looked_up`."""
        targets = list(self._layer.lookups)
        self._layer.lookups.clear()
        return targets

    def next_event(self) -> StackEvent | None:
        """The oldest event that nobody has seen."""
        if self._incoming:
            return self._incoming.pop(0)
        if self._core.events:
            return Happened(*self._core.events.popleft())
        return None

    def next_deadline(self) -> float | None:
        """When `handle_timer` has to be called."""
        return self._layer.timers.next_deadline()

    @property
    def hops_in_use(self) -> set[Hop]:
        """Where calls and registrations lead: connections there must stay open."""
        usages = self._core.dialogs.values()
        sources = {usage.dialog.source for usage in usages if usage.dialog is not None}
        return {usage.peer for usage in usages} | sources | self.registrations.flows

    @property
    def busy(self) -> bool:
        """Whether a request of ours still waits for its answer."""
        return self._layer.busy

    @property
    def dialogs(self) -> int:
        """How many dialogs are alive; each fork of a call has its own."""
        return len(self._core.dialogs)

    @property
    def transactions(self) -> int:
        """How many transactions are alive."""
        return len(self._layer)

    # --- responses ------------------------------------------------------------------------------------

    def _receive_response(self, response: Response, now: float) -> None:
        try:
            check_response(response)
        except RemoteProtocolError as error:
            log.debug("< dropped %r: %s", response, error)
            return
        self._layer.receive_response(response, now)

    # --- requests -------------------------------------------------------------------------------------

    def _receive_request(self, request: Request, source: Hop, now: float) -> None:
        try:
            check_request(request)
            request.stamp(source)
        except RemoteProtocolError as error:
            self._refuse(request, source, error)
            return
        if request.method == "OPTIONS" and not request.to.tag and not self._answer_options:
            return  # not even a refusal: who scans for servers finds nothing
        known = self._layer.find_server(request)
        if known is not None:
            known.receive(request, now)
        if request.method == "ACK":
            usage = self._usage_of(request)
            if usage is not None:
                usage.receive_ack(request, now)
        elif known is None and not self._layer.full:
            self._receive_new(request, source, now)

    def _receive_new(self, request: Request, source: Hop, now: float) -> None:
        merged = self._layer.is_merged(request)
        transaction = self._layer.open_server(request, source)
        try:
            if request.method == "CANCEL":
                self._cancel(request, transaction, now)
                return
            if merged:
                self._respond(transaction, 482, now)
                return
            self._check_extensions(request)
            if request.to.tag:
                usage = self._usage_of(request)
                if usage is None:
                    self._respond(transaction, 481, now)
                else:
                    usage.receive_request(request, transaction, now)
            elif request.method == "OPTIONS":
                self._check_accepting()
                self._respond(transaction, 200, now, headers=(ACCEPT, ALLOW, SUPPORTED))
            elif request.method == "INVITE":
                self._invited(request, transaction, source, now)
            else:
                raise _outside_a_call(request.method)
        except RemoteProtocolError as error:
            if request.method == "INVITE" and not request.to.tag:
                self._tell_declined(request, error)
            headers = error.headers if isinstance(error, _Refusal) else ()
            self._respond(transaction, error.status, now, reason=str(error), headers=headers)

    def _tell_declined(self, request: Request, error: RemoteProtocolError) -> None:
        call_id, caller, callee = request.call_id, request.from_, request.to
        dialog_id = f"{call_id}-{self._tag_for(request)}-{caller.tag}"
        words = (str(error), call_id, dialog_id, caller.uri, callee.uri)
        self._on_declined(Declined(error.status, *map(printable, words)))

    def _check_extensions(self, request: Request) -> None:
        """Method and Require (RFC 3261 §8.2.1, §8.2.2.3)."""
        if request.method not in _SUPPORTED_METHODS:
            if request.headers.get("contact") != "*":
                for value in request.headers.items("contact"):
                    Address.parse(value)
            raise _Refusal(405 if request.method in METHODS else 501)
        unknown = unsupported(request)
        if unknown:
            raise _Refusal(420, headers=(("Unsupported", ", ".join(unknown)),))

    def _cancel(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        invite = self._layer.find_canceled(request)
        if invite is None:
            self._respond(transaction, 481, now)
            return
        self._respond(transaction, 200, now)
        if invite.on_cancel is not None and not invite.answered:
            invite.on_cancel(request, now)

    def _invited(self, request: Request, transaction: ServerTransaction, source: Hop, now: float) -> None:
        self._check_accepting()
        check_routes(request)
        if not accepts_sdp(request.headers):
            raise _Refusal(406, "Accept leaves out application/sdp")
        usage = InboundUsage(self._core, request, transaction, source, self._tag_for(request))
        usage.trying(now)
        self._incoming.append(Incoming(usage))

    def _check_accepting(self) -> None:
        if not self.accepting:
            raise _Refusal(503, _SHUTTING_DOWN, headers=(_RETRY_AFTER, _SHUTDOWN_REASON))

    def _usage_of(self, request: Request) -> Usage | None:
        return self._core.dialogs.get((request.call_id, request.to.tag, request.from_.tag))

    # --- responses of our own -------------------------------------------------------------------------

    def _respond(
        self,
        transaction: ServerTransaction,
        status: int,
        now: float,
        *,
        reason: str = "",
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        request = transaction.request
        host = bracketed(self._layer.local(transaction.destination)[0])
        fields = explained(status, reason, host, (*headers, *refusal_headers(status)))
        fields += (("Server", self._layer.user_agent),)
        response = make_response(request, status, reason, tag=self._tag_for(request), headers=fields)
        transaction.respond(response, now)

    def _refuse(self, request: Request, source: Hop, error: RemoteProtocolError) -> None:
        """Answer a message that is too broken for a transaction, or drop it if that is impossible."""
        log.debug("< refused %r from %s: %s", request, source, error)
        if request.method == "ACK":
            return
        try:
            request.stamp(source, lenient=True)
        except RemoteProtocolError:
            return  # no way back
        fields = [("Server", self._layer.user_agent)]
        if error.status == 501:
            fields.append(ALLOW)
        reason = "" if error.status in (501, 505, 416) else f"Bad Request: {error}"
        response = make_response(request, error.status, reason, tag=self._tag_for(request), headers=fields)
        self._layer.send(bytes(response), request.via.response_address(source))

    def _tag_for(self, request: Request) -> str:
        """The same tag for each repetition, without remembering it (RFC 3261 §8.2.7)."""
        text = f"{self._secret} {request.call_id} {request.via}"
        return hashlib.blake2s(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _outside_a_call(method: str) -> _Refusal:
    """What a request gets that only makes sense within a dialog."""
    if method == "REFER":
        return _Refusal(403, "REFER is only taken within a call")
    return _Refusal(405 if method == "MESSAGE" else 481)
