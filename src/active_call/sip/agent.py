"""The SIP agent: the stack on a UDP socket in an asyncio loop."""

import asyncio
import ipaddress
import logging
import re
import socket
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from active_call import __version__
from active_call.core.errors import LocalProtocolError
from active_call.core.log import TRACE
from active_call.core.tokens import Tokens, token_source
from active_call.sip.auth import Credentials
from active_call.sip.call import SipCall
from active_call.sip.events import Ended, SipEvent
from active_call.sip.stack import Incoming, SipStack
from active_call.sip.transport.udp import UdpTransport, source_address
from active_call.sip.usage import Usage

__all__ = ["Credentials", "Direction", "OnMessage", "SipAgent", "SipCall", "SipConfig"]

log = logging.getLogger(__name__)

Direction: TypeAlias = Literal["<", ">"]
OnMessage = Callable[[Direction, bytes, float, str], None]
"""Gets each datagram: ">" or "<", bytes without secrets, monotonic time, Call-ID."""

_CLOSE_SECONDS = 1.0
_RESOLVED_SECONDS = 60.0
_MAX_ROUTES = 4096
_ANYWHERE = "192.0.2.1"
"""A documentation address (RFC 5737): the way to it is the default route."""

_SECRETS = re.compile(
    rb"(\n(?:proxy-)?authorization[ \t]*:[ \t]*)[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*", re.IGNORECASE
)
_CALL_ID = re.compile(rb"\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)


@dataclass(frozen=True)
class SipConfig:
    """Where the agent listens and what it says of itself."""

    host: str
    port: int
    external_ip: str | None = None
    """What peers see instead of our address, if there is a NAT between."""
    user_agent: str = f"active-call/{__version__}"


class SipAgent:
    """Makes and takes calls. All methods are called from the loop's thread."""

    def __init__(
        self,
        config: SipConfig,
        *,
        on_call: Callable[[SipCall], None],
        tokens: Tokens | None = None,
        on_message: OnMessage | None = None,
    ) -> None:
        self._config = config
        self._on_call = on_call
        self._on_message = on_message
        self._stack = SipStack(local=self._local, tokens=tokens or token_source(), user_agent=config.user_agent)
        self._transport: UdpTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._calls: dict[Usage, SipCall] = {}
        self._routes: dict[str, str] = {}
        self._resolved: dict[str, tuple[str, float]] = {}
        self._waiting: dict[str, deque[tuple[bytes, int]]] = {}
        self._lookups: set[asyncio.Future[str]] = set()
        self._flushing = False
        self._closing: asyncio.Event | None = None

    # --- life -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind the socket. Raises ConfigError naming the address."""
        self._loop = asyncio.get_running_loop()
        self._transport = await UdpTransport.open(self._config.host, self._config.port, self._received)

    async def aclose(self) -> None:
        """Wait a moment for the answers to what was sent last, then close the socket."""
        if self._transport is None:
            return
        self.accepting = False
        self._closing = asyncio.Event()
        self._flush()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._closing.wait()
        if self._timer is not None:
            self._timer.cancel()
        for lookup in self._lookups:
            lookup.cancel()
        transport, self._transport = self._transport, None
        await transport.aclose()

    @property
    def address(self) -> tuple[str, int]:
        """The bound (host, port). Raises LocalProtocolError before `start`."""
        if self._transport is None:
            raise LocalProtocolError("the SIP agent is not running")
        return self._transport.address

    @property
    def accepting(self) -> bool:
        """If False, new INVITEs and OPTIONS get 503 with Retry-After."""
        return self._stack.accepting

    @accepting.setter
    def accepting(self, value: bool) -> None:
        self._stack.accepting = value

    def advertised_host(self, peer: str) -> str:
        """The address at which `peer` (address or name, with or without a port) reaches us."""
        if self._config.external_ip:
            return self._config.external_ip
        bound = self._transport.address[0] if self._transport is not None else self._config.host
        if _is_address(bound) and not ipaddress.ip_address(bound).is_unspecified:
            return bound
        peer = self._peer_address(peer)
        host = self._routes.get(peer)
        if host is None:
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            host = self._routes[peer] = source_address(peer)
        return host

    def _peer_address(self, peer: str) -> str:
        name = peer.strip("[]")
        if not _is_address(name):
            name = peer.rsplit(":", 1)[0].strip("[]")
        if _is_address(name):
            return name
        if name == "localhost":
            return "127.0.0.1"
        return self._resolved.get(name, (_ANYWHERE, 0.0))[0]

    def _local(self, peer: str) -> tuple[str, int]:
        return self.advertised_host(peer), self.address[1]

    # --- calls ----------------------------------------------------------------------------------------

    def invite(
        self,
        target: str,
        *,
        caller: str,
        sdp: bytes,
        listener: Callable[[SipEvent], None],
        headers: Mapping[str, str] = MappingProxyType({}),
        credentials: Credentials | None = None,
        call_id: str | None = None,
    ) -> SipCall:
        """Call `target`.

        Raises LocalProtocolError if it, `caller` or a header can't be used, and before `start`.
        """
        if self._transport is None:
            raise LocalProtocolError("the SIP agent is not running")
        usage = self._stack.invite(
            target,
            caller=caller,
            sdp=sdp,
            now=self._loop.time(),
            headers=headers,
            credentials=credentials,
            call_id=call_id,
        )
        call = self._calls[usage] = SipCall(usage, self._loop.time, self._flush)
        call.listener = listener
        self._flush()
        return call

    def _dispatch(self) -> None:
        """Hand out all events. Whatever an owner does meanwhile adds to the same queue."""
        while (happened := self._stack.next_event()) is not None:
            if isinstance(happened, Incoming):
                self._send_all()  # 100 Trying, before the owner takes its time
                call = self._calls[happened.usage] = SipCall(happened.usage, self._loop.time, self._flush)
                self._present(call)
            else:
                call = self._calls[happened.usage]
                if isinstance(happened.event, Ended):
                    del self._calls[happened.usage]
                call.deliver(happened.event)

    def _present(self, call: SipCall) -> None:
        try:
            self._on_call(call)
        except Exception:
            log.exception("- %s: the call could not be taken", call.call_id)
            call.reject(500, "Server Internal Error")

    # --- datagrams and time ---------------------------------------------------------------------------

    def _received(self, data: bytes, source: tuple[str, int]) -> None:
        now = self._loop.time()
        self._note("<", data, source, now)
        try:
            self._stack.receive_datagram(data, source, now)
        except Exception:
            # A bug of ours; this one message is lost and everything else goes on.
            log.exception("- a datagram of %d bytes from %s:%d could not be handled", len(data), *source)
        self._flush()

    def _timer_due(self) -> None:
        self._timer = None
        self._stack.handle_timer(self._loop.time())
        self._flush()

    def _flush(self) -> None:
        """Hand out events, send what is queued, set the timer: after everything that touched the stack."""
        if self._flushing:
            return  # called by an owner from within an event
        self._flushing = True
        try:
            self._dispatch()
            self._send_all()
        finally:
            self._flushing = False
        if self._closing is not None and not self._stack.busy and not self._waiting:
            self._closing.set()
        deadline = self._stack.next_deadline()
        if deadline is None or (self._timer is not None and self._timer_at <= deadline):
            return  # waking up too early costs less than moving the timer at each message
        if self._timer is not None:
            self._timer.cancel()
        # Kept here, because uvloop's handles of what is already due have no `when()`.
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._timer_due)

    def _send_all(self) -> None:
        for data, (host, port) in self._stack.datagrams_to_send():
            if _is_address(host):
                self._send(data, (host, port), (host, port))
            else:
                self._send_to_name(data, host, port)

    def _send(self, data: bytes, destination: tuple[str, int], named: tuple[str, int]) -> None:
        if self._transport is None:
            return
        self._note(">", data, destination, self._loop.time())
        try:
            self._transport.send(data, destination)
        except OSError as error:
            self._failed(named, error)

    def _failed(self, destination: tuple[str, int], error: OSError) -> None:
        log.warning("- can't send to %s:%d: %s", *destination, error.strerror or error)
        self._loop.call_soon(self._report_failure, destination)

    def _report_failure(self, destination: tuple[str, int]) -> None:
        self._stack.transport_failed(destination, self._loop.time())
        self._flush()

    # --- names ----------------------------------------------------------------------------------------

    def _send_to_name(self, data: bytes, name: str, port: int) -> None:
        address, until = self._resolved.get(name, ("", 0.0))
        if until > self._loop.time():
            self._send(data, (address, port), (name, port))
        elif name in self._waiting:
            self._waiting[name].append((data, port))
        else:
            self._waiting[name] = deque([(data, port)], maxlen=1000)
            family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
            lookup = self._loop.run_in_executor(None, _resolve, name, family)
            self._lookups.add(lookup)
            lookup.add_done_callback(lambda done: self._looked_up(name, done))

    def _looked_up(self, name: str, lookup: asyncio.Future[str]) -> None:
        self._lookups.discard(lookup)
        waiting = self._waiting.pop(name, ())
        if lookup.cancelled():
            return
        error = lookup.exception()
        if error is None:
            if len(self._resolved) >= _MAX_ROUTES:
                self._resolved.clear()
            self._resolved[name] = (lookup.result(), self._loop.time() + _RESOLVED_SECONDS)
            for data, port in waiting:
                self._send(data, (lookup.result(), port), (name, port))
            return
        failure = error if isinstance(error, OSError) else OSError(str(error))
        for port in {port for _, port in waiting}:
            self._failed((name, port), failure)

    def _note(self, direction: Direction, data: bytes, peer: tuple[str, int], now: float) -> None:
        """Show a datagram to whoever wants to see it."""
        tracing = log.isEnabledFor(TRACE)
        if not tracing and self._on_message is None:
            return
        shown = _SECRETS.sub(rb"\1<hidden>", data)
        if tracing:
            log.log(TRACE, "%s %s:%d\n%s", direction, *peer, shown.decode("utf-8", "backslashreplace"))
        if self._on_message is not None:
            found = _CALL_ID.search(data)
            call_id = found.group(1).strip().decode("utf-8", "surrogateescape") if found else ""
            self._on_message(direction, shown, now, call_id)


def _resolve(name: str, family: socket.AddressFamily) -> str:
    """The first address of `name`. Raises OSError; runs in a thread."""
    try:
        found = socket.getaddrinfo(name, None, family=family, type=socket.SOCK_DGRAM)
    except UnicodeError as error:  # a label too long for DNS
        raise OSError(f"{name[:80]!r} is no host name") from error
    return str(found[0][4][0])


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
