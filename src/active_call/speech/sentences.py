"""Cutting streamed text into sentences, so that speaking can begin before the text is complete."""

import re
from collections.abc import AsyncIterable, AsyncIterator

LONGEST = 400
"""A "sentence" without any end is cut here, at a space where there is one."""

_END = re.compile(r"""[.!?;:…]+["')\]]*(?=\s)|[。！？；…]+[”’」』）]*|\n""")
_CLOSED = re.compile(r"""[.!?…]["')\]]*\s*$""")


async def sentences(pieces: AsyncIterable[str]) -> AsyncIterator[str]:
    """Whole sentences of the joined `pieces`, as soon as each is complete; blank ones are left out.

    A sentence is complete at its full stop followed by a space, or at the end of a piece that ends in one.
    """
    held = ""
    async for piece in pieces:
        held += piece
        while True:
            match = _END.search(held)
            if match is not None and match.end() <= LONGEST:
                cut = match.end()
            elif len(held) > LONGEST:
                cut = held.rfind(" ", 1, LONGEST) + 1 or LONGEST
            else:
                break
            sentence, held = held[:cut], held[cut:]
            if sentence.strip():
                yield sentence
        if held.strip() and _CLOSED.search(held):
            yield held
            held = ""
    if held.strip():
        yield held
