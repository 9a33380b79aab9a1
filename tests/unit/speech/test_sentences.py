import asyncio
from collections.abc import AsyncIterator

import pytest

from active_call.speech.sentences import LONGEST, sentences


def cut(*pieces: str) -> list[str]:
    async def texts() -> AsyncIterator[str]:
        for piece in pieces:
            yield piece

    async def collect() -> list[str]:
        return [sentence async for sentence in sentences(texts())]

    return asyncio.run(collect())


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["Hello. How are", " you? Fine"], ["Hello.", " How are you?", " Fine"]),
        (["Hello.", " Bye."], ["Hello.", " Bye."]),
        (["It is 3", ".5 euros."], ["It is 3.5 euros."]),
        (["\u4f60\u597d\u3002\u4e16\u754c"], ["\u4f60\u597d\u3002", "\u4e16\u754c"]),
        (['He said "no." Then left'], ['He said "no."', " Then left"]),
        (["", " ", "\n"], []),
        ([], []),
    ],
)
def test_cuts_at_the_ends_of_sentences(pieces: list[str], expected: list[str]) -> None:
    assert cut(*pieces) == expected


def test_a_sentence_comes_before_the_text_ends() -> None:
    async def first() -> str:
        async def texts() -> AsyncIterator[str]:
            yield "First. Sec"
            raise AssertionError("asked for more before it was needed")

        return await anext(aiter(sentences(texts())))

    assert asyncio.run(first()) == "First."


def test_nothing_is_lost_and_nothing_is_too_long() -> None:
    text = "word " * 300 + "x" * 1_000
    parts = cut(text)
    assert "".join(parts) == text
    assert max(map(len, parts)) <= LONGEST
