"""All TCP and TLS connections: opened when needed, used again for everything to the same peer (RFC 5923)."""

import asyncio
import logging
import os
import socket
import ssl
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any

from active_call.core.errors import ConfigError
from active_call.sip.hop import Hop, Transport
from active_call.sip.transport.connection import PONG_SECONDS, Connection
from active_call.sip.transport.handshakes import HANDSHAKE_SECONDS, Handshakes
from active_call.sip.transport.sockets import bound_socket
from active_call.sip.transport.tls import mismatch

log = logging.getLogger(__name__)

CONNECT_SECONDS = 4.0
"""After which an address counts as dead."""
IDLE_SECONDS = 300.0
"""After which a connection that no call needs is closed."""
SWEEP_SECONDS = 30.0
"""Between keep-alives of ours (RFC 5626 §4.4.1 wants 24 to 29 over UDP, 95 to 120 over TCP; NATs want less)."""
MAX_ACCEPTED = 4096
MAX_ACCEPTED_PER_HOST = 1024
_MAX_UNSENT_BYTES = 1 << 18
_MAX_CLOSED = 4096
_MAX_SERVED = 1024
"""Names that are remembered per connection."""
_MAX_DIALLING = 1024
_BACKLOG = 1024

OnMessage = Callable[[bytes, Hop], None]
OnFailure = Callable[[Hop, str], None]
Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Connections:
    """What is sent to a hop goes over the connection there is, or over a new one.

    A connection that a peer opened leads back to it under its socket's address, as long as it lasts. One of
    ours to a named TLS server serves that name only, because only for that its certificate was checked.
    """

    def __init__(
        self,
        *,
        spawn: Spawn,
        on_message: OnMessage,
        on_failed: OnFailure,
        on_closed: OnFailure,
        tls: Callable[[], ssl.SSLContext],
        verify: bool = True,
        source: str | None = None,
    ) -> None:
        """`on_failed` is told what could not be sent, `on_closed` when a connection that was used goes away.

        `tls` makes the context of connections of ours when it is first needed (40 ms, in a thread). With
        `verify` certificates have to be for the domain. `source` is the address that connections leave from.
        """
        self._spawn = spawn
        self._on_message = on_message
        self._on_failed = on_failed
        self._on_closed = on_closed
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._verify = verify
        self._source = source
        self._connections: dict[Hop, Connection] = {}
        self._served: dict[Connection, set[Hop]] = {}
        self._dialling: dict[Hop, list[bytes]] = {}
        self._closed: OrderedDict[Hop, None] = OrderedDict()
        self._accepted: Counter[str] = Counter()
        self._refused = 0
        self._listeners: list[asyncio.Server | Handshakes] = []
        self._check_later: asyncio.TimerHandle | None = None

    # --- accepting --------------------------------------------------------------------------------------

    async def listen(self, host: str, port: int, context: ssl.SSLContext | None) -> int:
        """Accept TCP, or TLS with `context`; the port. Raises ConfigError naming the address."""
        transport: Transport = "tls" if context is not None else "tcp"
        sock = bound_socket(host, port, transport)

        def accepted() -> Connection:
            return Connection(Hop("", 0, transport), self._opened, self._received, self._lost)

        loop = asyncio.get_running_loop()
        listener: asyncio.Server | Handshakes
        try:
            if context is None:
                listener = await loop.create_server(accepted, sock=sock, backlog=_BACKLOG)
            else:
                listener = Handshakes(sock, partial(self._secure, accepted, context), self._spawn)
                listener.start(_BACKLOG)
        except OSError as error:
            sock.close()
            raise ConfigError(f"can't listen for SIP on {transport} {host}:{port}: {error.strerror}") from error
        self._listeners.append(listener)
        return int(sock.getsockname()[1])

    @staticmethod
    async def _secure(accepted: Callable[[], Connection], context: ssl.SSLContext, sock: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(
            accepted, sock, ssl=context, ssl_handshake_timeout=HANDSHAKE_SECONDS
        )

    def _opened(self, connection: Connection) -> None:
        if connection.dialled:
            return  # `_dial` looks at its certificate first
        host = connection.hop.host
        if self._accepted.total() >= MAX_ACCEPTED or self._accepted[host] >= MAX_ACCEPTED_PER_HOST:
            self._refused += 1
            connection.close("too many connections")
            return
        self._accepted[host] += 1
        self._closed.pop(connection.hop, None)
        self._add(connection)

    def _add(self, connection: Connection) -> None:
        self._connections[self._key(connection.hop)] = connection
        self._served[connection] = {connection.hop}

    # --- sending ----------------------------------------------------------------------------------------

    def send(self, data: bytes, hop: Hop) -> None:
        """Send a message, after connecting if need be. What goes wrong is told by `on_failed`, later."""
        connection = self._find(hop)
        if connection is not None:
            served = self._served[connection]
            if len(served) < _MAX_SERVED:
                served.add(hop)
            connection.send(data)
        elif hop in self._closed:
            self._fail_soon(hop, f"can't send to {hop}: the peer has closed that connection")
        elif hop in self._dialling:
            self._dialling[hop].append(data)
            if sum(map(len, self._dialling[hop])) > _MAX_UNSENT_BYTES:
                self._dialling[hop].pop()
                log.warning("- too much waits to be sent to %s", hop)
        elif len(self._dialling) >= _MAX_DIALLING:
            self._fail_soon(hop, f"can't connect to {hop}: too many other connections are being opened")
        else:
            self._dialling[hop] = [data]
            self._spawn(self._dial(hop))

    def keep_alive(self, hop: Hop) -> None:
        """Send a keep-alive, if there is a connection, and count it as used."""
        connection = self._find(hop)
        if connection is not None:
            connection.used_at = asyncio.get_running_loop().time()
            connection.ping()

    def _key(self, hop: Hop) -> Hop:
        return hop if hop.transport == "tls" and self._verify else hop.peer

    def _find(self, hop: Hop) -> Connection | None:
        connection = self._connections.get(self._key(hop))
        if connection is None and not hop.domain:
            # An address without a name, from within a dialog: any connection that leads there will do.
            connection = next((one for one in self._served if one.hop.peer == hop), None)
        return connection if connection is not None and connection.open else None

    def _fail_soon(self, hop: Hop, reason: str) -> None:
        asyncio.get_running_loop().call_soon(self._on_failed, hop, reason)

    async def _dial(self, hop: Hop) -> None:
        connection = Connection(hop, self._opened, self._received, self._lost)
        try:
            await self._connect(connection, hop)
            if not connection.open:
                raise ConnectionError(f"can't connect to {hop}: the peer closed the connection at once")
            if hop.transport == "tls" and self._verify:
                wrong = mismatch(connection.certificate, hop.domain or hop.host)
                if wrong:
                    raise ConnectionError(f"TLS: {wrong} (at {hop.host}:{hop.port})")
        except (OSError, TimeoutError, ConnectionError) as error:
            self._dialling.pop(hop, None)
            connection.close("not trusted")
            reason = _why(hop, error)
            log.warning("- %s", reason)
            self._on_failed(hop, reason)
            return
        waiting = self._dialling.pop(hop, [])
        self._add(connection)
        log.debug("- connected to %s", hop)
        for data in waiting:
            connection.send(data)

    async def _connect(self, connection: Connection, hop: Hop) -> None:
        loop = asyncio.get_running_loop()
        tls = hop.transport == "tls"
        if tls and self._tls is None:
            self._tls = await loop.run_in_executor(None, self._make_tls)
        async with asyncio.timeout(CONNECT_SECONDS):
            await loop.create_connection(
                lambda: connection,
                hop.host,
                hop.port,
                ssl=self._tls if tls else None,
                server_hostname=(hop.domain or hop.host) if tls else None,
                local_addr=(self._source, 0) if self._source else None,
            )

    # --- what connections tell ----------------------------------------------------------------------------

    def _received(self, connection: Connection, data: bytes) -> None:
        self._on_message(data, connection.hop)

    def _lost(self, connection: Connection, reason: str) -> None:
        served = self._served.pop(connection, None)
        if served is None:
            return  # refused, or not trusted
        key = self._key(connection.hop)
        if self._connections.get(key) is connection:
            del self._connections[key]
        if not connection.dialled:
            self._accepted[connection.hop.host] -= 1
            self._accepted += Counter()  # forgets what is zero
            self._closed[connection.hop] = None
            if len(self._closed) > _MAX_CLOSED:
                self._closed.popitem(last=False)
        for hop in served:
            self._on_closed(hop, f"the connection to {hop} was lost: {reason}")

    # --- time -------------------------------------------------------------------------------------------

    def sweep(self, now: float, in_use: Collection[Hop]) -> None:
        """Every SWEEP_SECONDS: keep what calls need alive, close what is idle or dead."""
        peers = {hop.peer for hop in in_use}
        for connection, served in list(self._served.items()):
            needed = any(hop.peer in peers for hop in served)
            if not needed and now - connection.used_at >= IDLE_SECONDS:
                connection.close("idle", politely=True)
                continue
            if needed and connection.dialled:
                connection.ping()
        self._check_later = asyncio.get_running_loop().call_later(PONG_SECONDS, self._check)
        if self._refused:
            log.warning("- refused %d connections: too many are open", self._refused)
            self._refused = 0
        for listener in self._listeners:
            if isinstance(listener, Handshakes) and listener.refused:
                log.warning("- refused %d connections: too many TLS handshakes are under way", listener.refused)
                listener.refused = 0

    def _check(self) -> None:
        for connection in list(self._served):
            connection.check(asyncio.get_running_loop().time())

    def __len__(self) -> int:
        return len(self._served)

    def stop_listening(self) -> None:
        """Accept no more; the connections that there are stay."""
        for server in self._listeners:
            server.close()
        self._listeners.clear()

    async def aclose(self) -> None:
        """Close all connections after what was sent, and the listeners."""
        if self._check_later is not None:
            self._check_later.cancel()
        self.stop_listening()
        for connection in list(self._served):
            connection.close("closing", politely=True)
        for _ in range(20):
            if not self._served:
                break
            await asyncio.sleep(0.01)
        for connection in list(self._served):
            connection.close("closing")
        await asyncio.sleep(0)


def _why(hop: Hop, error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"can't connect to {hop}: no answer in {CONNECT_SECONDS:.0f} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        wanted = hop.domain or hop.host
        return f"TLS: the certificate of {wanted} can't be trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: no handshake with {hop}: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, ConnectionError) and error.errno is None:
        return str(error) or f"can't connect to {hop}: the connection was closed"
    if isinstance(error, socket.gaierror) or not isinstance(error, OSError) or error.errno is None:
        return f"can't connect to {hop}: {error}"
    return f"can't connect to {hop}: {os.strerror(error.errno).lower()}"
