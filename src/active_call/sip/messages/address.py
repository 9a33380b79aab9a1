"""From, To, Contact, Route, Record-Route: an optional name, a URI, parameters (RFC 3261 §20.10)."""

import re
from dataclasses import dataclass, field

from active_call.core.errors import RemoteProtocolError
from active_call.sip.messages.grammar import (
    QUOTED,
    Params,
    format_params,
    parse_params,
    quote,
    unquote,
)
from active_call.sip.messages.uri import is_uri

# Only simple patterns, tried at one place each: nothing here takes more than linear time on hostile input.
_QUOTED_NAME = re.compile(rf"({QUOTED})\s*<", re.DOTALL)
_UNQUOTED_NAME = re.compile(r"[^\"\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*")
"""Names should be quoted that are more than tokens (`Doe, John`, `Anna & Bob`), but many are not."""
# Without brackets everything from the first semicolon on belongs to the header, and ? and , are not allowed.
_ADDR_SPEC = re.compile(r"([^\s<>\";,?]+)\s*((?:;.*)?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Address:
    """`"name" <uri>;params`."""

    uri: str
    name: str = ""
    """The display name without quotes."""
    params: Params = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Raises RemoteProtocolError."""
        text = text.strip()
        if "<" in text:
            quoted = _QUOTED_NAME.match(text)
            if quoted is not None:
                name, rest = quoted.group(1), text[quoted.end() :]
            else:
                name, _, rest = text.partition("<")
            uri, closed, params = rest.partition(">")
            if not closed or (quoted is None and _UNQUOTED_NAME.fullmatch(name) is None):
                raise _malformed(text)
            params = params.lstrip()
        else:
            match = _ADDR_SPEC.fullmatch(text)
            if match is None:
                raise _malformed(text)
            name, (uri, params) = "", match.groups()
        if not is_uri(uri):
            raise RemoteProtocolError(f'malformed URI "{uri[:80]}" in an address')
        return cls(uri, unquote(name.strip()) if name else "", parse_params(params) if params else {})

    @property
    def tag(self) -> str:
        """The `tag` parameter, empty if there is none."""
        return self.params.get("tag") or ""

    def __str__(self) -> str:
        name = f"{quote(self.name)} " if self.name else ""
        return f"{name}<{self.uri}>{format_params(self.params)}"


def _malformed(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(f'malformed address "{text[:80]}"')
