"""Cuts a model's reply, while it streams, into pieces to say and actions to take.

The same items come out however the text is cut into chunks. A piece ends where a sentence ends, once the text
shows that it does: `3.14`, `example.com` and `Mr. Lee` stay whole. A tag is never spoken, not even half of one.
"""

import logging
import re
from dataclasses import dataclass
from typing import TypeAlias

from active_call.playbook.tags import Scan, Tag, scan_tag

log = logging.getLogger(__name__)

ACTIONS = ("hangup", "refer", "play", "goto", "set_var", "http", "collect")
_ACTIONS = frozenset(ACTIONS)

_MAX_TAG = 4096
_MIN_PIECE = 4
_LONG_PIECE = 80
_MAX_PIECE = 240


@dataclass(frozen=True, slots=True)
class Say:
    """A piece of speech, cleaned of markup: a sentence, or part of a long one."""

    text: str


Item: TypeAlias = Say | Tag

_ABBREVIATIONS = frozenset(
    ["mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "approx", "dept", "ext", "nr", "tel"]
)
_WORD_BEFORE_DOT = re.compile(r"([\w.]*)\.$")
_ALWAYS_ENDS = "。！？\n"
_ENDS_BEFORE_SPACE = ".!?…"
_CLOSERS = "\"')]}»”’」』）】*_"
_SOFT_ALWAYS = "，；、"
_SOFT_BEFORE_SPACE = ",;:"


class Splitter:
    """Takes text in chunks, gives items. With `sentences=False` a piece ends only at tags."""

    def __init__(self, *, sentences: bool = True) -> None:
        self._sentences = sentences
        self._buffer = ""  # not looked at yet, or a possible tag
        self._text = ""  # free of tags, not said yet

    def feed(self, text: str) -> list[Item]:
        """What is certain now that `text` has come."""
        self._buffer += text
        return self._scan(last=False)

    def finish(self) -> list[Item]:
        """The rest: no more text comes."""
        return self._scan(last=True)

    def _scan(self, *, last: bool) -> list[Item]:
        items: list[Item] = []
        while self._buffer:
            at = self._buffer.find("<")
            if at != 0:
                end = len(self._buffer) if at < 0 else at
                self._text += self._buffer[:end]
                self._buffer = self._buffer[end:]
                continue
            found = scan_tag(self._buffer, _ACTIONS, ACTIONS)
            if found is Scan.TEXT or (found is Scan.MORE and last):
                self._text += "<"
                self._buffer = self._buffer[1:]
            elif isinstance(found, Scan):
                if not last and len(self._buffer) <= _MAX_TAG:
                    break
                log.warning("- a tag that never ends was dropped, %d characters", len(self._buffer))
                self._buffer = ""
            else:
                tag, length = found
                self._buffer = self._buffer[length:]
                items += self._pieces(last=True)
                if tag is not None:
                    items.append(tag)
        items += self._pieces(last=last)
        return items

    def _pieces(self, *, last: bool) -> list[Item]:
        pieces: list[Item] = []
        while self._sentences and (end := _end_of_piece(self._text)) is not None:
            pieces += _say(self._text[:end])
            self._text = self._text[end:]
        if last:
            pieces += _say(self._text)
            self._text = ""
        return pieces


def _end_of_piece(text: str) -> int | None:
    """Where the first piece of `text` ends for certain."""
    start = len(text) - len(text.lstrip())
    for at in range(start, len(text)):
        char = text[at]
        after = text[at + 1 : at + 2]
        if char in _ALWAYS_ENDS or (char in _ENDS_BEFORE_SPACE and _ends_here(text, start, at)):
            end = at + 1 if char in _ALWAYS_ENDS else _with_closers(text, at + 1)
            if char != "\n" and _width(text[start:end]) < _MIN_PIECE:
                continue
            return end
        if at - start >= _LONG_PIECE and (
            char in _SOFT_ALWAYS or (char in _SOFT_BEFORE_SPACE and after.isspace())
        ):
            return at + 1
        if at - start >= _MAX_PIECE and (after.isspace() or ord(char) > 0x2E80):
            return at + 1
        if at - start >= 2 * _MAX_PIECE:
            return at + 1  # no space for so long: this is no sentence, and must not be looked through for ever
    return None


def _ends_here(text: str, start: int, at: int) -> bool:
    """Whether the `.`, `!` or `?` at `at` ends a sentence: space follows, and it is no abbreviation."""
    follows = _with_closers(text, at + 1)
    if follows == len(text) or not (text[follows].isspace() or ord(text[follows]) > 0x2E80):
        return False
    if text[at] != ".":
        return True
    word = _WORD_BEFORE_DOT.search(text, start, at + 1)
    before = word[1] if word else ""
    initials = len(before) == 1 and before.isupper() and before != "I"
    dotted = "." in before and all(len(part) <= 1 for part in before.split("."))
    listed = before.isdigit() and not text[start : at - len(before)].strip(" \t#*-")
    return not (initials or dotted or listed or before.lower() in _ABBREVIATIONS)


def _with_closers(text: str, at: int) -> int:
    while at < len(text) and text[at] in _CLOSERS:
        at += 1
    return at


def _width(text: str) -> int:
    """Characters, where one of a script without spaces counts for two."""
    return sum(2 if ord(char) > 0x2E80 and char.isalnum() else 1 for char in text)


_LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*\)")
_LINE_START = re.compile(r"^\s*(?:#{1,6}\s+|[-*+•]\s+|>\s+)+")
_EMPHASIS = re.compile(r"(?<![\s\d])\*+|\*+(?![\s\d*])|\*{2,}|`+|~~|__+|(?<!\w)_(?=\w)|(?<=\w)_(?!\w)")
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2190-\u21ff\u2300-\u23ff\u20e3\ufe00-\ufe0f\u200d\U000e0020-\U000e007f]"
)
_SPACES = re.compile(r"\s+")


def clean(text: str) -> str:
    """`text` as it is spoken: without Markdown, emoji and leftover closing marks."""
    text = _EMOJI.sub("", text)
    text = _LINE_START.sub("", text)
    text = _LINK.sub(r"\1", text)
    text = _EMPHASIS.sub("", text)
    return _SPACES.sub(" ", text).strip().lstrip("".join((_CLOSERS, _ENDS_BEFORE_SPACE, _ALWAYS_ENDS, " ")))


def _say(text: str) -> list[Item]:
    text = clean(text)
    return [Say(text)] if any(char.isalnum() for char in text) else []
