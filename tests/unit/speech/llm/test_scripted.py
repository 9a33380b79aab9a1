import asyncio

import pytest

from active_call.core.errors import ProviderError
from active_call.speech.llm.hints import hint
from active_call.speech.llm.scripted import ScriptedLlm
from active_call.speech.providers import ChatMessage, LlmOption
from active_call.testing.clock import run

RULES = [
    {"when": "start", "say": "Welcome."},
    {"when": "followup", "say": ["Still there?", "Hello?"]},
    {"when": "dtmf", "say": "A key."},
    {"when": ["a table", "reserve"], "say": "For how many?"},
    {"when": r"\b(\d+|two) people", "say": "Fine.", "delay_ms": 300, "tokenMs": 50},
    {"say": ["Pardon?", "I did not get that."]},
]


def answer(*said: str | ChatMessage, rules: list[dict[str, object]] | None = None) -> str:
    """The answer to a conversation in which the caller spoke last."""
    messages = [ChatMessage("system", "Be kind.")]
    for item in said:
        messages += [item if isinstance(item, ChatMessage) else ChatMessage("user", item)]
        messages += [ChatMessage("assistant", "…")]

    async def collect() -> str:
        option = LlmOption(provider="scripted", rules=RULES if rules is None else rules)
        return "".join([text async for text in ScriptedLlm().stream(messages[:-1] or messages, option)])

    return run(collect())


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("I want A TABLE, please!", "For how many?"),
        ("reserve", "For how many?"),
        ("preserve", "Pardon?"),
        ("2 people", "Fine."),
        ("Two People", "Fine."),
        (hint("followup"), "Still there?"),
        (hint("dtmf", "1"), "A key."),
        (hint("start"), "Welcome."),
    ],
)
def test_the_first_rule_that_matches_answers(said: str | ChatMessage, reply: str) -> None:
    assert answer(said) == reply


def test_a_conversation_that_begins_is_the_start() -> None:
    assert answer() == "Welcome."


def test_a_list_is_said_in_turns() -> None:
    assert answer("what", "a table", "eh") == "I did not get that."
    assert answer("what", "eh", "huh") == "Pardon?"
    assert answer(hint("followup"), hint("followup")) == "Hello?"


def test_without_a_rule_it_still_answers() -> None:
    assert answer("what", rules=[]) == "Sorry, I did not understand that."


def test_phrases_of_scripts_without_spaces_match_within_the_text() -> None:
    assert answer("我要订一张桌子", rules=[{"when": ["订一张桌子"], "say": "好的。"}]) == "好的。"


def test_it_takes_its_time() -> None:
    async def times() -> list[tuple[str, int]]:
        messages = [ChatMessage("system", ""), ChatMessage("user", "two people")]
        option = LlmOption(rules=[{"when": "two", "say": "One  two\nthree", "delay_ms": 300, "token_ms": 50}])
        loop = asyncio.get_running_loop()
        return [(text, round(loop.time() * 1000)) async for text in ScriptedLlm().stream(messages, option)]

    assert run(times()) == [("One", 300), ("  two", 350), ("\nthree", 400)]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"when": "a"}, "rule 1: say"),
        ({"when": "a", "sayy": "b", "say": "b"}, "rule 1: sayy"),
        ({"when": "(", "say": "b"}, "rule 1: when: not a regular expression"),
        ({"say": "b", "delay_ms": -1}, "rule 1: delay_ms"),
        ({"say": []}, "rule 1: say"),
    ],
)
def test_wrong_rules_are_named(rule: dict[str, object], text: str) -> None:
    with pytest.raises(ProviderError, match=text.replace("(", r"\(")):
        answer("a", rules=[rule])
