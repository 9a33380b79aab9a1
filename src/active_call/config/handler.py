"""What to do with an inbound call: ask a webhook, or pick a playbook by caller and callee."""

import re
from collections.abc import Sequence
from typing import ClassVar, Literal, Self
from urllib.parse import unquote

from pydantic import Field, field_validator, model_validator

from active_call.config.fields import Regex, Section

_LONGEST_MATCHED = 256


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
    """An HTTP service decides."""

    later: ClassVar[str] = "webhook handlers come with the API"

    type: Literal["webhook"]
    url: str | None = Field(None, pattern="^https?://")
    urls: list[str] = Field(default_factory=list)
    method: str = "POST"
    headers: list[tuple[str, str]] = Field(default_factory=list)

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
            raise ValueError('a webhook needs a url = "https://..."')
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
    if len(uri) > _LONGEST_MATCHED:
        return False
    return bool(pattern.search(uri) or pattern.search(user_part(uri)))
