"""Messages out of a stream of bytes (RFC 3261 §18.3), without I/O."""

import re

from active_call.core.errors import RemoteProtocolError

MAX_MESSAGE_BYTES = 65536
"""As much as a datagram could hold."""
MAX_HEAD_BYTES = 32768
_MAX_START_BYTES = 4096

PING = b"\r\n\r\n"
"""Asks for a PONG (RFC 5626 §3.5.1)."""
PONG = b"\r\n"

_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_START = re.compile(rb"SIP/\d+\.\d+ \d{3}|\S+ \S+ SIP/\d+\.\d+", re.IGNORECASE)


class BrokenStream(RemoteProtocolError):
    """Where the next message begins can't be known: nothing but closing the connection helps."""


class StreamFramer:
    """Cuts what arrives into messages and keep-alives."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._awaited = 0
        self._half_ping = False

    @property
    def partial(self) -> bool:
        """Whether a message has begun that isn't complete."""
        return bool(self._buffer)

    def receive(self, data: bytes) -> list[bytes]:
        """Whole messages, PINGs and PONGs in order. Raises BrokenStream, after which this is of no use."""
        self._buffer += data
        items: list[bytes] = []
        while (item := self._next()) is not None:
            items.append(item)
        return items

    def _next(self) -> bytes | None:
        if self._buffer.startswith(PONG):
            return self._keep_alive()
        if not self._buffer or self._buffer == b"\r" or len(self._buffer) < self._awaited:
            return None
        self._half_ping = False
        head = self._buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        if head < 0:
            self._check_beginning()
            self._searched = len(self._buffer)
            return None
        self._searched = head
        self._check_start(bytes(self._buffer[: self._buffer.find(b"\r\n")]))
        end = head + 4 + _content_length(bytes(self._buffer[: head + 2]))
        if head > MAX_HEAD_BYTES or end > MAX_MESSAGE_BYTES:
            raise BrokenStream(f"a message is larger than {MAX_MESSAGE_BYTES} bytes", 513)
        if len(self._buffer) < end:
            self._awaited = end
            return None
        message = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._searched = self._awaited = 0
        return message

    def _keep_alive(self) -> bytes:
        """Two line ends are a PING however they arrive: the second of two PONGs in a row counts as one."""
        whole = self._buffer.startswith(PING) and not self._half_ping
        ping = whole or self._half_ping
        del self._buffer[: 4 if whole else 2]
        self._half_ping = not ping
        return PING if ping else PONG

    def _check_beginning(self) -> None:
        """Recognise what is no SIP before memory fills up with it."""
        if len(self._buffer) > MAX_HEAD_BYTES:
            raise BrokenStream(f"the header fields take more than {MAX_HEAD_BYTES} bytes", 513)
        end = self._buffer.find(b"\r\n", 0, _MAX_START_BYTES)
        if end >= 0:
            self._check_start(bytes(self._buffer[:end]))
        elif len(self._buffer) >= _MAX_START_BYTES or b"\x00" in self._buffer[:_MAX_START_BYTES]:
            raise BrokenStream("this is no SIP")

    @staticmethod
    def _check_start(line: bytes) -> None:
        if len(line) > _MAX_START_BYTES or _START.match(line) is None:
            raise BrokenStream(f"this is no SIP: {line[:60]!r}")


def _content_length(head: bytes) -> int:
    """What the header says; without one there is no body. Raises BrokenStream."""
    values = {value.strip() for value in _LENGTH.findall(head)}
    if not values:
        return 0
    value = values.pop()
    if values or not value.isdigit() or len(value) > 9:
        raise BrokenStream(f"Content-Length {value[:20]!r} can't be understood")
    return int(value)
