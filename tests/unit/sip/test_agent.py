import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from active_call.core.errors import LocalProtocolError
from active_call.core.log import TRACE
from active_call.core.tokens import token_source
from active_call.sip import agent as module
from active_call.sip.agent import Credentials, SipAgent, SipCall, SipConfig
from active_call.sip.events import Ended, Rejected, SipEvent
from active_call.sip.message import Request, parse_message
from active_call.sip.transport.udp import UdpTransport
from tests.unit.sip.support import ALICE, ANSWER, OFFER, message, reply

Received = Callable[[bytes, tuple[str, int]], None]


class FakeTransport:
    """In the place of a socket."""

    address = ("10.0.0.2", 5060)

    def __init__(self, receive: Received) -> None:
        self.receive = receive
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.broken = False
        self.closed = False

    def send(self, data: bytes, destination: tuple[str, int]) -> None:
        if self.broken:
            raise OSError(101, "Network is unreachable")
        self.sent.append((data, destination))

    async def aclose(self) -> None:
        self.closed = True

    def lines(self) -> list[str]:
        return [data.split(b"\r\n")[0].decode() for data, _ in self.sent]


class World:
    """An agent without a socket, and what happened to it."""

    def __init__(self, on_call: Callable[[SipCall], None] | None = None, **config: Any) -> None:
        self.calls: list[SipCall] = []
        self.seen: list[tuple[str, bytes, float, str]] = []
        self.events: list[SipEvent] = []
        self.agent = SipAgent(
            SipConfig("10.0.0.2", 5060, **config),
            on_call=on_call or self.calls.append,
            tokens=token_source(1),
            on_message=lambda *seen: self.seen.append(seen),
        )

    @property
    def transport(self) -> FakeTransport:
        return cast("FakeTransport", self.agent._transport)

    def dial(self, target: str, credentials: Credentials | None = None) -> SipCall:
        return self.agent.invite(
            target, caller="sip:a@b", sdp=OFFER, listener=self.events.append, credentials=credentials
        )


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_fake(host: str, port: int, receive: Received) -> FakeTransport:
        return FakeTransport(receive)

    monkeypatch.setattr(UdpTransport, "open", open_fake)
    monkeypatch.setattr(module, "source_address", lambda peer: f"from {peer}")


def run(scene: Callable[[World], Coroutine[Any, Any, None]], world: World | None = None) -> World:
    """Play a scene with a started agent."""
    world = world or World()

    async def play() -> None:
        await world.agent.start()
        await scene(world)

    asyncio.run(play())
    return world


def test_a_call_comes_in_and_is_answered() -> None:
    async def scene(world: World) -> None:
        world.transport.receive(message("INVITE", body=OFFER), ALICE)
        world.calls[0].listener = world.events.append
        world.calls[0].accept(ANSWER)
        tag = world.calls[0].local_tag
        world.transport.receive(message("ACK", to_tag=tag, branch="z9hG4bKa"), ALICE)
        world.transport.receive(message("BYE", to_tag=tag, cseq=2, branch="z9hG4bKb"), ALICE)
        assert world.transport.lines() == ["SIP/2.0 100 Trying", "SIP/2.0 200 OK", "SIP/2.0 200 OK"]

    world = run(scene)
    assert world.events[-1] == Ended("peer", "BYE")
    assert not world.agent._calls


def test_trying_is_sent_before_the_owner_is_asked() -> None:
    lines: list[str] = []
    world = World(lambda call: lines.extend(world.transport.lines()))

    async def scene(world: World) -> None:
        world.transport.receive(message("INVITE", body=OFFER), ALICE)

    run(scene, world)
    assert lines == ["SIP/2.0 100 Trying"]


def test_an_owner_that_fails_gives_500(caplog: pytest.LogCaptureFixture) -> None:
    def fail(call: SipCall) -> None:
        raise ValueError("oops")

    async def scene(world: World) -> None:
        world.transport.receive(message("INVITE", body=OFFER), ALICE)
        assert world.transport.lines()[-1] == "SIP/2.0 500 Server Internal Error"

    run(scene, World(fail))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_timers_run_in_the_loop() -> None:
    async def scene(world: World) -> None:
        world.dial("sip:bob@10.0.0.9")
        timer = world.agent._timer
        assert timer is not None
        assert 0.4 < timer.when() - asyncio.get_running_loop().time() <= 0.5
        world.agent._timer_due()  # the loop would call it then; too early it does nothing
        assert world.transport.lines() == ["INVITE sip:bob@10.0.0.9 SIP/2.0"]

    run(scene)


def test_a_send_error_ends_the_call() -> None:
    async def scene(world: World) -> None:
        world.transport.broken = True
        world.dial("sip:bob@10.0.0.9")
        await asyncio.sleep(0)

    assert run(scene).events == [Rejected(503, "Transport Error", {}), Ended("peer", "503 Transport Error")]


