"""A language model that follows rules: the same answers each time, with no key and no network.

    llm:
      provider: scripted
      rules:
        - when: [book a table, reserve a table]   # phrases within what the caller said last
          scene: default                          # only in this scene
          say: Gladly. For how many people? <goto scene="booking"/>
        - when: "\\b(one|two|three|four)\\b"        # or a regular expression
          say: ["A table it is.", "Another table."]   # one after the other
          delay_ms: 200                           # before the first word
          token_ms: 40                            # between words
        - when: followup                          # or an occasion: start, followup, dtmf, transfer
          say: Are you still there?
        - say: Sorry, I did not understand.       # without `when`: whatever else was said

The first rule that matches answers. `say` may contain tags and `{{variables}}`, which are filled in before.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence

from active_call.core.errors import PlaybookError, ProviderError
from active_call.speech.llm.hints import hint
from active_call.speech.llm.rules import Rule, parse_rules
from active_call.speech.providers import ChatMessage, LlmOption

_WORD = re.compile(r"\s*\S+\s*$|\s*\S+")
_LOST = "Sorry, I did not understand that."


class ScriptedLlm:
    """Answers from `option.rules`. Keeps nothing: whose turn it is in a list follows from the history."""

    async def stream(self, messages: Sequence[ChatMessage], option: LlmOption) -> AsyncIterator[str]:
        """The answer, word by word. Raises ProviderError if a rule is wrong."""
        try:
            rules = parse_rules(option.rules, where="llm.rules")
        except PlaybookError as error:
            raise ProviderError("scripted", str(error)) from error
        prompts = [message for message in messages if message.role != "assistant"][1:] or [hint("start")]
        rule = _first_match(rules, prompts[-1])
        text = _LOST
        if rule is not None:
            before = sum(_first_match(rules, message) is rule for message in prompts[:-1])
            text = rule.say[before % len(rule.say)]
            await asyncio.sleep(rule.delay_ms / 1000)
        for number, word in enumerate(_WORD.findall(text)):
            if rule is not None and rule.token_ms and number:
                await asyncio.sleep(rule.token_ms / 1000)
            yield word


def _first_match(rules: Sequence[Rule], message: ChatMessage) -> Rule | None:
    return next((rule for rule in rules if rule.matches(message)), None)
