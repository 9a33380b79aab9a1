"""Random tokens from an injected source, so that tests can compare bytes and calls can be replayed."""

import random
from collections.abc import Callable

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"

Tokens = Callable[[int], str]
"""Makes a random token of so many characters."""


def token_source(seed: int | None = None) -> Tokens:
    """Tokens from the system's randomness, or the same ones each time for a given seed."""
    source: random.Random = random.SystemRandom() if seed is None else random.Random(seed)

    def token(length: int) -> str:
        return "".join(source.choices(_ALPHABET, k=length))

    return token
