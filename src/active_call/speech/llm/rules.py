"""Rules of the scripted model: when the caller says this, answer that."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from active_call.core.errors import PlaybookError
from active_call.speech.llm.hints import occasion_of
from active_call.speech.providers import ChatMessage
from active_call.speech.turn import bare_words
from active_call.wire.model import Model, also
from active_call.wire.problems import explain

OCCASIONS = ("start", "followup", "dtmf", "transfer")

_MAX_TEXT = 500
"""Characters of the caller's words that are searched: a costly pattern stays bounded."""

_LITERAL = re.compile(r"[\w' ]+")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Rule(Model):
    """One rule. `when`: a pattern, or a list of phrases, or an occasion; without it the rule always applies."""

    model_config = ConfigDict(extra="forbid")

    when: str | list[str] | None = None
    scene: str | None = None
    say: Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]
    delay_ms: int = also("delay_ms", "delayMs", default=0, ge=0)
    token_ms: int = also("token_ms", "tokenMs", default=0, ge=0)

    def matches(self, message: ChatMessage) -> bool:
        """Whether the rule answers `message`."""
        occasion = occasion_of(message)
        if self.when is None:
            return True
        if occasion is not None or self.when in OCCASIONS:
            return self.when == occasion
        text = message.content[:_MAX_TEXT]
        if isinstance(self.when, str):
            return re.search(self.when, text, re.IGNORECASE) is not None
        words = bare_words(text)
        return any(_contains(words, bare_words(phrase)) for phrase in self.when)

    def phrases(self) -> list[str]:
        """What callers may say for this rule, as far as it is literal: its list, or `book|a table`."""
        if isinstance(self.when, list):
            return self.when
        if self.when is None or self.when in OCCASIONS:
            return []
        return [part.strip() for part in self.when.split("|") if part.strip() and _LITERAL.fullmatch(part)]


def _contains(words: str, phrase: str) -> bool:
    spaced = phrase.isascii()
    return bool(phrase) and (f" {phrase} " in f" {words} " if spaced else phrase in words)


def parse_rules(rules: Sequence[dict[str, Any]], *, where: str) -> list[Rule]:
    """Checked rules. Raises PlaybookError naming the rule (from 1) and its key; `where` is put in front."""
    parsed = []
    for number, rule in enumerate(rules, 1):
        try:
            parsed.append(Rule.model_validate(rule))
            if isinstance(parsed[-1].when, str):
                re.compile(parsed[-1].when)
        except ValidationError as error:
            raise PlaybookError(f"{where}: rule {number}: {explain(error)}") from error
        except re.error as error:
            raise PlaybookError(f"{where}: rule {number}: when: not a regular expression: {error}") from error
    return parsed
