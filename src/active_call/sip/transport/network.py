"""All transports of an agent: what it listens on, and how it sends."""

import asyncio
import logging
import os
import ssl
from collections.abc import Collection

from active_call.core.errors import ConfigError
from active_call.sip.config import SipConfig
from active_call.sip.hop import Hop, Transport, is_address
from active_call.sip.transport.connections import Connections, OnFailure, OnMessage, Spawn
from active_call.sip.transport.framing import PING
from active_call.sip.transport.tls import client_context, server_context
from active_call.sip.transport.udp import UdpTransport

log = logging.getLogger(__name__)

_ATTEMPTS = 20
"""To find a port number that is free for all transports, if any will do."""


class Network:
    """UDP, TCP and TLS sockets on IPv4, IPv6 or both."""

    def __init__(
        self,
        config: SipConfig,
        *,
        spawn: Spawn,
        on_message: OnMessage,
        on_failed: OnFailure,
        on_closed: OnFailure,
        on_unreachable: OnFailure,
    ) -> None:
        """Raises ConfigError if certificates can't be used."""
        self._on_unreachable = on_unreachable
        self._config = config
        host = config.host or "0.0.0.0"
        self._hosts = ["0.0.0.0", "::"] if host == "::" else [host]
        self._on_message = on_message
        self._on_failed = on_failed
        self._spawn = spawn
        self._on_closed = on_closed
        self._udp: dict[int, UdpTransport] = {}
        self._server_tls = None
        if config.tls_port is not None:
            if not config.tls_cert_file:
                raise ConfigError("tls_port needs tls_cert_file, a PEM file with the certificate")
            self._server_tls = server_context(config.tls_cert_file, config.tls_key_file)
        if config.tls_ca_file or config.tls_cert_file:
            self._client_tls()  # what can't be used is said now
        self._connections = self._new_connections()
        self.ports: dict[Transport, int] = {}
        """Where it listens."""

    def _new_connections(self) -> Connections:
        host = self._hosts[0]
        return Connections(
            spawn=self._spawn,
            on_message=self._on_message,
            on_failed=self._on_failed,
            on_closed=self._on_closed,
            tls=self._client_tls,
            verify=self._config.tls_verify,
            source=host if is_address(host) and host not in ("0.0.0.0", "::") else None,
        )

    def _client_tls(self) -> ssl.SSLContext:
        config = self._config
        return client_context(
            verify=config.tls_verify,
            ca_file=config.tls_ca_file,
            cert_file=config.tls_cert_file,
            key_file=config.tls_key_file,
        )

    @property
    def ipv4(self) -> bool:
        """Whether peers with IPv4 addresses can be reached."""
        return any(":" not in host for host in self._hosts)

    @property
    def ipv6(self) -> bool:
        """Whether peers with IPv6 addresses can be reached."""
        return any(":" in host for host in self._hosts)

    @property
    def address(self) -> tuple[str, int]:
        """The (host, port) of UDP, and TCP."""
        return self._config.host or "0.0.0.0", self.ports["udp"]

    async def open(self) -> None:
        """Listen. Raises ConfigError naming the address; nothing is left open then."""
        for attempt in range(_ATTEMPTS):
            try:
                await self._listen()
                return
            except ConfigError:
                await self.aclose()
                if self._config.port != 0 or attempt == _ATTEMPTS - 1:
                    raise
                self._connections = self._new_connections()

    async def _listen(self) -> None:
        config = self._config
        self.ports = {"udp": config.port}
        for host in self._hosts:
            udp = await UdpTransport.open(host, self.ports["udp"], self._on_message, self._on_unreachable)
            self._udp[6 if ":" in host else 4] = udp
            self.ports["udp"] = udp.address[1]
        for host in self._hosts:
            if config.tcp:
                self.ports["tcp"] = await self._connections.listen(host, self.ports["udp"], None)
            if config.tls_port is not None:
                port = self.ports.get("tls", config.tls_port)
                self.ports["tls"] = await self._connections.listen(host, port, self._server_tls)

    def send(self, data: bytes, hop: Hop) -> None:
        """Send a message, or a keep-alive. What can't be sent is told by `on_failed`, later."""
        if hop.transport != "udp":
            if data == PING:
                self._connections.keep_alive(hop)
            elif hop.transport == "tcp" and not self._config.tcp:
                self._fail_soon(hop, f"can't send to {hop}: TCP is switched off")
            else:
                self._connections.send(data, hop)
            return
        udp = self._udp.get(6 if ":" in hop.host else 4)
        if udp is None:
            version, ours = 6 if ":" in hop.host else 4, self._hosts[0]
            self._fail_soon(hop, f"can't send to {hop}: no IPv{version}, SIP listens on {ours} only")
            return
        try:
            udp.send(data, hop)
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else str(error)
            self._fail_soon(hop, f"can't send to {hop}: {why}")

    def _fail_soon(self, hop: Hop, reason: str) -> None:
        log.warning("- %s", reason)
        asyncio.get_running_loop().call_soon(self._on_failed, hop, reason)

    def sweep(self, now: float, in_use: Collection[Hop]) -> None:
        """Every `SWEEP_SECONDS`: keep connections alive that lead to hops in use, close idle ones."""
        self._connections.sweep(now, in_use)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    def stop_listening(self) -> None:
        """Accept no further connections."""
        self._connections.stop_listening()

    async def aclose(self) -> None:
        """Close everything after what is queued was sent."""
        for udp in self._udp.values():
            await udp.aclose()
        self._udp.clear()
        await self._connections.aclose()
