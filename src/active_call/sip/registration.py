"""One account at a registrar, kept registered (RFC 3261 §10), without I/O.

    waiting ──► registering ──2xx──► registered ──refused or expired──► failed ──retry──► registering
       └─────────────┴──────────────────┴── stop ──► unregistering ──► ended ◄── stop ────┘

Each attempt is one REGISTER and what its answers make necessary: credentials, a longer time (423), another
registrar (3xx). Only what may have left a binding behind is unregistered.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote

from active_call.core.errors import RemoteProtocolError
from active_call.sip.dialogs.dialog import MAX_FORWARDS
from active_call.sip.dialogs.redirect import contacts_of
from active_call.sip.hop import Hop
from active_call.sip.messages.address import Address
from active_call.sip.messages.auth import Authenticator, Credentials
from active_call.sip.messages.grammar import printable
from active_call.sip.messages.message import Headers, Request, Response
from active_call.sip.messages.uri import SipUri, contact
from active_call.sip.transactions.alarms import Alarms
from active_call.sip.transactions.delivery import Delivery
from active_call.sip.transactions.layer import TransactionLayer

log = logging.getLogger(__name__)

EXPIRES = 3_600
"""What we ask for: what RFC 3261 §10.2.1.1 suggests, and registrars shorten as they like."""
REFRESH_SHARE, REFRESH_SPREAD = 0.75, 0.15
"""Refreshed after 75 to 90 % of the time, so that many accounts don't come all at once."""
LEAST_MARGIN = 5.0
"""Seconds before the end, so that a lost datagram or two do no harm."""
RETRY_SOON, RETRY, RETRY_MOST = 10.0, 60.0, 300.0
"""Seconds: first pause after a failure or no answer at all, first pause after a refusal, longest of both."""
MOVE_PAUSE = 10.0
"""Seconds between two registrations because of changed addresses: some NATs never make up their mind."""
_LONGEST = 7 * 86_400
_LONGEST_RETRY_AFTER = 3_600


@dataclass(frozen=True, slots=True)
class Account:
    """Whom to register where."""

    registrar: SipUri
    user: str
    """In From and To."""
    contact_user: str = ""
    """In Contact, and so in the Request-URI of calls to this account; empty: `user`."""
    display_name: str = ""
    credentials: Credentials | None = field(default=None, repr=False)
    expires: int = EXPIRES

    @property
    def address(self) -> str:
        """The address of record: without a port (RFC 3261 §10.3, step 5)."""
        scheme = self.registrar.scheme
        return str(SipUri(self.registrar.host, self.user, scheme=scheme))


class RegistrationState(StrEnum):
    """Where a registration stands."""

    WAITING = "waiting"
    REGISTERING = "registering"
    REGISTERED = "registered"
    FAILED = "failed"
    UNREGISTERING = "unregistering"
    ENDED = "ended"


