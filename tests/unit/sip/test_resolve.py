from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.sip.hop import Hop, Target
from active_call.sip.resolve import MAX_HOPS, Answer, Naptr, NotFound, Record, SipResolver, Srv, in_order
from active_call.testing.clock import run

A, B = "192.0.2.1", "192.0.2.2"
DOMAIN = "x.example"


class Zone:
    """DNS as it might be: what (name, kind) is, and what was asked."""

    def __init__(self, records: dict[tuple[str, str], list[Record] | NotFound], ttl: float = 60.0) -> None:
        self.records = records
        self.ttl = ttl
        self.asked: Counter[tuple[str, str]] = Counter()

    async def __call__(self, name: str, kind: str) -> Answer:
        self.asked[name, kind] += 1
        found = self.records.get((name, kind), NotFound("NXDOMAIN"))
        if isinstance(found, NotFound):
            raise found
        return Answer(found, self.ttl)


def resolve(
    target: Target, zone: Zone, *, ipv6: bool = False, tcp: bool = True, srv: bool = True
) -> list[Hop] | str:
    async def ask() -> list[Hop]:
        return await SipResolver(zone, ipv6=ipv6, tcp=tcp, srv=srv, pick=lambda total: 0.0).resolve(target)

    try:
        return run(ask())
    except NotFound as error:
        return str(error)


FULL: dict[tuple[str, str], list[Record] | NotFound] = {
    (DOMAIN, "NAPTR"): [
        Naptr(20, 5, "s", "SIP+D2U", "_sip._udp.x.example"),
        Naptr(10, 9, "S", "sip+d2t", "_sip._tcp.x.example"),
        Naptr(10, 1, "s", "SIPS+D2T", "_sips._tcp.x.example"),
        Naptr(1, 1, "s", "E2U+sip", "_other.x.example"),
    ],
    ("_sip._udp.x.example", "SRV"): [Srv(1, 0, 5070, "u.x.example.")],
    ("_sip._tcp.x.example", "SRV"): [Srv(1, 0, 5080, "t.x.example.")],
    ("_sips._tcp.x.example", "SRV"): [Srv(1, 0, 5090, "s.x.example.")],
    ("u.x.example", "A"): [A],
    ("t.x.example", "A"): [A],
    ("s.x.example", "A"): [A, B],
    (DOMAIN, "A"): [B],
    (DOMAIN, "AAAA"): ["2001:db8::1"],
}


@pytest.mark.parametrize(
    ("target", "hops"),
    [
        (Target(DOMAIN, 5060), [Hop(B, 5060, "udp", DOMAIN)]),
        (Target(DOMAIN, 5060, "tcp"), [Hop(B, 5060, "tcp", DOMAIN)]),
        (Target(DOMAIN, None, "udp"), [Hop(A, 5070, "udp", DOMAIN)]),
        (Target(DOMAIN, None, "tls"), [Hop(A, 5090, "tls", DOMAIN), Hop(B, 5090, "tls", DOMAIN)]),
        (
            Target(DOMAIN),
            [
                Hop(A, 5090, "tls", DOMAIN),
                Hop(B, 5090, "tls", DOMAIN),
                Hop(A, 5080, "tcp", DOMAIN),
                Hop(A, 5070, "udp", DOMAIN),
            ],
        ),
    ],
)
def test_a_domain_with_everything(target: Target, hops: list[Hop]) -> None:
    assert resolve(target, Zone(FULL)) == hops


def without(*kinds: str) -> Zone:
    return Zone({key: found for key, found in FULL.items() if key[1] not in kinds})


def test_without_naptr_the_services_are_tried_udp_first() -> None:
    assert resolve(Target(DOMAIN), without("NAPTR")) == [Hop(A, 5070, "udp", DOMAIN)]


def test_without_services_the_domain_is_the_host() -> None:
    assert resolve(Target(DOMAIN), without("NAPTR", "SRV")) == [Hop(B, 5060, "udp", DOMAIN)]
    assert resolve(Target(DOMAIN, None, "tls"), without("SRV")) == [Hop(B, 5061, "tls", DOMAIN)]


def test_srv_can_be_switched_off() -> None:
    zone = Zone(FULL)
    assert resolve(Target(DOMAIN), zone, srv=False) == [Hop(B, 5060, "udp", DOMAIN)]
    assert set(zone.asked) == {(DOMAIN, "A")}


def test_tcp_is_not_chosen_if_it_is_switched_off() -> None:
    hops = resolve(Target(DOMAIN), Zone(FULL), tcp=False)
    assert isinstance(hops, list)
    assert [hop.transport for hop in hops] == ["tls", "tls", "udp"]


