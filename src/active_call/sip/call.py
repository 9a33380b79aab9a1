"""A SIP call as its owner holds it: commands that act at once, events that go to one listener."""

import logging
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType

from active_call.core.errors import LocalProtocolError
from active_call.sip.dialogs.inbound import InboundUsage
from active_call.sip.dialogs.replaces import Replaces
from active_call.sip.dialogs.usage import Usage, UsageState
from active_call.sip.events import Ended, InfoReceived, MessageReceived, SipEvent
from active_call.sip.hop import Hop
from active_call.sip.messages.grammar import printable

log = logging.getLogger(__name__)

Listener = Callable[[SipEvent], None]

MAX_WAITING = 100
"""How many events wait for a listener; of what a peer may send without end further ones are dropped."""

_NONE: Mapping[str, str] = MappingProxyType({})

# What RFCs define; everything else in an INVITE is handed to the owner by the name it came with.
_RFC_HEADERS = """
a accept accept-contact accept-encoding accept-language accept-resource-priority alert-info allow
allow-events answer-mode authentication-info authorization b c call-id call-info contact content-disposition
content-encoding content-language content-length content-type cseq d date e error-info event expires f
feature-caps from geolocation geolocation-error geolocation-routing history-info i identity in-reply-to
info-package j join k l m max-breadth max-forwards mime-version min-expires min-se o organization
p-access-network-info p-asserted-identity p-asserted-service p-associated-uri p-called-party-id
p-charging-function-addresses p-charging-vector p-early-media p-preferred-identity p-preferred-service
p-visited-network-id path priority priv-answer-mode privacy proxy-authenticate proxy-authorization
proxy-require r rack reason reason-phrase record-route recv-info refer-sub refer-to referred-by
reject-contact replaces reply-to request-disposition require resource-priority retry-after route rseq s
security-client security-server security-verify server service-route session-expires session-id sip-etag
sip-if-match subject subscription-state supported suppress-if-match t target-dialog timestamp to
trigger-consent u unsupported user-agent user-to-user v via warning www-authenticate x y
"""
_STANDARD = frozenset(_RFC_HEADERS.split())


