"""The timers of one call: what runs out is handled in its turn, among everything else that happens."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Timer:
    """A timer of the call, and the notice that it ran out."""

    action: Callable[[], None]
    handle: asyncio.TimerHandle | None = None


class Timers:
    """Made by the call, whose inbox is `post`."""

    def __init__(self, post: Callable[[Timer], None]) -> None:
        self._post = post
        self._running: set[Timer] = set()

    def __len__(self) -> int:
        return len(self._running)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Do something later."""
        timer = Timer(action)
        timer.handle = asyncio.get_running_loop().call_later(seconds, self._post, timer)
        self._running.add(timer)
        return timer

    def soon(self, action: Callable[[], None]) -> None:
        """Do something after what has happened before."""
        timer = Timer(action)
        self._running.add(timer)
        self._post(timer)

    def ran_out(self, timer: Timer) -> None:
        """Its turn has come; nothing happens if it was cancelled meanwhile."""
        if timer in self._running:
            self._running.remove(timer)
            timer.handle = None  # which has it, too
            timer.action()

    def cancel(self, timer: Timer | None) -> None:
        """Also a timer that ran out, if its notice still waits in the inbox."""
        if timer in self._running:
            self._running.remove(timer)
            if timer.handle is not None:
                timer.handle.cancel()

    def cancel_all(self) -> None:
        """The call is over."""
        for timer in list(self._running):
            self.cancel(timer)