def test_ipv6_comes_after_ipv4() -> None:
    hops = resolve(Target(DOMAIN, 5060), Zone(FULL), ipv6=True)
    assert hops == [Hop(B, 5060, "udp", DOMAIN), Hop("2001:db8::1", 5060, "udp", DOMAIN)]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (NotFound("NXDOMAIN"), "DNS: no address for x.example (NXDOMAIN)"),
        (
            NotFound("the name server does not answer"),
            "DNS: no address for x.example (the name server does not answer)",
        ),
    ],
)
def test_what_is_not_there_is_said(found: NotFound, said: str) -> None:
    assert resolve(Target(DOMAIN), Zone({(DOMAIN, "A"): found})) == said


def test_one_dead_host_does_not_hide_the_others() -> None:
    zone = Zone(
        {
            ("_sip._udp.x.example", "SRV"): [Srv(1, 0, 1, "dead.x.example."), Srv(2, 0, 2, "u.x.example.")],
            ("u.x.example", "A"): [A],
        }
    )
    assert resolve(Target(DOMAIN), zone) == [Hop(A, 2, "udp", DOMAIN)]


def test_a_service_that_is_declined_is_none() -> None:
    zone = Zone({("_sip._udp.x.example", "SRV"): [Srv(0, 0, 0, ".")], (DOMAIN, "A"): [B]})
    assert resolve(Target(DOMAIN), zone) == [Hop(B, 5060, "udp", DOMAIN)]


def test_a_slow_server_is_given_up_on() -> None:
    import asyncio

    async def never(name: str, kind: str) -> Answer:
        await asyncio.sleep(1000)
        raise AssertionError

    async def ask() -> None:
        with pytest.raises(NotFound, match="DNS: no answer for x.example in 10 s"):
            await SipResolver(never).resolve(Target(DOMAIN))
        assert asyncio.get_running_loop().time() == 10.0

    run(ask())


def test_a_huge_answer_is_cut() -> None:
    zone = Zone({(DOMAIN, "A"): [f"192.0.2.{n}" for n in range(100)]})
    hops = resolve(Target(DOMAIN, 5060), zone)
    assert isinstance(hops, list)
    assert len(hops) == MAX_HOPS


@pytest.mark.parametrize(
    ("ttl", "waits", "questions"), [(60.0, 59.0, 1), (60.0, 61.0, 2), (0.0, 4.0, 1), (86400.0, 601.0, 2)]
)
def test_answers_hold_as_long_as_they_say_within_limits(ttl: float, waits: float, questions: int) -> None:
    import asyncio

    zone = Zone({(DOMAIN, "A"): [A]}, ttl)

    async def ask() -> None:
        resolver = SipResolver(zone)
        await resolver.resolve(Target(DOMAIN, 5060))
        await asyncio.sleep(waits)
        await resolver.resolve(Target(DOMAIN.upper(), 5061))
        assert resolver.known_address("X.example") == A

    run(ask())
    assert zone.asked[DOMAIN, "A"] == questions


def test_failures_are_remembered_for_a_while() -> None:
    zone = Zone({})

    async def ask() -> None:
        resolver = SipResolver(zone)
        for _ in range(3):
            with pytest.raises(NotFound):
                await resolver.resolve(Target(DOMAIN, 5060))
        assert resolver.known_address(DOMAIN) is None

    run(ask())
    assert zone.asked[DOMAIN, "A"] == 1


# --- the order of SRV records ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pick", "order"),
    [
        (lambda total: 0.0, ["zero", "ten", "thirty", "later"]),
        (lambda total: total, ["thirty", "ten", "zero", "later"]),
        (lambda total: min(5.0, total), ["ten", "thirty", "zero", "later"]),
    ],
)
def test_weights_are_chances_among_equals(pick: Callable[[float], float], order: list[str]) -> None:
    records = [Srv(2, 0, 1, "later"), Srv(1, 10, 1, "ten"), Srv(1, 30, 1, "thirty"), Srv(1, 0, 1, "zero")]
    assert [one.target for one in in_order(records, pick)] == order


@given(
    st.lists(st.builds(Srv, st.integers(0, 3), st.integers(0, 9), st.just(1), st.text(max_size=2)), max_size=8),
    st.floats(0, 1),
)
def test_every_record_is_used_once_by_priority(records: list[Srv], chance: float) -> None:
    ordered = in_order(records, lambda total: chance * total)
    assert Counter(ordered) == Counter(records)
    assert [one.priority for one in ordered] == sorted(one.priority for one in records)
