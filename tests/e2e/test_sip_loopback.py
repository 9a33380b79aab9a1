"""SIP agents on real sockets: each transport, and what can go wrong with it."""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from active_call.core.errors import ConfigError
from active_call.sip.agent import SipAgent, SipCall, SipConfig
from active_call.sip.events import Answered, Ended, Rejected, SipEvent
from active_call.sip.hop import Hop, Target
from active_call.sip.transport import connections
from active_call.sip.transport.sockets import source_address
from tests.e2e.certificates import Certificate, KeyKind, make_certificate

pytestmark = pytest.mark.e2e

SDP = b"v=0\r\n"


class Names:
    """In the place of DNS: every name is this machine."""

    def __init__(self, *hops: Hop) -> None:
        self.hops = list(hops)

    async def resolve(self, target: Target) -> list[Hop]:
        return self.hops or [target.hop._replace(host="127.0.0.1")]

    def known_address(self, name: str) -> str | None:
        return "127.0.0.1"


class Caller:
    """One call, from start to end."""

    def __init__(self) -> None:
        self.events: list[SipEvent] = []
        self.answered, self.ended = asyncio.Event(), asyncio.Event()

    def __call__(self, event: SipEvent) -> None:
        self.events.append(event)
        if isinstance(event, Answered):
            self.answered.set()
        if isinstance(event, Ended):
            self.ended.set()

    @property
    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


@asynccontextmanager
async def agent(
    on_call: Callable[[SipCall], None] = lambda call: call.accept(SDP),
    *,
    host: str = "127.0.0.1",
    names: Names | None = None,
    seen: list[tuple[str, bytes, float, str, Hop]] | None = None,
    **config: Any,
) -> AsyncIterator[SipAgent]:
    """A running agent."""
    note = (lambda *message: seen.append(message)) if seen is not None else None
    made = SipAgent(SipConfig(host, 0, **config), on_call=on_call, resolver=names or Names(), on_message=note)
    await made.start()
    try:
        yield made
    finally:
        await made.aclose()


