"""From the host of a URI to addresses: NAPTR, SRV, A and AAAA (RFC 3263 §4, RFC 2782)."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from active_call.sip.hop import DEFAULT_PORTS, Hop, Target, Transport

LOOKUP_SECONDS = 10.0
"""For all questions that one target needs."""
MAX_HOPS = 8
SHORTEST_TTL, LONGEST_TTL = 5.0, 600.0
_MAX_CACHED = 4096

_SRV_PREFIXES: dict[Transport, str] = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}
_SERVICES: dict[str, Transport] = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}


class Naptr(NamedTuple):
    """A NAPTR record (RFC 3403)."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


class Srv(NamedTuple):
    """An SRV record (RFC 2782); the target `.` says that there is no such service."""

    priority: int
    weight: int
    port: int
    target: str


Record: TypeAlias = Naptr | Srv | str


class NotFound(Exception):
    """DNS has no such record, or doesn't answer; the text says which. Worth remembering for `ttl` seconds."""

    def __init__(self, text: str, ttl: float = 30.0) -> None:
        super().__init__(text)
        self.ttl = ttl


class Answer(NamedTuple):
    """Records of one kind, and how many seconds they hold."""

    records: Sequence[Record]
    ttl: float


Ask = Callable[[str, str], Awaitable[Answer]]
"""The records of a name and kind (NAPTR, SRV, A, AAAA). Raises NotFound."""


class Resolver(Protocol):
    """What the agent needs."""

    async def resolve(self, target: Target) -> list[Hop]:
        """Where to send to, best first. Raises NotFound with a sentence for people."""
        ...

    def known_address(self, name: str) -> str | None:
        """An address of `name`, if that was looked up not long ago."""
        ...


class SipResolver:
    """RFC 3263, with a cache of single records."""

    def __init__(
        self,
        ask: Ask,
        *,
        ipv4: bool = True,
        ipv6: bool = False,
        tcp: bool = True,
        srv: bool = True,
        pick: Callable[[float], float] | None = None,
    ) -> None:
        """`pick(total)` chooses from 0 to total: by weight, among SRV records."""
        self._ask_dns = ask
        self._kinds = [kind for kind, wanted in (("A", ipv4), ("AAAA", ipv6)) if wanted]
        self._transports: tuple[Transport, ...] = ("udp", "tcp", "tls") if tcp else ("udp", "tls")
        self._srv = srv
        self._pick = pick or (lambda total: random.uniform(0, total))
        self._cache: dict[tuple[str, str], tuple[float, Answer | NotFound]] = {}

    async def resolve(self, target: Target) -> list[Hop]:
        """Where to send to, best first. Raises NotFound."""
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                places = await self._places(target)
                found = await asyncio.gather(*(self._addresses(host) for host, _, _ in places))
        except TimeoutError:
            raise NotFound(f"DNS: no answer for {target.host} in {LOOKUP_SECONDS:.0f} s") from None
        hops = [
            Hop(address, port, transport, target.host)
            for (_, port, transport), addresses in zip(places, found, strict=True)
            if not isinstance(addresses, NotFound)
            for address in addresses
        ]
        if not hops:
            why = next((one for one in found if isinstance(one, NotFound)), "nothing")
            raise NotFound(f"DNS: no address for {target.host} ({why})")
        return list(dict.fromkeys(hops))[:MAX_HOPS]

    def known_address(self, name: str) -> str | None:
        """An address of `name`, if that was looked up not long ago."""
        for kind in self._kinds:
            _, answer = self._cache.get((name.lower(), kind), (0.0, None))
            if isinstance(answer, Answer):
                return str(answer.records[0])
        return None

    # --- which host, port and transport (§4.1, §4.2) ------------------------------------------------------

    async def _places(self, target: Target) -> list[tuple[str, int, Transport]]:
        host, port, transport = target.host, target.port, target.transport
        usual = transport or "udp"
        if port is not None or not self._srv:
            return [(host, port or DEFAULT_PORTS[usual], usual)]
        if transport is not None:
            return await self._services(_SRV_PREFIXES[transport] + host, transport) or [
                (host, DEFAULT_PORTS[transport], transport)
            ]
        named, guessed = await asyncio.gather(
            self._ask(host, "NAPTR"),
            asyncio.gather(*(self._services(_SRV_PREFIXES[one] + host, one) for one in self._transports)),
        )
        if isinstance(named, Answer):
            chosen = sorted(one for one in named.records if isinstance(one, Naptr) and one.flags.lower() == "s")
            wanted = [(one.replacement, _SERVICES.get(one.service.upper())) for one in chosen]
            asked = [self._services(name, way) for name, way in wanted if way in self._transports]
            places = [place for group in await asyncio.gather(*asked) for place in group]
            if places:
                return places
        return next((group for group in guessed if group), [(host, DEFAULT_PORTS["udp"], "udp")])

    async def _services(self, name: str, transport: Transport) -> list[tuple[str, int, Transport]]:
        answer = await self._ask(name, "SRV")
        if isinstance(answer, NotFound):
            return []
        records = [record for record in answer.records if isinstance(record, Srv) and record.target != "."]
        return [(one.target.rstrip("."), one.port, transport) for one in in_order(records, self._pick)]

    # --- questions --------------------------------------------------------------------------------------

    async def _addresses(self, name: str) -> list[str] | NotFound:
        answers = await asyncio.gather(*(self._ask(name, kind) for kind in self._kinds))
        found = [str(one) for answer in answers if isinstance(answer, Answer) for one in answer.records]
        return found or next(answer for answer in answers if isinstance(answer, NotFound))

    async def _ask(self, name: str, kind: str) -> Answer | NotFound:
        now = asyncio.get_running_loop().time()
        key = (name.lower(), kind)
        until, known = self._cache.get(key, (0.0, None))
        if known is not None and until > now:
            return known
        answer: Answer | NotFound
        try:
            answer = await self._ask_dns(*key)
        except NotFound as error:
            answer = error
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[key] = (now + min(max(answer.ttl, SHORTEST_TTL), LONGEST_TTL), answer)
        return answer


def in_order(records: Iterable[Srv], pick: Callable[[float], float]) -> list[Srv]:
    """By priority, and among equals by chance according to weight (RFC 2782)."""
    ordered: list[Srv] = []
    left = sorted(records, key=lambda one: (one.priority, one.weight > 0))
    while left:
        equals = [one for one in left if one.priority == left[0].priority]
        point = pick(sum(one.weight for one in equals))
        for one in equals:
            point -= one.weight
            if point <= 0:
                break
        ordered.append(one)
        left.remove(one)
    return ordered
