"""What all SIP header fields are made of: tokens, quoted strings, lists, parameters (RFC 3261 §25.1)."""

import re
from collections.abc import Mapping

from active_call.core.errors import RemoteProtocolError

TOKEN_CHARS = r"A-Za-z0-9\-.!%*_+`'~"
QUOTED = r'"(?:[^"\\]|\\.)*"'

_TOKEN = re.compile(f"[{TOKEN_CHARS}]+")
_PARAM = re.compile(rf"\s*;\s*([{TOKEN_CHARS}]+)(?:\s*=\s*({QUOTED}|[^\s;,\"<>]*))?\s*", re.DOTALL)
_ITEM = {
    separator: re.compile(rf'(?:[^{separator}"<]|{QUOTED}|<[^<>]*>)*', re.DOTALL) for separator in (",", ";")
}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")

Params = Mapping[str, str | None]
"""Header or URI parameters, names in lower case; None stands for a parameter without a value."""


def is_token(text: str) -> bool:
    """Whether `text` may be a method, a header's name or an option tag."""
    return _TOKEN.fullmatch(text) is not None


def split_list(text: str, separator: str = ",") -> list[str]:
    """The items of a list, cut outside quoted strings and angle brackets, stripped.

    Raises RemoteProtocolError if a quote or bracket is never closed.
    """
    if '"' not in text and "<" not in text:
        return [item.strip() for item in text.split(separator)]
    items = []
    position = 0
    item = _ITEM[separator]
    while True:
        match = item.match(text, position)
        assert match is not None  # the pattern matches the empty string
        items.append(match.group().strip())
        position = match.end()
        if position == len(text):
            return items
        if text[position] != separator:
            raise RemoteProtocolError("a quote or an angle bracket is not closed")
        position += 1


def parse_params(text: str) -> dict[str, str | None]:
    """Parameters from `;name=value;flag`. Raises RemoteProtocolError on anything else."""
    params: dict[str, str | None] = {}
    position = 0
    while position < len(text):
        match = _PARAM.match(text, position)
        if match is None:
            raise RemoteProtocolError(f'malformed parameters at "{text[position : position + 20].strip()}"')
        params.setdefault(match.group(1).lower(), match.group(2))
        position = match.end()
    return params


def salvage_params(text: str) -> dict[str, str | None]:
    """The well-formed parameters among whatever `text` is; for answering broken messages."""
    params: dict[str, str | None] = {}
    for item in re.split("[;,]", text):
        name, equals, value = (part.strip() for part in item.partition("="))
        if is_token(name) and not re.search(r'[\s"<>]', value):
            params.setdefault(name.lower(), value if equals else None)
    return params


def format_params(params: Params) -> str:
    """The inverse of `parse_params`."""
    return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in params.items())


def quote(text: str) -> str:
    """`text` as a quoted string, which stays on its line."""
    return '"' + _CONTROL.sub(" ", text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquote(text: str) -> str:
    """The text within a quoted string; anything else comes back as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def printable(text: str) -> str:
    """`text` of a message for the world outside, logs and terminals included.

    Bytes that are no UTF-8 become replacement characters, control characters become blanks.
    """
    if text.isprintable():
        return text
    return _CONTROL.sub(" ", text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def one_line(text: str) -> str:
    """`text` fit for a header's value or a reason phrase: without line ends and other control characters."""
    return _CONTROL.sub(" ", text).strip()
