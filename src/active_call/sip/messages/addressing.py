"""Whom to call, as whom, and over which way, from what an owner writes (RFC 3261 §8.1.1, RFC 3323)."""

from collections.abc import Iterable

from active_call.core.errors import LocalProtocolError, RemoteProtocolError
from active_call.sip.hop import Target
from active_call.sip.messages.address import Address
from active_call.sip.messages.grammar import one_line
from active_call.sip.messages.uri import SipUri, bracketed

ANONYMOUS = Address("sip:anonymous@anonymous.invalid", "Anonymous")
"""Who calls if nobody may know (RFC 3323 §4.1.1.3)."""

_TRANSPORTS = ("udp", "tcp", "tls")


def target_uri(text: str) -> SipUri:
    """The callee's URI: `sip:…`, `sips:…`, an address in brackets, or what comes after `sip:`.

    Raises LocalProtocolError.
    """
    text = text.strip()
    if text.startswith("<") or '"' in text:
        try:
            text = Address.parse(text).uri
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"callee: {error}") from None
    uri = _uri(text, "callee")
    check_transport(uri, f'callee "{text}"')
    return uri


def check_transport(uri: SipUri, name: str) -> None:
    """Whether we can send there. Raises LocalProtocolError."""
    if uri.headers:
        raise LocalProtocolError(f"{name}: header fields in a URI are not supported")
    transport = (uri.params.get("transport") or "udp").lower()
    if transport not in _TRANSPORTS:
        raise LocalProtocolError(f"{name}: the transport must be udp, tcp or tls")
    if uri.scheme == "sips" and transport == "udp" and "transport" in uri.params:
        raise LocalProtocolError(f"{name}: sips means TLS, which UDP can't carry")


def next_hop_target(text: str) -> Target:
    """Where to send to instead of the callee: a URI, or host:port. Raises LocalProtocolError."""
    uri = _uri(text.strip(), "next hop")
    check_transport(uri, f'next hop "{text}"')
    return uri.target


def to_uri(uri: SipUri) -> SipUri:
    """The To URI: whom, not how (§8.1.1.2 with §19.1.1's table: no transport there)."""
    params = {name: value for name, value in uri.params.items() if name not in ("transport", "maddr", "lr")}
    return SipUri(uri.host, uri.user, uri.port, params, scheme=uri.scheme)


def caller_address(text: str, host: str) -> Address:
    """Who calls: an address, a URI, `user@host`, or a user at `host`. Raises LocalProtocolError."""
    try:
        if "<" not in text and not text.lower().startswith(("sip:", "sips:")):
            text = f"sip:{text}" if "@" in text else f"sip:{text}@{bracketed(host)}"
        address = Address.parse(text)
        SipUri.parse(address.uri)
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"caller: {error}") from None
    return Address(address.uri, address.name)


def contact_value(text: str) -> str:
    """A Contact of the owner's: a URI or an address. Raises LocalProtocolError."""
    try:
        address = Address.parse(text if "<" in text else f"<{text}>")
        SipUri.parse(address.uri)
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"contact: {error}") from None
    return one_line(str(address))


def hides_caller(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether Privacy asks that the callee may not know who calls (RFC 3323, RFC 3325)."""
    for name, value in headers:
        kinds = {kind.strip().lower() for kind in value.replace(",", ";").split(";")}
        if name.lower() == "privacy" and kinds & {"id", "user"}:
            return True
    return False


def _uri(text: str, name: str) -> SipUri:
    try:
        return SipUri.parse(text if text.lower().startswith(("sip:", "sips:")) else f"sip:{text}")
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"{name}: {error}") from None
