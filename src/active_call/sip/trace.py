"""SIP messages for people to look at: without secrets."""

import logging
import re
from collections.abc import Callable
from typing import Literal, TypeAlias

from active_call.core.log import TRACE
from active_call.sip.hop import Hop

log = logging.getLogger(__name__)

Direction: TypeAlias = Literal["<", ">"]
OnMessage = Callable[[Direction, bytes, float, str, Hop], None]
"""Gets each message: ">" sent or "<" received, bytes without secrets, monotonic time, Call-ID, the peer."""

_AUTHORIZATION = re.compile(
    rb"(\n(?:proxy-)?authorization[ \t]*:[ \t]*)[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*", re.IGNORECASE
)
_SRTP_KEYS = re.compile(rb"\na=crypto:[^\r\n]*", re.IGNORECASE)
_KEY = re.compile(rb"(inline:)[^\s|;]*", re.IGNORECASE)
_CALL_ID = re.compile(rb"\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)


class Trace:
    """Shows each message to the log (at TRACE) and to `on_message`."""

    def __init__(self, on_message: OnMessage | None) -> None:
        self._on_message = on_message

    def note(self, direction: Direction, data: bytes, peer: Hop, now: float) -> None:
        """A message was sent or has come."""
        tracing = log.isEnabledFor(TRACE)
        if not (tracing or self._on_message is not None) or not data.strip():
            return
        shown = without_secrets(data)
        if tracing:
            log.log(TRACE, "%s %s\n%s", direction, peer.peer, shown.decode("utf-8", "backslashreplace"))
        if self._on_message is not None:
            found = _CALL_ID.search(data)
            call_id = found.group(1).strip().decode("utf-8", "surrogateescape") if found else ""
            self._on_message(direction, shown, now, call_id, peer.peer)


def without_secrets(data: bytes) -> bytes:
    """A message whose digest answers and media keys (SDES) are hidden."""
    shown = _AUTHORIZATION.sub(rb"\1<hidden>", data)
    return _SRTP_KEYS.sub(lambda line: _KEY.sub(rb"\1<hidden>", line.group()), shown)