class SipCall:
    """One INVITE dialog usage, inbound or outbound. Commands that come too late do nothing."""

    def __init__(self, usage: Usage, clock: Callable[[], float], flush: Callable[[], None]) -> None:
        self._usage = usage
        self._clock = clock
        self._flush = flush
        self._listener: Listener | None = None
        self._queue: deque[SipEvent] = deque()
        usage.handle = weakref.ref(self)

    # --- what it is -----------------------------------------------------------------------------------

    @property
    def inbound(self) -> bool:
        """Whether the peer called us."""
        return self._usage.inbound

    @property
    def state(self) -> UsageState:
        """Where the call stands."""
        return self._usage.state

    @property
    def call_id(self) -> str:
        """The Call-ID."""
        return printable(self._usage.call_id)

    @property
    def local_tag(self) -> str:
        """Our tag; of an outbound call from the start, too."""
        dialog = self._usage.dialog
        return dialog.local_tag if dialog is not None else self._usage.request.from_.tag

    @property
    def remote_tag(self) -> str:
        """The peer's tag, empty while it has none."""
        dialog = self._usage.dialog
        return printable(dialog.remote_tag) if dialog is not None else ""

    @property
    def dialog_id(self) -> str:
        """`<Call-ID>-<local tag>-<remote tag>`."""
        return f"{self.call_id}-{self.local_tag}-{self.remote_tag}"

    @property
    def caller(self) -> str:
        """The URI in From."""
        return printable(self._usage.request.from_.uri)

    @property
    def callee(self) -> str:
        """The URI in To."""
        return printable(self._usage.request.to.uri)

    @property
    def request_uri(self) -> str:
        """The URI that the INVITE was sent to."""
        return printable(self._usage.request.uri)

    @property
    def remote_sdp(self) -> bytes | None:
        """The peer's latest description: its offer, or its answer to ours."""
        return self._usage.remote_sdp

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the INVITE that no RFC defines, named as received; of several the first.

        They become variables; those whose names begin with an underscore are for playbooks to set.
        """
        found: dict[str, str] = {}
        for name, value in self._usage.request.headers.fields:
            if name.lower() not in _STANDARD and not name.startswith("_"):
                found.setdefault(name, printable(value))
        return found

    @property
    def header_lines(self) -> tuple[str, ...]:
        """All headers of the INVITE, one `Name: value` each."""
        return tuple(printable(f"{name}: {value}") for name, value in self._usage.request.headers.fields)

    @property
    def peer(self) -> Hop:
        """Where the INVITE came from, or goes to."""
        return self._usage.peer

    def header(self, name: str) -> str | None:
        """The first header `name` of the INVITE, whatever its case."""
        value = self._usage.request.headers.get(name.lower())
        return printable(value) if value is not None else None

    @property
    def secure(self) -> bool:
        """Whether the signalling comes or goes over TLS."""
        return self.peer.transport == "tls"

    @property
    def replaces(self) -> "SipCall | None":
        """Inbound: the call of ours that this one takes over (RFC 3891); end that one once this is accepted."""
        return self._usage.replaces.call if self._usage.replaces is not None else None

    @property
    def remote_target(self) -> str | None:
        """The peer's Contact: where somebody else reaches just this peer; None before there is a dialog."""
        dialog = self._usage.dialog
        return printable(str(dialog.remote_target)) if dialog is not None else None

    @property
    def replaces_value(self) -> str:
        """What a Replaces header must say for the peer to find this call: its own tag comes first."""
        return str(Replaces(self.call_id, self.remote_tag, self.local_tag))

    # --- events ---------------------------------------------------------------------------------------

    @property
    def listener(self) -> Listener | None:
        """Who gets the events; those that came before wait here."""
        return self._listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self._listener = listener
        while self._listener is not None and self._queue:
            self._hand_over(self._queue.popleft())

    def deliver(self, event: SipEvent) -> None:
        """For the agent: something happened."""
        if self._listener is None or self._queue:
            if len(self._queue) >= MAX_WAITING and isinstance(event, InfoReceived | MessageReceived):
                log.warning("- %s: nobody listens: dropped %s", self.call_id, type(event).__name__)
            else:
                self._queue.append(event)
        else:
            self._hand_over(event)

    def _hand_over(self, event: SipEvent) -> None:
        assert self._listener is not None
        try:
            self._listener(event)
        except Exception:
            log.exception("- %s: the listener failed on %s", self.call_id, type(event).__name__)
        if isinstance(event, Ended):
            self._listener = None  # it may be large, and we stay for as long as transactions rest

    # --- commands -------------------------------------------------------------------------------------

    def ring(self) -> None:
        """Inbound: 180."""
        self._inbound().ring(self._clock())
        self._flush()

    def progress(self, sdp: bytes) -> None:
        """Inbound: 183 with our answer."""
        self._inbound().progress(sdp, self._clock())
        self._flush()

    def accept(self, sdp: bytes) -> None:
        """Inbound: 200 with our answer, repeated until its ACK.

        An INVITE without an offer gets `sdp` as our offer; `remote_sdp` has the answer once it is acknowledged.
        """
        self._inbound().accept(sdp, self._clock())
        self._flush()

    def reject(self, status: int, reason: str, *, headers: Mapping[str, str] = _NONE) -> None:
        """Inbound: a final failure. Headers that can't be set are left out and logged."""
        self._inbound().reject(status, reason, self._clock(), headers.items())
        self._flush()

    def hangup(self, *, headers: Mapping[str, str] = _NONE) -> None:
        """End the call: BYE, CANCEL or 480, as fits. Headers that can't be set are left out and logged."""
        self._usage.hangup(self._clock(), headers.items())
        self._flush()

    @property
    def offer_waits(self) -> bool:
        """Whether an offer of the peer's, of which `OfferReceived` told, still waits to be answered."""
        return self._usage.remote_offer.waits

    def answer_offer(self, sdp: bytes | None, status: int = 200, reason: str = "OK") -> None:
        """Answer the re-INVITE or UPDATE that `OfferReceived` told of."""
        self._usage.remote_offer.answer(sdp, status, reason, self._clock())
        self._flush()

    def offer(self, sdp: bytes) -> None:
        """Re-INVITE with a new offer: `OfferAnswered` or `OfferRefused` follows.

        It waits until the call is answered and nothing else goes on; of several that wait the last is sent.
        """
        if not self._usage.ending:
            self._usage.local_offer.make(sdp, self._clock())
            self._flush()

    def refer(
        self, refer_to: str, *, referred_by: str | None = None, headers: Mapping[str, str] = _NONE
    ) -> None:
        """Ask the peer to call `refer_to` (RFC 3515): `ReferProgress` tells how that goes.

        Raises LocalProtocolError if that was asked already and is not final, or something given can't be sent.
        """
        self._usage.transfer.send(refer_to, referred_by, headers.items(), self._clock())
        self._flush()

    def notify_refer(self, status: int, reason: str, *, final: bool) -> None:
        """Tell the peer how the transfer goes that it asked for (`ReferReceived`)."""
        self._usage.transfer_asked.notify(status, reason, self._clock(), final=final)
        self._flush()

    def message(self, body: bytes, content_type: str, *, headers: Mapping[str, str] = _NONE) -> None:
        """MESSAGE within the call (RFC 3428): `MessageAnswered` follows.

        Raises LocalProtocolError if a header can't be set.
        """
        self._usage.say("MESSAGE", body, content_type, headers.items(), self._clock())
        self._flush()

    def info(self, content_type: str, body: bytes) -> None:
        """INFO: `MessageAnswered` follows."""
        self._usage.say("INFO", body, content_type, (), self._clock())
        self._flush()

    def _inbound(self) -> InboundUsage:
        if not isinstance(self._usage, InboundUsage):
            raise LocalProtocolError("an outbound call is for the peer to answer")
        return self._usage
