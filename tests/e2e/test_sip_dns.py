"""Names through a real name server, on loopback."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import uvloop

from active_call.sip.hop import Hop, Target
from active_call.sip.resolve import NotFound, SipResolver
from active_call.sip.transport import dns as module
from active_call.sip.transport.dns import SystemDns

pytestmark = pytest.mark.e2e

ZONE = {
    ("trunk.example.", "NAPTR"): [
        '10 10 "s" "SIPS+D2T" "" _sips._tcp.trunk.example.',
        '20 10 "s" "SIP+D2U" "" _sip._udp.trunk.example.',
    ],
    ("_sips._tcp.trunk.example.", "SRV"): ["1 1 5071 one.trunk.example."],
    ("_sip._udp.trunk.example.", "SRV"): ["2 1 5070 two.trunk.example.", "1 1 5060 one.trunk.example."],
    ("one.trunk.example.", "A"): ["192.0.2.1"],
    ("two.trunk.example.", "A"): ["192.0.2.2"],
    ("two.trunk.example.", "AAAA"): ["2001:db8::2"],
}


@contextmanager
def name_server() -> Iterator[int]:
    """Answers from ZONE until the end; `dead.example` never. The port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            data, source = sock.recvfrom(2000)
            if data == b"stop":
                return
            query = dns.message.from_wire(data)
            question = query.question[0]
            name, kind = question.name.to_text(), question.rdtype.name
            if "dead" in name:
                continue
            answer = dns.message.make_response(query)
            records = ZONE.get((name, kind))
            if records:
                answer.answer.append(dns.rrset.from_text(name, 300, "IN", kind, *records))
            elif not any(known == name for known, _ in ZONE):
                answer.set_rcode(dns.rcode.NXDOMAIN)
            sock.sendto(answer.to_wire(), source)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(sock.getsockname()[1])
    finally:
        sock.sendto(b"stop", sock.getsockname())
        thread.join()
        sock.close()


def resolve(target: Target, monkeypatch: pytest.MonkeyPatch) -> list[Hop] | str:
    with name_server() as port:

        def configured(path: Path) -> dns.asyncresolver.Resolver:
            resolver = dns.asyncresolver.Resolver(configure=False)
            resolver.nameservers = ["127.0.0.1"]
            resolver.port = port
            return resolver

        monkeypatch.setattr(module, "_configured", configured)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                return runner.run(SipResolver(SystemDns(), ipv6=True, pick=lambda total: 0.0).resolve(target))
            except NotFound as error:
                return str(error)


@pytest.mark.parametrize(
    ("target", "hops"),
    [
        (
            Target("trunk.example"),
            [
                Hop("192.0.2.1", 5071, "tls", "trunk.example"),
                Hop("192.0.2.1", 5060, "udp", "trunk.example"),
                Hop("192.0.2.2", 5070, "udp", "trunk.example"),
                Hop("2001:db8::2", 5070, "udp", "trunk.example"),
            ],
        ),
        (Target("one.trunk.example", 5099, "tcp"), [Hop("192.0.2.1", 5099, "tcp", "one.trunk.example")]),
        (Target("one.trunk.example"), [Hop("192.0.2.1", 5060, "udp", "one.trunk.example")]),
    ],
)
def test_what_dns_says(target: Target, hops: list[Hop], monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(target, monkeypatch) == hops


def test_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(Target("nowhere.example"), monkeypatch) == "DNS: no address for nowhere.example (NXDOMAIN)"


def test_a_dead_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUESTION_SECONDS", 0.3)
    said = resolve(Target("dead.example", 5060), monkeypatch)
    assert said == "DNS: no address for dead.example (the name server does not answer)"
