"""SIP URIs (RFC 3261 §19.1)."""

import re
from dataclasses import dataclass, field

from active_call.core.errors import RemoteProtocolError
from active_call.sip.hop import Hop, Target, Transport
from active_call.sip.messages.grammar import Params, format_params

_NEVER = r"\s\x00-\x1f\x7f<>\""
"""What no URI holds: blanks, control characters, delimiters."""
_SIP_URI = re.compile(
    r"(sips?):"
    rf"(?:([^@{_NEVER}]+)@)?"  # user, and password after a colon; it may hold ; ? and /
    r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+)"
    r"(?::([0-9]{1,5}))?"
    rf"((?:;[^{_NEVER}?;]+)*)"
    rf"(?:\?([^{_NEVER}]*))?",
    re.IGNORECASE,
)
_TEL_URI = re.compile(rf"tel:(\+?[0-9A-Fa-f*().\-]+)(?:;[^{_NEVER}?]*)?", re.IGNORECASE)
_ANY_URI = re.compile(rf"([A-Za-z][A-Za-z0-9+.\-]*):[^{_NEVER}]+")


@dataclass(frozen=True, slots=True)
class SipUri:
    """`sip:user@host:port;params?headers`."""

    host: str
    """Name or address; IPv6 addresses stand in brackets."""
    user: str | None = None
    """Still percent-encoded, with `:password` if there is one."""
    port: int | None = None
    params: Params = field(default_factory=dict)
    headers: str = ""
    scheme: str = "sip"

    @classmethod
    def parse(cls, text: str) -> "SipUri":
        """Raises RemoteProtocolError: 416 for another scheme, 400 for a malformed one (RFC 3261 §8.2.2.1)."""
        match = _SIP_URI.fullmatch(text)
        if match is None:
            other = _ANY_URI.fullmatch(text)
            if other is not None and other.group(1).lower() not in ("sip", "sips"):
                raise RemoteProtocolError(f'unsupported URI scheme "{other.group(1)}"', 416)
            raise RemoteProtocolError(f'malformed SIP URI "{text[:80]}"')
        scheme, user, host, port, params, headers = match.groups()
        number = int(port) if port else None
        if number is not None and not 0 < number < 65536:
            raise RemoteProtocolError(f"port {port} in a URI is out of range")
        pairs: dict[str, str | None] = {}
        if params:
            for item in params[1:].split(";"):
                name, equals, value = item.partition("=")
                pairs[name.lower()] = value if equals else None
        return cls(host, user, number, pairs, headers or "", scheme.lower())

    @property
    def target(self) -> Target:
        """Where requests to this URI go (RFC 3263 §4.1). `sips` and `transport=tls` both mean TLS."""
        named = (self.params.get("transport") or "").lower()
        transport: Transport | None = None
        if self.scheme == "sips" or named == "tls":
            transport = "tls"
        elif named in ("udp", "tcp"):
            transport = "tcp" if named == "tcp" else "udp"
        return Target((self.params.get("maddr") or self.host).strip("[]"), self.port, transport)

    @property
    def address(self) -> Hop:
        """The same without DNS: the defaults of port and transport."""
        return self.target.hop

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user is not None else ""
        port = f":{self.port}" if self.port is not None else ""
        headers = f"?{self.headers}" if self.headers else ""
        return f"{self.scheme}:{user}{self.host}{port}{format_params(self.params)}{headers}"


def is_uri(text: str) -> bool:
    """Whether `text` looks like an absolute URI of any scheme."""
    return _ANY_URI.fullmatch(text) is not None


def tel_number(uri: str) -> str | None:
    """The number in a `tel:` URI (RFC 3966), without its parameters; None for what is no such URI."""
    match = _TEL_URI.fullmatch(uri)
    return match.group(1) if match is not None else None


def bracketed(host: str) -> str:
    """`host` as URIs and Via write it: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def contact(user: str, address: tuple[str, int], transport: Transport, *, sips: bool = False) -> str:
    """A Contact of ours: who can be reached at `address` (host, port) over `transport`."""
    scheme = "sips" if sips else "sip"
    user = f"{user}@" if user else ""
    params = "" if sips or transport == "udp" else f";transport={transport}"
    return f"<{scheme}:{user}{bracketed(address[0])}:{address[1]}{params}>"
