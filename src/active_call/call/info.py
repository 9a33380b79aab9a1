"""Keys that travel as SIP INFO (a convention, not a standard; RFC 6086 §1), both ways."""

import asyncio
import re
from collections import deque
from collections.abc import Callable

from active_call.core.errors import MediaError

_KEYS = "0123456789*#ABCD"
_SIGNAL = re.compile(r"^\s*signal\s*[=:]\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_MOST_WAITING = 256
_SAME_KEY_SECONDS = 1.0


def digit_of_info(content_type: str, body: bytes) -> str | None:
    """The key that `application/dtmf-relay` (`Signal=5`) or `application/dtmf` (`5`) tells; None for all else.

    A key is one of 0-9 * # A-D in either case, or an event number of RFC 4733 from 10 to 15; a flash is none.
    """
    kind = content_type.partition(";")[0].strip().lower()
    text = body.decode("ascii", "replace")
    found = _SIGNAL.search(text)
    if found is not None and kind in ("application/dtmf-relay", "application/dtmf", ""):
        text = found[1]
    elif kind != "application/dtmf":
        return None
    key = text.strip().upper()
    if key in ("10", "11", "12", "13", "14", "15"):
        return _KEYS[int(key)]
    return key if len(key) == 1 and key in _KEYS else None


class KeyWays:
    """Hears a key once that a telephone tells in two ways: by INFO, and in its audio."""

    def __init__(self) -> None:
        self._way = self._digit = ""
        self._at = 0.0

    def is_news(self, way: str, digit: str, now: float) -> bool:
        """Whether a key that came this `way` at `now` (seconds) is not what the other way has told already."""
        if digit == self._digit and way != self._way and now - self._at < _SAME_KEY_SECONDS:
            return False
        self._way, self._digit, self._at = way, digit, now
        return True


class InfoKeys:
    """Presses keys by INFO, one after another, each for its time."""

    def __init__(self, send: Callable[[str, bytes], None]) -> None:
        """`send` takes a content type and a body."""
        self._send = send
        self._waiting: deque[tuple[str, int, int]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def press(self, digits: str, *, duration_ms: int, gap_ms: int) -> None:
        """After what is being pressed. Raises MediaError if too many keys wait."""
        if len(self._waiting) + len(digits) > _MOST_WAITING:
            raise MediaError(f"{len(self._waiting)} keys wait to be pressed; no more than {_MOST_WAITING} can")
        self._waiting.extend((digit.upper(), duration_ms, gap_ms) for digit in digits)
        if self._timer is None:
            self._next()

    def stop(self) -> None:
        """Press no more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> None:
        self._timer = None
        if self._waiting:
            digit, duration_ms, gap_ms = self._waiting.popleft()
            delay = (duration_ms + gap_ms) / 1000
            self._timer = asyncio.get_running_loop().call_later(delay, self._next)
            self._send("application/dtmf-relay", f"Signal={digit}\r\nDuration={duration_ms}\r\n".encode())
