"""What to do with an inbound call: ask a webhook, or pick a playbook by caller and callee."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self
from urllib.parse import unquote

from pydantic import AfterValidator, Field, field_validator, model_validator

from active_call.config.fields import LONGEST_MATCHED, Regex, Section, WebUrl

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _method(text: str) -> str:
    if text.upper() not in ("POST", "PUT", "PATCH", "GET"):
        raise ValueError(f'"{text}" is not a method for webhooks; write POST, PUT, PATCH or GET')
    return text.upper()


def _header(pair: tuple[str, str]) -> tuple[str, str]:
    name, value = pair
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f'"{name}" is not the name of a header')
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"the value of {name} may hold printable ASCII only")
    return pair


class Rule(Section):
    """Calls whose caller and callee match go to `playbook`; an absent pattern matches anybody."""

    caller: Regex | None = None
    callee: Regex | None = None
    playbook: str = Field(min_length=1)


class PlaybookHandler(Section):
    """Playbooks by rules, first match first; else `default`; else the call is rejected."""

    type: Literal["playbook"]
    default: str | None = Field(None, min_length=1)
    rules: list[Rule] = Field(default_factory=list)

    def route(self, caller: str, callee: str) -> str | None:
        """The playbook for a call between two SIP URIs, or None to reject it."""
        return route(self.rules, caller, callee) or self.default


class WebhookHandler(Section):
    """An HTTP service is told, and decides: it connects to the call, or doesn't."""

    type: Literal["webhook"]
    url: WebUrl | None = None
    urls: list[WebUrl] = Field(default_factory=list)
    method: Annotated[str, AfterValidator(_method)] = "POST"
    headers: list[Annotated[tuple[str, str], AfterValidator(_header)]] = Field(default_factory=list, repr=False)

    @property
    def targets(self) -> tuple[str, ...]:
        """Where to: `url` and `urls`, each once."""
        return tuple(dict.fromkeys(([self.url] if self.url else []) + self.urls))

    @field_validator("headers", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        """Headers are written as [name, value] pairs, or as a table."""
        if isinstance(value, dict):
            return list(value.items())
        if isinstance(value, list):
            return [tuple(pair) if isinstance(pair, list) else pair for pair in value]
        return value

    @model_validator(mode="after")
    def _has_target(self) -> Self:
        if not self.url and not self.urls:
            raise ValueError('a webhook needs a url = "https://...", or urls = [...]')
        return self

    def route(self, caller: str, callee: str) -> str | None:
        """None: a webhook names no playbook."""
        return None


def route(rules: Sequence[Rule], caller: str, callee: str) -> str | None:
    """The playbook of the first rule that matches both URIs, or None."""
    for rule in rules:
        if _matches(rule.caller, caller) and _matches(rule.callee, callee):
            return rule.playbook
    return None


def user_part(uri: str) -> str:
    """The user of a SIP URI or the number of a tel URI, unescaped and without parameters (RFC 3261 §19.1.1)."""
    scheme, colon, rest = uri.partition(":")
    if not colon:
        return ""
    user, at, _ = rest.rpartition("@")
    if not at and scheme.lower() != "tel":
        return ""
    return unquote(re.split("[:;]", user if at else rest, maxsplit=1)[0])


def _matches(pattern: re.Pattern[str] | None, uri: str) -> bool:
    """Patterns are searched in the whole URI, then in its user part, so that "^\\+1" and "^sip:" both work.

    The other side chooses the URI: an overlong one matches nothing, to bound what a slow pattern can cost.
    """
    if pattern is None:
        return True
    if len(uri) > LONGEST_MATCHED:
        return False
    return bool(pattern.search(uri) or pattern.search(user_part(uri)))
