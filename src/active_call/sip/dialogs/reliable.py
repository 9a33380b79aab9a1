"""Provisional responses that are repeated until the caller acknowledges them by PRACK (RFC 3262 §3).

One at a time: the next waits for the PRACK of the one before, and a 2xx for that of one with a description.
"""

import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from active_call.core.owner import Owner
from active_call.sip.messages.capabilities import requires, supports
from active_call.sip.messages.message import Request
from active_call.sip.transactions.timers import GIVE_UP, T1
from active_call.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from active_call.sip.dialogs.usage import Usage

_MOST_WAITING = 8
_RACK = re.compile(r"\s*([0-9]{1,10})\s+([0-9]{1,10})\s+(\S+)\s*")

Provisional = tuple[int, bytes]
"""Status and description."""


class ReliableResponses:
    """The server's side of one INVITE."""

    _usage = Owner["Usage"]()

    def __init__(self, usage: "Usage", invite: ServerTransaction, on_silence: Callable[[float], None]) -> None:
        """`on_silence` is called if no PRACK comes for 32 seconds."""
        self._usage = usage
        self._invite = invite
        self._on_silence: Callable[[float], None] | None = on_silence
        self._number = 1 + int(usage.layer.tokens(5), 36)  # below 2**26: room for all that follow
        self._current: Provisional | None = None
        self._waiting: deque[Provisional] = deque(maxlen=_MOST_WAITING)
        self._interval = T1
        self._then: Callable[[float], None] | None = None
        self._stopped = False

    def wanted(self, sdp: bytes) -> bool:
        """Whether a response must be reliable: the caller insists, or is able to and there is a description."""
        request = self._invite.request
        return requires(request, "100rel") or (bool(sdp) and supports(request, "100rel"))

    @property
    def describing(self) -> bool:
        """Whether a description waits for its PRACK: no 2xx may be sent meanwhile."""
        if self._stopped:
            return False
        return any(sdp for _, sdp in self._waiting) or (self._current is not None and bool(self._current[1]))

    def send(self, status: int, sdp: bytes, now: float) -> None:
        """Send it now, or after those that wait."""
        self._waiting.append((status, sdp))
        self._next(now)

    def then(self, action: Callable[[float], None]) -> None:
        """Call `action` when nothing is left to be acknowledged."""
        self._then = action

    def stop(self) -> None:
        """There is a final response: nothing is repeated any more, though a PRACK may still come."""
        self._stopped = True
        self._on_silence = None
        self._waiting.clear()
        self._then = None
        self._usage.alarms.clear("repeat 1xx", "no PRACK")

    def acknowledged(self, prack: Request, now: float) -> Provisional | None:
        """The response that `prack` is about; None if it is about none that waits."""
        match = _RACK.fullmatch(prack.headers.get("rack") or "")
        invite = self._invite.request
        if match is None or self._current is None:
            return None
        number, cseq, method = int(match.group(1)), int(match.group(2)), match.group(3)
        if (number, cseq, method) != (self._number, invite.cseq[0], "INVITE"):
            return None
        done, self._current = self._current, None
        self._number += 1
        self._usage.alarms.clear("repeat 1xx", "no PRACK")
        return done

    def proceed(self, now: float) -> None:
        """After a PRACK was answered: what waits for it."""
        self._next(now)
        if self._current is None and self._then is not None:
            action, self._then = self._then, None
            action(now)

    def _next(self, now: float) -> None:
        if self._current is None and self._waiting and not self._stopped:
            self._current = self._waiting.popleft()
            self._interval = T1
            self._usage.alarms.set("no PRACK", now + GIVE_UP, self._silence)
            self._transmit(now)

    def _transmit(self, now: float) -> None:
        assert self._current is not None
        status, sdp = self._current
        headers = (("Require", "100rel"), ("RSeq", str(self._number)))
        self._usage.respond(self._invite, status, now, headers=headers, body=sdp)
        self._usage.alarms.set("repeat 1xx", now + self._interval, self._repeat)

    def _repeat(self, now: float) -> None:
        self._interval *= 2  # without a limit, unlike other repetitions (§3)
        self._transmit(now)

    def _silence(self, now: float) -> None:
        on_silence = self._on_silence
        self.stop()
        if on_silence is not None:
            on_silence(now)
