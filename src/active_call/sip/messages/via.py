"""The Via header field: the way back of a response (RFC 3261 §20.42, RFC 3581)."""

import re
from dataclasses import dataclass, field, replace

from active_call.core.errors import RemoteProtocolError
from active_call.sip.hop import DEFAULT_PORTS, Hop, is_address, is_public
from active_call.sip.messages.grammar import TOKEN_CHARS, Params, format_params, parse_params, salvage_params

MAGIC_COOKIE = "z9hG4bK"
"""What branches start with since RFC 3261."""

_VIA = re.compile(
    rf"\s*SIP\s*/\s*2\.0\s*/\s*([{TOKEN_CHARS}]+)\s+"
    r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+)(?:\s*:\s*([0-9]{1,5}))?\s*([;,].*)?",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Via:
    """`SIP/2.0/UDP host:port;branch=…`."""

    transport: str
    host: str
    port: int | None = None
    params: Params = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, *, lenient: bool = False) -> "Via":
        """One Via value. Raises RemoteProtocolError; `lenient` only does so if no way back can be read."""
        match = _VIA.fullmatch(text)
        if match is None:
            raise RemoteProtocolError(f'malformed Via "{text[:80]}"')
        transport, host, port, params = match.groups()
        number = int(port) if port else None
        if number is not None and not 0 < number < 65536:
            raise RemoteProtocolError(f"port {port} in Via is out of range")
        if not params:
            return cls(transport, host, number)
        return cls(transport, host, number, salvage_params(params) if lenient else parse_params(params))

    @property
    def branch(self) -> str:
        """The transaction's identifier, empty if there is none."""
        return self.params.get("branch") or ""

    @property
    def _address(self) -> str:
        return self.host.strip("[]")

    def stamped(self, source: Hop) -> "Via":
        """With the address that the request came from (RFC 3261 §18.2.1, RFC 3581 §4)."""
        if "rport" in self.params:
            extra: dict[str, str | None] = {"received": source[0], "rport": str(source[1])}
        elif self._address != source[0]:
            extra = {"received": source[0]}
        else:
            return self
        return replace(self, params={**self.params, **extra})

    def response_address(self, source: Hop) -> Hop:
        """Where the response goes (RFC 3261 §18.2.2, RFC 3581 §4): over a connection, back over the same.

        Always the host that sent the request, never a `maddr` that it names: nobody aims responses at others.
        Who names a private address but comes from a public one is behind a NAT, though it knows no `rport`.
        """
        if source.reliable or "rport" in self.params:
            return source
        translated = is_address(self._address) and not is_public(self._address) and is_public(source.host)
        return source if translated else self.sent_by(source)

    def sent_by(self, source: Hop) -> Hop:
        """Where who sent it listens: the way back of last resort if its connection is closed."""
        return Hop(source.host, self.port or DEFAULT_PORTS[source.transport], source.transport)

    def __str__(self) -> str:
        port = f":{self.port}" if self.port is not None else ""
        return f"SIP/2.0/{self.transport} {self.host}{port}{format_params(self.params)}"
