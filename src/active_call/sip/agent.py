"""The SIP agent: the stack on sockets in an asyncio loop."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from types import MappingProxyType
from typing import Any

from active_call.core.errors import LocalProtocolError
from active_call.core.tokens import Tokens, token_source
from active_call.sip.call import SipCall
from active_call.sip.config import SipConfig
from active_call.sip.dialogs.usage import Usage
from active_call.sip.events import Declined, Ended, SipEvent
from active_call.sip.hop import Hop, Judge, Target, only_public
from active_call.sip.messages.auth import Credentials
from active_call.sip.messages.via import Via
from active_call.sip.own_address import OwnAddress
from active_call.sip.registration import Account
from active_call.sip.registrations import RegistrationStatus
from active_call.sip.resolve import NotFound, Resolver, SipResolver
from active_call.sip.stack import Incoming, SipStack
from active_call.sip.trace import Direction, OnMessage, Trace
from active_call.sip.transport.connections import SWEEP_SECONDS
from active_call.sip.transport.dns import SystemDns
from active_call.sip.transport.framing import PING
from active_call.sip.transport.network import Network

__all__ = ["Credentials", "Direction", "OnMessage", "SipAgent", "SipCall", "SipConfig"]

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 1.0


class SipAgent:
    """Makes and takes calls. All methods are called from the loop's thread."""

    def __init__(
        self,
        config: SipConfig,
        *,
        on_call: Callable[[SipCall], None],
        on_declined: Callable[[Declined], None] = lambda _: None,
        tokens: Tokens | None = None,
        on_message: OnMessage | None = None,
        resolver: Resolver | None = None,
        judge: Judge = only_public,
    ) -> None:
        """`on_declined` hears of INVITEs that become no calls; `resolver` replaces DNS; `judge` says where
        peers in the Internet may not redirect us to.

        Raises ConfigError if certificates can't be used.
        """
        self._on_call = on_call
        self._on_declined = on_declined
        self._network = Network(
            config,
            spawn=self._spawn,
            on_message=self._received,
            on_failed=self._failed,
            on_closed=self._closed,
            on_unreachable=self._unreachable,
        )
        self._asks_dns = resolver is None
        self._resolver = resolver or SipResolver(
            SystemDns(), ipv4=self._network.ipv4, ipv6=self._network.ipv6, tcp=config.tcp, srv=config.srv
        )
        self._address = OwnAddress(config, self._resolver.known_address)
        self._stack = SipStack(
            local=self._address.towards,
            tokens=tokens or token_source(),
            user_agent=config.user_agent,
            learn=self._learn,
            on_declined=on_declined,
            judge=judge,
            tcp=config.tcp,
            answer_options=config.answer_options,
            callid_suffix=config.callid_suffix,
        )
        self.on_public_address: Callable[[str, int], None] | None = None
        """Who wants to know that peers in the Internet see us at another address now."""
        self._trace = Trace(on_message)
        self._running = False
        self._exit = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._sweeper: asyncio.TimerHandle | None = None
        self._calls: dict[Usage, SipCall] = {}
        self._flushing = False
        self._closing: asyncio.Event | None = None
        self._unregistered: asyncio.Event | None = None

    # --- life -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Raises ConfigError naming the address."""
        self._loop = asyncio.get_running_loop()
        self._group = await self._exit.enter_async_context(asyncio.TaskGroup())
        try:
            await self._network.open()
        except BaseException:
            await self._exit.aclose()
            raise
        self._address.ports = self._network.ports
        self._running = True
        if self._asks_dns:
            SystemDns.preload()
        self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    async def aclose(self) -> None:
        """Unregister, wait a moment for the answers to what was sent last, then close the sockets."""
        if not self._running:
            return
        self.accepting = False
        self._closing = asyncio.Event()
        self._stack.registrations.stop(self._loop.time())
        self._flush()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._closing.wait()
        self._running = False
        for timer in (self._timer, self._sweeper):
            if timer is not None:
                timer.cancel()
        self._network.stop_listening()  # or further handshakes would begin, and be waited for
        for task in self._tasks:
            task.cancel()
        await self._exit.aclose()
        await self._network.aclose()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` while the agent lives. A bug in it harms nothing else."""

        async def run() -> None:
            try:
                await work
            except Exception:
                log.exception("- a lookup or a connection attempt could not be carried out")

        task = self._group.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def address(self) -> tuple[str, int]:
        """The (host, port) that UDP and TCP are bound to. Raises LocalProtocolError before `start`."""
        if not self._running:
            raise LocalProtocolError("the SIP agent is not running")
        return self._network.address

    @property
    def tls_port(self) -> int | None:
        """Where TLS is listened for, if it is. Raises LocalProtocolError before `start`."""
        if not self._running:
            raise LocalProtocolError("the SIP agent is not running")
        return self._network.ports.get("tls")

    @property
    def accepting(self) -> bool:
        """If False, new INVITEs and OPTIONS get 503 with Retry-After."""
        return self._stack.accepting

    @accepting.setter
    def accepting(self, value: bool) -> None:
        self._stack.accepting = value

    def advertised_host(self, peer: str) -> str:
        """The address at which `peer` (address or name, with or without a port) reaches us."""
        return self._address.host_towards(peer)

    def keep_alive(self, hop: Hop) -> None:
        """Send a keep-alive: a datagram, or over the connection if there is one (RFC 5626 §3.5.1)."""
        if self._running:
            self._network.send(PING, hop)

    def _learn(self, peer: Hop, via: Via) -> None:
        if self._address.learn(peer, via) and self._address.public is not None:
            host, port = self._address.public
            log.info("- %s says that we are at %s:%d", peer, host, port)
            self._stack.registrations.check_addresses(self._loop.time())
            if self.on_public_address is not None:
                self.on_public_address(host, port)

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
        contact: str | None = None,
        next_hop: str | None = None,
        ring_timeout: float | None = None,
        describe: Callable[[str], bytes] | None = None,
    ) -> SipCall:
        """Call `target`.

        `describe` gives the offer again for the host at which `target` turns out to reach us.

        `contact` replaces our Contact; `next_hop` (URI or host:port) is where the request is sent to instead of
        `target`; after `ring_timeout` seconds without an answer the call is given up with 408.
        Raises LocalProtocolError if something given can't be used, and before `start`.
        """
        if not self._running:
            raise LocalProtocolError("the SIP agent is not running")
        usage = self._stack.invite(
            target,
            caller=caller,
            sdp=sdp,
            now=self._loop.time(),
            headers=headers,
            credentials=credentials,
            call_id=call_id,
            contact=contact,
            next_hop=next_hop,
            ring_timeout=ring_timeout,
            describe=describe,
        )
        call = self._calls[usage] = SipCall(usage, self._loop.time, self._flush)
        call.listener = listener
        self._flush()
        return call

    # --- registrations --------------------------------------------------------------------------------

    def register(self, accounts: Iterable[Account]) -> None:
        """Keep these accounts registered. Raises LocalProtocolError before `start`."""
        if not self._running:
            raise LocalProtocolError("the SIP agent is not running")
        self._stack.registrations.start(accounts, self._loop.time())
        self._flush()

    async def unregister(self, timeout: float) -> bool:
        """Unregister all accounts; False if some registrar has not answered after `timeout` seconds."""
        if not self._running:
            return True
        self._unregistered = asyncio.Event()
        self._stack.registrations.stop(self._loop.time())
        self._flush()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._unregistered.wait()
                return True
        self._stack.registrations.give_up()
        return False

    @property
    def registrations(self) -> list[RegistrationStatus]:
        """How each account stands."""
        return self._stack.registrations.statuses(self._loop.time()) if self._running else []

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
            why = "an error inside the gateway; its log says more"
            self._on_declined(Declined(500, why, call.call_id, call.dialog_id, call.caller, call.callee))

    # --- messages and time ----------------------------------------------------------------------------

    def _received(self, data: bytes, source: Hop) -> None:
        if not self._running:
            return
        now = self._loop.time()
        self._trace.note("<", data, source, now)
        try:
            self._stack.receive_datagram(data, source, now)
        except Exception:
            # A bug of ours; this one message is lost and everything else goes on.
            log.exception("- a message of %d bytes from %s could not be handled", len(data), source)
        self._flush()

    def _failed(self, hop: Hop, reason: str) -> None:
        if self._running:
            self._stack.transport_failed(hop, reason, self._loop.time())
            self._flush()

    def _closed(self, hop: Hop, reason: str) -> None:
        if self._running:
            self._stack.connection_closed(hop, reason, self._loop.time())
            self._flush()

    def _unreachable(self, hop: Hop, reason: str) -> None:
        if self._running:
            self._stack.unreachable(hop, reason, self._loop.time())
            self._flush()

    def _timer_due(self) -> None:
        self._timer = None
        self._stack.handle_timer(self._loop.time())
        self._flush()

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        self._network.sweep(self._loop.time(), self._stack.hops_in_use)

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
        if self._closing is not None and not self._stack.busy:
            self._closing.set()
        if self._unregistered is not None and self._stack.registrations.ended:
            self._unregistered.set()
        deadline = self._stack.next_deadline()
        if deadline is None or (self._timer is not None and self._timer_at <= deadline):
            return  # waking up too early costs less than moving the timer at each message
        if self._timer is not None:
            self._timer.cancel()
        # Kept here, because uvloop's handles of what is already due have no `when()`.
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._timer_due)

    def _send_all(self) -> None:
        if not self._running:
            return
        for target in self._stack.lookups_to_make():
            self._spawn(self._look_up(target))
        for data, hop in self._stack.datagrams_to_send():
            self._trace.note(">", data, hop, self._loop.time())
            self._network.send(data, hop)

    async def _look_up(self, target: Target) -> None:
        hops: list[Hop] = []
        reason = f"DNS: {target.host} could not be looked up"
        try:
            hops = await self._resolver.resolve(target)
        except NotFound as error:
            reason = str(error)
            log.warning("- %s", reason)
        except Exception:
            log.exception("- %s", reason)
        self._stack.looked_up(target, hops, reason, self._loop.time())
        self._flush()