async def talk(caller: SipAgent, target: str) -> Caller:
    """Call, hang up when it is answered, and see it end."""
    said = Caller()
    call = caller.invite(target, caller="sip:alice@localhost", sdp=SDP, listener=said)
    async with asyncio.timeout(8):
        await asyncio.wait(
            [asyncio.ensure_future(said.answered.wait()), asyncio.ensure_future(said.ended.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        call.hangup()
        await said.ended.wait()
    return said


def play(scene: Coroutine[Any, Any, None]) -> None:
    """In the loop that the product runs on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "DNS:localhost", "IP:127.0.0.1", "IP:::1")


def with_tls(certificate: Certificate) -> dict[str, Any]:
    return {"tls_port": 0, "tls_cert_file": str(certificate.cert), "tls_key_file": str(certificate.key)}


# --- calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls", "sips"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_a_call(transport: str, host: str, certificate: Certificate) -> None:
    async def scene() -> None:
        heard: list[SipCall] = []

        def answer(call: SipCall) -> None:
            heard.append(call)
            call.accept(SDP)

        trusting: dict[str, Any] = {"tls_ca_file": str(certificate.cert)}
        async with (
            agent(answer, host=host, **with_tls(certificate), **trusting) as callee,
            agent(host=host, **with_tls(certificate), **trusting) as caller,
        ):
            over_tls = transport in ("tls", "sips")
            port = callee.tls_port if over_tls else callee.address[1]
            where = f"[::1]:{port}" if ":" in host else f"127.0.0.1:{port}"
            target = f"sips:bob@{where}" if transport == "sips" else f"sip:bob@{where};transport={transport}"
            said = await talk(caller, target)
        assert said.kinds == ["Answered", "Ended"]
        assert heard[0].peer.transport == ("tls" if over_tls else transport)
        contact = next(line for line in heard[0].header_lines if line.startswith("Contact"))
        assert {"tls": ";transport=tls", "tcp": ";transport=tcp", "sips": "<sips:", "udp": "<sip:"}[
            transport
        ] in contact

    play(scene())


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_the_callee_can_hang_up_over_the_callers_connection(transport: str, certificate: Certificate) -> None:
    """The caller's certificate would not do for a connection back: it is not needed."""

    async def scene() -> None:
        calls: list[SipCall] = []

        def answer(call: SipCall) -> None:
            calls.append(call)
            call.accept(SDP)

        seen: list[tuple[str, bytes, float, str, Hop]] = []
        async with (
            agent(answer, seen=seen, **with_tls(certificate)) as callee,
            agent(tls_ca_file=str(certificate.cert)) as caller,
        ):
            said = Caller()
            port = callee.tls_port if transport == "tls" else callee.address[1]
            target = f"sip:bob@127.0.0.1:{port};transport={transport}"
            caller.invite(target, caller="sip:alice@localhost", sdp=SDP, listener=said)
            async with asyncio.timeout(5):
                await said.answered.wait()
                calls[0].listener = lambda _: None
                calls[0].hangup()
                await said.ended.wait()
            assert callee._network.connections == 1
        assert said.events[-1] == Ended("peer", "BYE")
        assert {hop.transport for *_, hop in seen} == {transport}

    play(scene())


def test_a_call_to_a_name(certificate: Certificate) -> None:
    async def scene() -> None:
        async with agent() as callee, agent() as caller:
            said = await talk(caller, f"sip:bob@pbx.example:{callee.address[1]}")
        assert said.kinds == ["Answered", "Ended"]

    play(scene())


def test_large_requests_go_over_tcp_and_back_to_udp_where_that_is_refused() -> None:
    async def scene() -> None:
        big = {"X-Padding": "x" * 1400}
        for tcp in (True, False):
            seen: list[tuple[str, bytes, float, str, Hop]] = []
            async with agent(seen=seen, tcp=tcp) as callee, agent() as caller:
                said = Caller()
                target = f"sip:bob@127.0.0.1:{callee.address[1]}"
                call = caller.invite(target, caller="a", sdp=SDP, listener=said, headers=big)
                async with asyncio.timeout(5):
                    await said.answered.wait()
                    call.hangup()
                    await said.ended.wait()
            assert seen[0][4].transport == ("tcp" if tcp else "udp")

    play(scene())


# --- TLS -------------------------------------------------------------------------------------------------


def rejection(said: Caller) -> str:
    assert isinstance(said.events[0], Rejected)
    assert said.events[0].status == 503
    return said.events[0].reason


def test_a_certificate_for_another_name_is_refused_with_both_names(tmp_path: Path) -> None:
    other = make_certificate(tmp_path, "DNS:b.example")

    async def scene() -> None:
        async with agent(**with_tls(other)) as callee, agent(tls_ca_file=str(other.cert)) as caller:
            said = await talk(caller, f"sips:bob@a.example:{callee.tls_port}")
        assert "TLS: the certificate is for b.example, not a.example" in rejection(said)

    play(scene())


def test_an_unknown_authority_is_refused_unless_verification_is_off(certificate: Certificate) -> None:
    async def scene() -> None:
        async with agent(**with_tls(certificate)) as callee:
            target = f"sips:bob@localhost:{callee.tls_port}"
            async with agent() as caller:
                said = await talk(caller, target)
            assert "TLS: the certificate of localhost can't be trusted: self" in rejection(said)
            async with agent(tls_verify=False) as caller:
                assert (await talk(caller, target)).kinds == ["Answered", "Ended"]

    play(scene())


@pytest.mark.parametrize("kind", ["pkcs8", "pkcs1", "sec1"])
@pytest.mark.parametrize("combined", [False, True])
def test_keys_of_all_kinds(kind: KeyKind, combined: bool, tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "DNS:localhost", key=kind)
    files = {"tls_cert_file": str(made.combined)} if combined else with_tls(made)

    async def scene() -> None:
        async with (
            agent(**{**files, "tls_port": 0}) as callee,
            agent(tls_ca_file=str(made.cert)) as caller,
        ):
            assert (await talk(caller, f"sips:bob@localhost:{callee.tls_port}")).kinds == ["Answered", "Ended"]

    play(scene())


# --- failures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_nobody_listens(transport: str) -> None:
    async def scene() -> None:
        async with agent() as caller:
            said = await talk(caller, f"sip:bob@127.0.0.1:1;transport={transport}")
        wanted = f"can't connect to 127.0.0.1:1 over {transport.upper()}: connection refused"
        assert rejection(said) == wanted

    play(scene())


def test_nobody_listens_on_udp_as_icmp_says() -> None:
    async def scene() -> None:
        for host in ("127.0.0.1", "[::1]"):
            async with agent(host=host.strip("[]")) as caller:
                said = await talk(caller, f"sip:bob@{host}:1")
            assert rejection(said) == f"nobody is at {host}:1: connection refused"

    play(scene())


def test_nobody_answers_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 0.2)

    async def scene() -> None:
        silent = socket.socket()
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        with silent:
            async with agent() as caller:
                said = await talk(caller, f"sips:bob@127.0.0.1:{silent.getsockname()[1]}")
        assert "no answer in" in rejection(said)

    play(scene())


def test_the_next_address_is_tried() -> None:
    async def scene() -> None:
        async with agent() as callee:
            dead = Hop("127.0.0.1", 1, "tcp", "trunk.example")
            alive = Hop("127.0.0.1", callee.address[1], "tcp", "trunk.example")
            async with agent(names=Names(dead, alive)) as caller:
                said = await talk(caller, "sip:bob@trunk.example")
        assert said.kinds == ["Answered", "Ended"]

    play(scene())


def test_no_ipv6() -> None:
    async def scene() -> None:
        async with agent() as caller:
            said = await talk(caller, "sip:bob@[::1]:5060")
        assert rejection(said) == "can't send to [::1]:5060: no IPv6, SIP listens on 127.0.0.1 only"

    play(scene())


def test_a_taken_port_is_named() -> None:
    async def scene() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            second = SipAgent(SipConfig("127.0.0.1", port), on_call=lambda _: None)
            with pytest.raises(ConfigError, match=rf"UDP 127\.0\.0\.1:{port}: Address already in use"):
                await second.start()

    play(scene())


def test_a_successor_may_share_the_port(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with agent() as first:
            second = SipAgent(SipConfig("127.0.0.1", first.address[1]), on_call=lambda _: None)
            await second.start()
            await second.aclose()

    with caplog.at_level(logging.WARNING):
        play(scene())
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2  # UDP and TCP


def test_the_way_to_loopback_is_loopback() -> None:
    assert source_address("127.0.0.1") == "127.0.0.1"


# --- raw peers -------------------------------------------------------------------------------------------

OPTIONS = (
    b"OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:1;branch=z9hG4bK%d\r\n"
    b"From: <sip:a@b>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\nCall-ID: %d\r\n"
    b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


def test_a_dispatchers_ping_is_answered_on_the_connection_it_came_over() -> None:
    async def scene() -> None:
        async with agent() as callee, asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(*callee.address)
            data = OPTIONS % (1, 1) + b"\r\n\r\n" + OPTIONS % (2, 2)
            for start in range(0, len(data), 7):
                writer.write(data[start : start + 7])
                await writer.drain()
            answers = await reader.readuntil(b"\r\n\r\n")
            assert answers.startswith(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP")
            assert await reader.readexactly(2) == b"\r\n"  # the pong
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200 OK")
            writer.close()
            await writer.wait_closed()

    play(scene())


def test_after_its_connection_has_gone_a_peer_is_reached_where_it_listens() -> None:
    async def scene() -> None:
        calls: list[SipCall] = []
        heard: list[bytes] = []
        byed = asyncio.Event()

        def answer(call: SipCall) -> None:
            calls.append(call)
            call.accept(SDP)

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            byed.set()
            writer.close()

        listener = await asyncio.start_server(listen, "127.0.0.1", 0)
        here = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        request = (
            "%s sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bK%s\r\nFrom: <sip:a@b>;tag=1\r\n"
            "To: <sip:x@127.0.0.1>%s\r\nCall-ID: 1\r\nCSeq: 1 %s\r\nContact: <sip:a@%s;transport=tcp>\r\n"
            "Content-Length: 0\r\n\r\n"
        )
        async with agent(answer) as callee, asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(*callee.address)
            writer.write((request % ("INVITE", here, 1, "", "INVITE", here)).encode())
            while not (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200"):
                pass
            await reader.readexactly(len(SDP))
            tag = f";tag={calls[0].local_tag}"
            writer.write((request % ("ACK", here, 2, tag, "ACK", here)).encode())
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.close()
            await writer.wait_closed()
            await asyncio.sleep(0.05)
            calls[0].listener = lambda _: None
            calls[0].hangup()
            await byed.wait()
            listener.close()
        assert heard[0].startswith(b"BYE sip:a@127.0.0.1:")

    play(scene())


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01" + b"\x00" * 600, b"x" * 70000]
)
def test_what_is_no_sip_closes_the_connection(garbage: bytes) -> None:
    async def scene() -> None:
        async with agent() as callee, asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(*callee.address)
            writer.write(garbage)
            try:
                assert await reader.read() == b""
            except ConnectionResetError:
                pass
            writer.close()
            said = await talk(callee, f"sip:bob@127.0.0.1:{callee.address[1]};transport=tcp")
            assert said.kinds == ["Answered", "Ended"]

    play(scene())


def test_what_is_no_tls_harms_nobody(certificate: Certificate, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with agent(**with_tls(certificate), tls_verify=False) as callee, asyncio.timeout(5):
            assert callee.tls_port is not None
            for garbage in (b"OPTIONS sip:x SIP/2.0\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""):
                _, writer = await asyncio.open_connection("127.0.0.1", callee.tls_port)
                writer.write(garbage)
                await asyncio.sleep(0.05)
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
            said = await talk(callee, f"sips:bob@127.0.0.1:{callee.tls_port}")
            assert said.kinds == ["Answered", "Ended"]

    with caplog.at_level(logging.WARNING):
        play(scene())
    assert caplog.records == []


def test_stun_at_the_sip_port() -> None:
    async def scene() -> None:
        async with agent() as callee:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("127.0.0.1", 0))
                sock.setblocking(False)
                sock.sendto(struct.pack("!HHI12s", 1, 0, 0x2112A442, b"0" * 12), callee.address)
                async with asyncio.timeout(2):
                    answer = await asyncio.get_running_loop().sock_recv(sock, 100)
                port = struct.unpack("!H", answer[26:28])[0] ^ 0x2112
                assert port == sock.getsockname()[1]

    play(scene())


def test_a_deadline_that_has_passed_is_no_fault_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def flush_twice() -> None:
        async with agent() as one:
            past = asyncio.get_running_loop().time() - 1
            monkeypatch.setattr(one._stack, "next_deadline", lambda: past)
            one._flush()
            one._flush()
            monkeypatch.undo()

    play(flush_twice())