def test_names_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lookups: list[str] = []

    def resolve(name: str, *rest: object, **options: object) -> list[object]:
        lookups.append(name)
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("10.0.0.9", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    async def scene(world: World) -> None:
        world.dial("sip:bob@pbx.example.com:5070")
        world.dial("sip:eve@pbx.example.com")
        await asyncio.gather(*world.agent._lookups)
        await asyncio.sleep(0)
        world.dial("sip:joe@pbx.example.com")
        assert [to for _, to in world.transport.sent] == [
            ("10.0.0.9", 5070),
            ("10.0.0.9", 5060),
            ("10.0.0.9", 5060),
        ]

    run(scene)
    assert lookups == ["pbx.example.com"]


def test_a_name_that_does_not_exist_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    async def scene(world: World) -> None:
        world.dial("sip:bob@nowhere.example.com")
        await asyncio.wait(world.agent._lookups)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert [type(event) for event in run(scene).events] == [Rejected, Ended]


def test_messages_are_shown_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(world: World) -> None:
        call = world.dial("sip:bob@10.0.0.9", Credentials("u", "p"))
        invite = parse_message(world.transport.sent[0][0])
        assert isinstance(invite, Request)
        challenge = 'WWW-Authenticate: Digest realm="r", nonce="n"\r\n'
        world.transport.receive(reply(invite, 401, headers=challenge), ("10.0.0.9", 5060))
        assert b"Authorization: Digest username" in world.transport.sent[-1][0]
        assert {seen[3] for seen in world.seen} == {call.call_id}

    with caplog.at_level(TRACE, "active_call.sip.agent"):
        world = run(scene)
    assert [direction for direction, *_ in world.seen] == [">", "<", ">", ">"]
    assert b"Authorization: <hidden>\r\n" in world.seen[-1][1]
    assert "username" not in caplog.text
    assert "> 10.0.0.9:5060\nINVITE sip:bob@10.0.0.9 SIP/2.0" in caplog.text


def test_a_bug_of_ours_loses_one_message_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(world: World) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(world.agent._stack, "receive_datagram", lambda *_: 1 / 0)
            world.transport.receive(message("OPTIONS"), ALICE)
        world.transport.receive(message("OPTIONS"), ALICE)
        assert world.transport.lines() == ["SIP/2.0 200 OK"]

    run(scene)
    assert len(caplog.records) == 1


def test_not_accepting() -> None:
    async def scene(world: World) -> None:
        world.agent.accepting = False
        world.transport.receive(message("INVITE", body=OFFER), ALICE)
        assert world.transport.lines() == ["SIP/2.0 503 Service Unavailable"]

    assert run(scene).calls == []


def test_closing_without_anything_open_is_immediate() -> None:
    async def scene(world: World) -> None:
        transport = world.transport
        async with asyncio.timeout(0.5):
            await world.agent.aclose()
            await world.agent.aclose()
        assert transport.closed

    run(scene)


def test_closing_waits_for_an_answer() -> None:
    async def scene(world: World) -> None:
        world.dial("sip:bob@10.0.0.9")
        invite = parse_message(world.transport.sent[0][0])
        assert isinstance(invite, Request)
        transport = world.transport
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: transport.receive(reply(invite, 486), ("10.0.0.9", 5060)))
        async with asyncio.timeout(0.5):
            await world.agent.aclose()

    assert [type(event) for event in run(scene).events] == [Rejected, Ended]


def test_before_the_start_nothing_can_be_sent() -> None:
    world = World()
    with pytest.raises(LocalProtocolError):
        world.dial("sip:bob@10.0.0.9")
    with pytest.raises(LocalProtocolError):
        _ = world.agent.address


@pytest.mark.parametrize(
    ("host", "external", "peer", "advertised"),
    [
        ("0.0.0.0", "203.0.113.5", "10.0.0.1", "203.0.113.5"),
        ("10.0.0.2", None, "10.0.0.1", "10.0.0.2"),
        ("0.0.0.0", None, "10.0.0.1", "from 10.0.0.1"),
        ("0.0.0.0", None, "10.0.0.1:5060", "from 10.0.0.1"),
        ("", None, "[::1]:5060", "from ::1"),
        ("0.0.0.0", None, "localhost:5060", "from 127.0.0.1"),
        ("0.0.0.0", None, "pbx.example.com", "from 192.0.2.1"),
    ],
)
def test_the_address_that_peers_see(host: str, external: str | None, peer: str, advertised: str) -> None:
    agent = SipAgent(SipConfig(host, 0, external), on_call=lambda _: None)
    assert agent.advertised_host(peer) == advertised
