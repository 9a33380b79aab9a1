"""One TCP or TLS connection that carries SIP."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

from active_call.sip.hop import Hop
from active_call.sip.transport.framing import PING, PONG, BrokenStream, StreamFramer

log = logging.getLogger(__name__)

MAX_UNSENT_BYTES = 1 << 18
"""What may wait for a peer that doesn't read; more ends the connection."""
DEAD_SECONDS = 10.0
"""How long the peer's kernel may leave what we sent unconfirmed; TCP alone would wait a quarter of an hour."""
PONG_SECONDS = 10.0
"""How long the answer to a keep-alive may take (RFC 5626 §4.4.1)."""
PARTIAL_SECONDS = 30.0
"""How long a message may take to arrive, the first one included."""

OnMessage = Callable[["Connection", bytes], None]
OnLost = Callable[["Connection", str], None]


class Connection(asyncio.Protocol):
    """Hands on whole messages, answers keep-alives, and never waits for the peer."""

    def __init__(self, hop: Hop, on_open: "OnOpen", on_message: OnMessage, on_lost: OnLost) -> None:
        """`hop` is where it leads to if we opened it; of others it becomes known in `on_open`."""
        self.hop = hop
        self.dialled = bool(hop.host)
        """Whether we opened it."""
        self.used_at = 0.0
        """When the last message came or went."""
        self._on_open = on_open
        self._on_message = on_message
        self._on_lost = on_lost
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._why = ""
        self._partial_since: float | None = None
        self._pinged_at: float | None = None
        self._ponged = False
        self._silent = True

    # --- what asyncio calls -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open, the TLS handshake over."""
        self._transport = cast("asyncio.Transport", transport)
        self.used_at = self._loop.time()
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * DEAD_SECONDS))
        if not self.dialled:
            peer = transport.get_extra_info("peername") or ("", 0)
            self.hop = self.hop._replace(host=peer[0], port=peer[1])
            self._partial_since = self.used_at
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """Bytes."""
        now = self._loop.time()
        self._pinged_at = None
        try:
            items = self._framer.receive(data)
        except BrokenStream as error:
            # Strangers that never said anything in SIP come in floods, and would fill the log.
            level = logging.DEBUG if self._silent else logging.WARNING
            log.log(level, "- closed the connection with %s: %s", self.hop, error)
            self.close(str(error))
            return
        for item in items:
            if item == PING:
                self._write(PONG)
            elif item == PONG:
                self._ponged = True
            else:
                self._silent = False
                self.used_at = now
                self._on_message(self, item)
        if self._framer.partial:
            self._partial_since = now if items or self._partial_since is None else self._partial_since
        elif not self._silent:
            self._partial_since = None

    def eof_received(self) -> None:
        """The peer sends nothing more."""
        self._why = self._why or "the peer closed the connection"

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed or broken."""
        self._transport = None
        reason = self._why or (str(getattr(exc, "strerror", None) or exc) if exc else "closed")
        self._on_lost(self, reason)

    # --- for its owner ----------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether anything can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def certificate(self) -> dict[str, object]:
        """The peer's, as `getpeercert` gives it; empty if it was not verified."""
        assert self._transport is not None
        session = self._transport.get_extra_info("ssl_object")
        return session.getpeercert() or {} if session is not None else {}

    def send(self, data: bytes) -> None:
        """Send a message."""
        self.used_at = self._loop.time()
        self._write(data)

    def ping(self) -> None:
        """Keep it open."""
        self._write(PING)
        if self._ponged and self._pinged_at is None:  # who never answered doesn't know how
            self._pinged_at = self._loop.time()

    def check(self, now: float) -> None:
        """Close it if the peer is dead or dawdles."""
        if self._pinged_at is not None and now - self._pinged_at >= PONG_SECONDS:
            self.close(f"no answer to a keep-alive in {PONG_SECONDS:.0f} s")
        elif self._partial_since is not None and now - self._partial_since >= PARTIAL_SECONDS:
            self.close(f"no whole message in {PARTIAL_SECONDS:.0f} s")

    def close(self, why: str, *, politely: bool = False) -> None:
        """End it: at once, or after what is unsent."""
        self._why = self._why or why
        if self._transport is None:
            return
        if politely:
            self._transport.close()
        else:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            log.warning("- closed the connection with %s: it doesn't read what we send", self.hop)
            self.close("the peer doesn't read")


OnOpen = Callable[[Connection], None]
