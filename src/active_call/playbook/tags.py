"""Action tags in text: `<refer to="sip:1@example.com"/>`.

Attributes come in any order, in either kind of quotes or none, names in any case, values with HTML entities.
"""

import html
import re
from collections.abc import Container
from dataclasses import dataclass, field
from enum import Enum, auto

_NAME = re.compile(r"[A-Za-z_]*")
_ATTRIBUTE = re.compile(r"[A-Za-z_][\w.:-]*")
_BARE_VALUE = re.compile(r"[^\s\"'<>]+")
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Tag:
    """An action: its name in lower case and its attributes. `trusted`: no model wrote it."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    trusted: bool = False


class Scan(Enum):
    """Why there is no tag, or none yet."""

    TEXT = auto()
    """The `<` is an ordinary character."""
    MORE = auto()
    """Could become a tag: more text is needed."""
    OPEN = auto()
    """The name of a known tag is complete: it is a tag, and more text is needed."""


def scan_tag(text: str, names: Container[str], known: tuple[str, ...]) -> tuple[Tag | None, int] | Scan:
    """The tag at the start of `text`, which begins with `<`, and its length.

    The tag is None for a closing form (`</hangup>`). `names` are those in `known`.
    """
    closing = text[1:2] == "/"
    found = _NAME.match(text, 1 + closing)
    name = found[0].lower() if found else ""
    at = 1 + closing + len(name)
    if at == len(text):
        if name in names:
            return Scan.OPEN
        return Scan.MORE if any(other.startswith(name) for other in known) else Scan.TEXT
    if name not in names or not (text[at].isspace() or text[at] in "/>"):
        return Scan.TEXT
    attributes: dict[str, str] = {}
    while True:
        at = _skip_space(text, at)
        if at == len(text):
            return Scan.OPEN
        if text[at] == ">":
            return (None if closing else Tag(name, attributes)), at + 1
        if text[at] == "/":
            at += 1
            continue
        key = _ATTRIBUTE.match(text, at)
        if key is None:
            return Scan.TEXT
        at = _skip_space(text, key.end())
        if at == len(text):
            return Scan.OPEN
        if text[at] != "=":
            return Scan.TEXT
        at = _skip_space(text, at + 1)
        value = _value(text, at)
        if isinstance(value, Scan):
            return value
        attributes[key[0].lower()], at = value


def _skip_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _value(text: str, at: int) -> tuple[str, int] | Scan:
    if at == len(text):
        return Scan.OPEN
    quote = text[at]
    if quote not in "\"'":
        bare = _BARE_VALUE.match(text, at)
        if bare is None:
            return Scan.TEXT
        if bare.end() == len(text):
            return Scan.OPEN
        value = bare[0]
        if text[bare.end()] == ">" and value.endswith("/"):
            return html.unescape(value[:-1]), bare.end()
        return html.unescape(value), bare.end()
    end = at
    while (end := text.find(quote, end + 1)) >= 0:
        if end + 1 == len(text):
            return Scan.OPEN
        # A quote within the value, as in 'it's', is not followed by what may follow a value.
        if text[end + 1].isspace() or text[end + 1] in "/>":
            return html.unescape(text[at + 1 : end]), end + 1
    return Scan.OPEN
