"""Broken messages from proper ones, by a seed."""

import random
from collections.abc import Callable, Sequence

_NASTY = (
    b"",
    b"\x00",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b";",
    b",",
    b'"',
    b"<",
    b">",
    b"%",
    b"%s%n",
    b"\xff\xfe",
    "😀é".encode(),
    b"-1",
    b"0",
    b"4294967296",
    b"99999999999999999999999999",
    b"1e309",
    b"sip:",
    b"sips:[::1]:99999",
    b"SIP/2.0",
    b"z9hG4bK",
    b"A" * 5000,
)


class Mutator:
    """Makes one message after another."""

    def __init__(self, seed: int, corpus: Sequence[bytes]) -> None:
        self._random = random.Random(seed)
        self._corpus = tuple(corpus)

    def message(self) -> bytes:
        """A broken message, at most 64 KiB."""
        data = self._random.choice(self._corpus)
        ways: tuple[Callable[[bytes], bytes], ...] = (
            self._flip,
            self._insert,
            self._cut,
            self._repeat_line,
            self._swap_lines,
            self._replace_token,
            self._splice,
        )
        for _ in range(self._random.choice((1, 1, 1, 2, 3, 8))):
            data = self._random.choice(ways)(data)
        return data[:65_535]

    def _place(self, data: bytes) -> int:
        return self._random.randrange(len(data) + 1)

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return data
        changed = bytearray(data)
        changed[self._random.randrange(len(data))] = self._random.randrange(256)
        return bytes(changed)

    def _insert(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + self._random.choice(_NASTY) + data[at:]

    def _cut(self, data: bytes) -> bytes:
        start, end = sorted((self._place(data), self._place(data)))
        return data[:start] + data[end:]

    def _repeat_line(self, data: bytes) -> bytes:
        lines = data.split(b"\r\n")
        line = self._random.choice(lines)
        at = self._random.randrange(len(lines) + 1)
        return b"\r\n".join([*lines[:at], *[line] * self._random.choice((1, 2, 50)), *lines[at:]])

    def _swap_lines(self, data: bytes) -> bytes:
        lines = data.split(b"\r\n")
        self._random.shuffle(lines)
        return b"\r\n".join(lines)

    def _replace_token(self, data: bytes) -> bytes:
        tokens = data.split(b" ")
        tokens[self._random.randrange(len(tokens))] = self._random.choice(_NASTY)
        return b" ".join(tokens)

    def _splice(self, data: bytes) -> bytes:
        return data[: self._place(data)] + (other := self._random.choice(self._corpus))[self._place(other) :]
