"""When the interpreter may stop for a full garbage collection: it takes 50-120 ms with 200 calls (measured).

There is little to find: what belongs to a call refers to it weakly (`core.owner`), and goes with it.
"""

import asyncio
import gc
from collections.abc import Callable

_THRESHOLDS = 10_000, 10, 1 << 30
"""Of the young generations; the oldest never comes to its turn by itself."""
_MOST_ENDED = 2000
"""So many calls leave no more cycles behind than a live system should carry: at most some 80 objects each, when
a recogniser was cancelled."""
_LOOK_SECONDS = 1.0


async def collect(count: Callable[[], tuple[int, int]]) -> None:
    """For ever: a full collection when no call is live, or after many calls.

    `count` gives the calls live and ended. What exists at the start is taken for permanent, and not looked at.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    _, done = count()
    try:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            live, ended = count()
            if due(live, ended - done):
                gc.collect()
                done = ended
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def due(live: int, ended: int) -> bool:
    """Whether now is the time, with so many calls `live` and `ended` since the last collection."""
    return ended >= _MOST_ENDED or (ended > 0 and live == 0)