class Registration:
    """Registers `account`, refreshes it, and tells `on_change` when its state or its last error has changed."""

    def __init__(
        self,
        layer: TransactionLayer,
        account: Account,
        on_change: "Callable[[Registration], None]" = lambda _: None,
        *,
        callid_suffix: str = "",
    ) -> None:
        self.account = account
        self.state = RegistrationState.WAITING
        self.last_error = ""
        self.expires_at: float | None = None
        """When the binding ends, if there is one."""
        self.granted = 0
        """Seconds that the registrar last gave."""
        self.flow: Hop | None = None
        """Where the registrar answered from."""
        self._layer = layer
        self._on_change = on_change
        self._alarms = Alarms(layer.timers)
        self._auth = Authenticator(account.credentials, layer.tokens)
        self._call_id = layer.tokens(24) + callid_suffix
        self._tag = layer.tokens(10)
        self._cseq = 0
        self._delivery: Delivery | None = None
        self._tried: set[str] = set()
        self._registrar = account.registrar
        self._asked = account.expires
        self._contact = ""
        """Of the last REGISTER."""
        self._bound = ""
        """The Contact that the registrar has, if any."""
        self._failures = 0
        self._losses = 0
        self._registered_at = self._moved_at = float("-inf")
        self._refresh_at = float("inf")

    # --- commands -------------------------------------------------------------------------------------

    def start(self, now: float, delay: float = 0.0) -> None:
        """Register, after `delay` seconds."""
        self._alarms.set("register", now + delay, self._attempt)

    def stop(self, now: float) -> None:
        """Unregister; the state becomes `ended` when that is answered or given up."""
        if self.state in (RegistrationState.UNREGISTERING, RegistrationState.ENDED):
            return
        self._alarms.clear_all()
        self._drop_delivery()
        if self.state is RegistrationState.WAITING or not (
            self._bound or self.state is RegistrationState.REGISTERING
        ):
            self._change(RegistrationState.ENDED)
            return
        self._change(RegistrationState.UNREGISTERING)
        self._tried = set()
        self._asked = 0
        self._send(now)

    def give_up(self) -> None:
        """Wait no longer for the answer to what `stop` sent; the binding stays until it expires."""
        self._drop_delivery()
        if self.state is RegistrationState.UNREGISTERING:
            self._change(RegistrationState.ENDED, "unregistering was not answered in time")

    def check_address(self, now: float) -> None:
        """Peers may reach us at another address now: register that one, too soon after another only later."""
        if self.state is not RegistrationState.REGISTERED or self.flow is None:
            return
        if self._own_contact(self.flow) == self._contact:
            return
        when = max(now, self._moved_at + MOVE_PAUSE)
        self._moved_at = when
        self._alarms.set("register", when, self._attempt)

    def connection_lost(self, peer: Hop, now: float) -> None:
        """The connection over which the registrar would send us calls is gone: make a new one, soon.

        Ever later, if the registrar closes each of them.
        """
        if self.state is not RegistrationState.REGISTERED or self.flow is None or self.flow.peer != peer.peer:
            return
        self._losses = self._losses + 1 if now - self._registered_at < RETRY_MOST else 0
        when = now + min(RETRY_MOST, 2.0**self._losses) * self._spread(1.0, 2.0)
        if when < self._refresh_at:
            self._refresh_at = when
            self._alarms.set("register", when, self._attempt)

    def seconds_left(self, now: float) -> int:
        """For how long the registrar keeps the binding."""
        return max(0, round(self.expires_at - now)) if self.expires_at is not None else 0

    # --- requests -------------------------------------------------------------------------------------

    def _attempt(self, now: float) -> None:
        self._tried = set()
        self._asked = self.account.expires
        self._drop_delivery()
        if self.state is not RegistrationState.REGISTERED:
            self._change(RegistrationState.REGISTERING)
        self._send(now)

    def _send(self, now: float) -> None:
        account = self.account
        uri = str(SipUri(self._registrar.host, port=self._registrar.port, scheme=self._registrar.scheme))
        self._cseq += 1
        leaving = self._asked == 0
        if not leaving:
            self._contact = self._own_contact(self.flow or self._registrar.address)
        contacts = [("Contact", self._contact)]
        if self._bound not in ("", self._contact):
            contacts.append(("Contact", f"{self._bound};expires=0"))  # nobody answers there any more
        who = Address(account.address, account.display_name)
        fields = (
            MAX_FORWARDS,
            ("From", f"{who};tag={self._tag}"),
            ("To", str(who)),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._cseq} REGISTER"),
            *contacts,
            ("Expires", str(self._asked)),
            ("User-Agent", self._layer.user_agent),
            *self._auth.headers("REGISTER", uri),
        )
        self._delivery = self._layer.request(
            Request("REGISTER", uri, Headers(fields)),
            self._registrar.target,
            self._on_response,
            now,
            contact=None if leaving else self._contact_for,
        )

    def _drop_delivery(self) -> None:
        if self._delivery is not None:
            self._delivery.abandon()
            self._delivery = None

    def _contact_for(self, hop: Hop) -> str:
        """The Contact of a REGISTER that goes to `hop`."""
        self._contact = self._own_contact(hop)
        return self._contact

    def _own_contact(self, hop: Hop) -> str:
        user = self.account.contact_user or self.account.user
        secure = self._registrar.scheme == "sips"
        return contact(user, self._layer.local(hop), hop.transport, sips=secure)

    # --- answers --------------------------------------------------------------------------------------

    def _on_response(self, response: Response, now: float) -> None:
        if response.status < 200 or response.cseq[0] != self._cseq or self.state is RegistrationState.ENDED:
            return
        if response.status < 300:
            self._auth.accepted(response)
            self._accepted(response, now)
        elif response.status in (401, 407):
            useless = self._auth.refused(response, self._tried)
            if useless is None:
                self._send(now)
            else:
                self._failed(useless, now)
        elif self._adapted(response):
            self._send(now)
        else:
            reason = printable(response.reason)  # if nobody answered, it says why
            text = reason if response.source is None else f"{response.status} {reason}".rstrip()
            self._failed(text, now, response)

    def _adapted(self, response: Response) -> bool:
        """Follow what a 423 or 3xx asks for, each once in an attempt; False if there is nothing to follow."""
        kind = "423" if response.status == 423 else "3xx" if response.status < 400 else ""
        if not kind or kind in self._tried:
            return False
        self._tried.add(kind)
        if kind == "423":
            least = _seconds(response, "min-expires")
            if least is None or not 0 < self._asked < least <= _LONGEST:
                return False
            self._asked = least
            return True
        targets = contacts_of(response, secure=self.account.registrar.scheme == "sips")
        if targets:
            self._registrar = targets[0]
        return bool(targets)

    def _accepted(self, response: Response, now: float) -> None:
        self._delivery = None
        if self.state is RegistrationState.UNREGISTERING:
            self._bound = ""
            self.expires_at = None
            self._change(RegistrationState.ENDED)
            return
        granted = min(self._granted(response), _LONGEST)
        if granted == 0:
            self._failed("the registrar granted 0 seconds", now)
            return
        self._failures = 0
        self.granted = granted
        self._bound = self._contact
        self.flow = response.source
        self.expires_at = now + granted
        self._registered_at = now
        latest = max(granted - LEAST_MARGIN, granted / 2, 1.0)
        share = self._spread(REFRESH_SHARE, REFRESH_SHARE + REFRESH_SPREAD)
        self._refresh_at = now + min(max(granted * share, 1.0), latest)
        self._alarms.set("register", self._refresh_at, self._attempt)
        self._alarms.set("expire", now + granted, self._expired)
        self._change(RegistrationState.REGISTERED)
        self.check_address(now)

    def _granted(self, response: Response) -> int:
        """Seconds, from our Contact among those of the answer, else from Expires, else what we asked for."""
        try:
            values = response.headers.items("contact")
        except RemoteProtocolError as error:
            log.debug("- %s: useless Contact: %s", self.account.address, error)
            values = []
        for value in values:
            try:
                found = Address.parse(value)
            except RemoteProtocolError:
                continue
            # The only binding is ours, even if a registrar that helps with NATs has put in another address.
            ours = _same(found.uri, self._contact) or (len(values) == 1 and "expires" not in response.headers)
            if ours and (number := _number(found.params.get("expires"))) is not None:
                return number
        number = _seconds(response, "expires")
        return self._asked if number is None else number

    def _failed(self, error: str, now: float, response: Response | None = None) -> None:
        self._delivery = None
        if self.state is RegistrationState.UNREGISTERING:
            self._change(RegistrationState.ENDED, error)
            return
        self._registrar = self.account.registrar
        passing = (
            response is not None
            and (response.status == 408 or response.status >= 500)
            and response.status < 600
        )
        self._failures += 1
        pause = min(RETRY_MOST, (RETRY_SOON if passing else RETRY) * 2 ** min(self._failures - 1, 8))
        pause *= self._spread(0.8, 1.0)
        if response is not None and (wished := _seconds(response, "retry-after")):
            pause = max(pause, min(wished, _LONGEST_RETRY_AFTER))
        self._alarms.set("register", now + pause, self._attempt)
        if passing and self.state is RegistrationState.REGISTERED:
            self._change(RegistrationState.REGISTERED, error)  # the binding is still there
        else:
            self._change(RegistrationState.FAILED, error)

    def _expired(self, now: float) -> None:
        self._bound = ""
        self.expires_at = None
        if self.state is RegistrationState.REGISTERED:
            self._change(RegistrationState.FAILED, self.last_error or "the registration has expired")

    # --- state ----------------------------------------------------------------------------------------

    def _change(self, state: RegistrationState, error: str = "") -> None:
        if state is RegistrationState.REGISTERING:
            error = self.last_error  # until it is known better
        if (state, error) == (self.state, self.last_error):
            return
        log.debug("- %s: %s -> %s", self.account.address, self.state, state)
        self.state, self.last_error = state, error
        self._on_change(self)

    def _spread(self, low: float, high: float) -> float:
        """A number between `low` and `high`, another one each time."""
        return low + (high - low) * (int(self._layer.tokens(4), 36) / 36**4)


def _same(uri: str, own: str) -> bool:
    """Whether a registrar means our Contact by `uri`: user, host and port are what it has to keep."""
    try:
        theirs, ours = SipUri.parse(uri), SipUri.parse(Address.parse(own).uri)
    except RemoteProtocolError:
        return False
    return _identity(theirs) == _identity(ours)


def _identity(uri: SipUri) -> tuple[str, str, int]:
    return unquote(uri.user or ""), uri.host.lower(), uri.address.port


def _seconds(response: Response, key: str) -> int | None:
    """The number that a header field begins with: Retry-After may add a comment."""
    return _number((response.headers.get(key) or "").split(";")[0].split("(")[0].strip())


def _number(text: str | None) -> int | None:
    if not text or not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    return int(text)
