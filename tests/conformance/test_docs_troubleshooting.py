"""The sentences of docs/troubleshooting.md are those that the gateway says."""

import ast
import errno
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SENTENCES = [text for text in re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE) if " " in text]
_EXAMPLE = re.compile(r"[^\sA-Za-z'()-]|\b[a-zX]\b|[A-Z]{4,}|^(packets|within|over)$")
"""What stands for something else in a sentence: numbers, addresses, `…`, letters, codecs; or is next to it."""


def said() -> list[str]:
    """All texts in the code, with their ends where something is filled in."""
    return [
        " ".join(node.value.split())
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def fixed_parts(sentence: str) -> list[str]:
    """What is said word by word: at least three words between examples and punctuation."""
    words = [" | " if _EXAMPLE.search(word.strip(",;:")) else word for word in sentence.split()]
    parts = re.split(r"[,;:]? *\| *|[,;:] ", " ".join(words))
    return [part.strip(" ,;:") for part in parts if len(part.split()) >= 3]


SAID = [*said(), *map(os.strerror, errno.errorcode)]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_code_says_this(sentence: str) -> None:
    for part in fixed_parts(sentence):
        assert any(part in text for text in SAID), part


def test_there_are_sentences_and_a_wrong_one_would_be_seen() -> None:
    assert sum(bool(fixed_parts(sentence)) for sentence in SENTENCES) > 25
    assert fixed_parts("no RTP arrived for 50 s; 2500 packets got lost in space: …") == [
        "no RTP arrived for",
        "got lost in space",
    ]
    assert not any("got lost in space" in text for text in SAID)
