"""Where a 3xx sends us (RFC 3261 §8.1.3.4, §13.2.2.2)."""

import logging

from active_call.core.errors import RemoteProtocolError
from active_call.sip.messages.address import Address
from active_call.sip.messages.message import Response
from active_call.sip.messages.uri import SipUri

log = logging.getLogger(__name__)

MAX_REDIRECTS = 5
"""How many further targets one call tries."""


class Targets:
    """The targets of one call: each is tried once, the best of the last redirection first."""

    def __init__(self, first: SipUri) -> None:
        self._secure = first.scheme == "sips"
        self._tried = {_key(first)}
        self._waiting: list[SipUri] = []
        self._named = False

    def redirected(self, response: Response) -> None:
        """Take in a 300, 301, 302 or 305."""
        known = {*self._tried, *map(_key, self._waiting)}
        named = contacts_of(response, secure=self._secure)
        self._named = bool(named)
        self._waiting = [uri for uri in named if _key(uri) not in known] + self._waiting

    def next(self) -> SipUri | None:
        """The target to try now; None if there are no more, or there were too many."""
        if not self._waiting or len(self._tried) > MAX_REDIRECTS:
            return None
        uri = self._waiting.pop(0)
        self._tried.add(_key(uri))
        return uri

    @property
    def why_not(self) -> str:
        """Why there is no target after the last redirection, in words."""
        if len(self._tried) > MAX_REDIRECTS:
            return f"{MAX_REDIRECTS} further targets were tried already"
        return "only to where it was tried already" if self._named else "its Contact names nobody we can call"


def contacts_of(response: Response, *, secure: bool = False) -> list[SipUri]:
    """The SIP targets in Contact, by falling `q`; what can't be called is left out.

    `secure`: so is what is no `sips` URI; who has asked for TLS all the way gets nothing less (§8.1.3.4).
    """
    found: list[tuple[float, SipUri]] = []
    try:
        values = response.headers.items("contact")[: 2 * MAX_REDIRECTS]
    except RemoteProtocolError as error:
        log.debug("< useless Contact in %d: %s", response.status, error)
        return []
    for value in values:
        try:
            address = Address.parse(value)
            uri = SipUri.parse(address.uri)
        except RemoteProtocolError as error:
            log.debug("< no target: %s", error)
            continue
        if not uri.headers and (uri.scheme == "sips" or not secure):
            found.append((_quality(address), uri))
    return [uri for _, uri in sorted(found, key=lambda one: -one[0])]


def _quality(address: Address) -> float:
    text = address.params.get("q") or ""
    digits = text.replace(".", "", 1)
    return float(text) if digits.isascii() and digits.isdigit() and len(text) <= 5 else 1.0


def _key(uri: SipUri) -> str:
    return str(uri).lower()
