"""The timers of one call."""

import asyncio
import gc
import weakref

from active_call.call.timers import Timer, Timers
from active_call.testing.clock import run


def test_a_timer_that_ran_out_is_given_back_without_a_garbage_collection() -> None:
    async def script() -> None:
        inbox: list[Timer] = []
        done: list[str] = []
        timers = Timers(inbox.append)
        timers.after(1, lambda: done.append("later"))
        await asyncio.sleep(2)
        action = weakref.ref(inbox[0].action)
        timers.ran_out(inbox.pop())
        assert (done, len(timers), action()) == (["later"], 0, None)

    gc.collect()
    gc.disable()
    try:
        run(script())
    finally:
        gc.enable()
