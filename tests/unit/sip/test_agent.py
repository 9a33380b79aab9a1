import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from active_call.core.errors import LocalProtocolError
from active_call.core.log import TRACE
from active_call.core.tokens import token_source
from active_call.sip import own_address as module
from active_call.sip.agent import Credentials, SipAgent, SipCall, SipConfig
from active_call.sip.events import Ended, Rejected, SipEvent
from active_call.sip.hop import Hop, Target
from active_call.sip.messages.message import Request, parse_message
from active_call.sip.resolve import NotFound
from active_call.sip.transport.udp import UdpTransport
from tests.unit.sip.support import ALICE, ANSWER, OFFER, message, reply

Received = Callable[[bytes, Hop], None]


class FakeTransport:
    """In the place of a socket."""

    address = ("10.0.0.2", 5060)

    def __init__(self, receive: Received) -> None:
        self.receive = receive
        self.sent: list[tuple[bytes, Hop]] = []
        self.broken = False
        self.closed = False

    def send(self, data: bytes, destination: Hop) -> None:
        if self.broken:
            raise OSError(101, "Network is unreachable")
        self.sent.append((data, destination))

    async def aclose(self) -> None:
        self.closed = True

    def lines(self) -> list[str]:
        return [data.split(b"\r\n")[0].decode() for data, _ in self.sent]


class FakeNames:
    """In the place of DNS."""

    def __init__(self) -> None:
        self.asked: list[Target] = []

    async def resolve(self, target: Target) -> list[Hop]:
        self.asked.append(target)
        assert "buggy" not in target.host
        if "nowhere" in target.host:
            raise NotFound(f"DNS: no address for {target.host} (NXDOMAIN)")
        return [target.hop._replace(host="10.0.0.9")]

    def known_address(self, name: str) -> str | None:
        return "10.0.0.9" if any(target.host == name for target in self.asked) else None


class World:
    """An agent without a socket, and what happened to it."""

    def __init__(self, on_call: Callable[[SipCall], None] | None = None, **config: Any) -> None:
        self.calls: list[SipCall] = []
        self.seen: list[tuple[str, bytes, float, str, Hop]] = []
        self.events: list[SipEvent] = []
        self.names = FakeNames()
        self.agent = SipAgent(
            SipConfig("10.0.0.2", 5060, tcp=False, **config),
            on_call=on_call or self.calls.append,
            tokens=token_source(1),
            on_message=lambda *seen: self.seen.append(seen),
            resolver=self.names,
        )

    @property
    def transport(self) -> FakeTransport:
        return cast("FakeTransport", self.agent._network._udp[4])

    def dial(self, target: str, credentials: Credentials | None = None) -> SipCall:
        return self.agent.invite(
            target, caller="sip:a@b", sdp=OFFER, listener=self.events.append, credentials=credentials
        )


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_fake(host: str, port: int, receive: Received, _: object) -> FakeTransport:
        return FakeTransport(receive)

    monkeypatch.setattr(UdpTransport, "open", open_fake)
    monkeypatch.setattr(module, "source_address", lambda peer: f"from {peer}")


async def turns() -> None:
    """Let the loop do what is ready."""
    for _ in range(10):
        await asyncio.sleep(0)


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

    reason = "can't send to 10.0.0.9:5060: network is unreachable"
    assert run(scene).events == [Rejected(503, reason, {}, ours=True), Ended("peer", f"503 {reason}")]


def test_calls_to_a_name_wait_for_one_lookup() -> None:
    async def scene(world: World) -> None:
        world.dial("sip:bob@pbx.example.com:5070")
        world.dial("sip:eve@pbx.example.com:5070")
        world.dial("sip:joe@pbx.example.com")
        assert world.transport.sent == []
        await turns()
        assert sorted(to.port for _, to in world.transport.sent) == [5060, 5070, 5070]
        assert {to.host for _, to in world.transport.sent} == {"10.0.0.9"}

    asked = run(scene).names.asked
    assert asked == [Target("pbx.example.com", 5070), Target("pbx.example.com")]


def test_a_name_that_does_not_exist_ends_the_call() -> None:
    async def scene(world: World) -> None:
        world.dial("sip:bob@nowhere.example.com")
        await turns()

    reason = "DNS: no address for nowhere.example.com (NXDOMAIN)"
    assert run(scene).events == [Rejected(503, reason, {}, ours=True), Ended("peer", f"503 {reason}")]


def test_an_unanswered_lookup_does_not_hold_up_other_calls() -> None:
    class SlowNames(FakeNames):
        async def resolve(self, target: Target) -> list[Hop]:
            await asyncio.Event().wait()
            return []

    async def scene(world: World) -> None:
        world.dial("sip:bob@pbx.example.com")
        world.dial("sip:bob@10.0.0.9")
        assert world.transport.lines() == ["INVITE sip:bob@10.0.0.9 SIP/2.0"]
        await world.agent.aclose()

    world = World()
    world.agent._resolver = SlowNames()
    run(scene, world)


def test_messages_are_shown_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(world: World) -> None:
        call = world.dial("sip:bob@10.0.0.9", Credentials("u", "p"))
        invite = parse_message(world.transport.sent[0][0])
        assert isinstance(invite, Request)
        challenge = 'WWW-Authenticate: Digest realm="r", nonce="n"\r\n'
        world.transport.receive(reply(invite, 401, headers=challenge), Hop("10.0.0.9", 5060))
        assert b"Authorization: Digest username" in world.transport.sent[-1][0]
        assert {seen[3] for seen in world.seen} == {call.call_id}

    with caplog.at_level(TRACE, "active_call.sip.trace"):
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
        assert world.transport.lines() == ["SIP/2.0 503 Server shutting down"]

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
        loop.call_soon(lambda: transport.receive(reply(invite, 486), Hop("10.0.0.9", 5060)))
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


# --- addresses and keep-alives -------------------------------------------------------------------------


def test_a_trunk_that_says_where_we_are_is_believed_if_wanted() -> None:
    trunk = Hop("8.8.8.8", 5060)
    told: list[tuple[str, int]] = []
    world = World(learn_public_address=True)
    world.agent.on_public_address = lambda host, port: told.append((host, port))

    async def scene(world: World) -> None:
        world.dial("sip:bob@8.8.8.8")
        invite = parse_message(world.transport.sent[0][0])
        assert isinstance(invite, Request)
        ringing = reply(invite, 180).replace(b";rport", b";rport=40000;received=9.9.9.9")
        world.transport.receive(ringing, trunk)
        world.transport.receive(ringing, trunk)
        world.dial("sip:bob@8.8.8.8")
        invite = parse_message(world.transport.sent[-1][0])
        assert (invite.via.host, invite.via.port) == ("9.9.9.9", 40000)
        assert invite.headers.get("contact") == "<sip:a@9.9.9.9:40000>"
        assert world.agent.advertised_host("8.8.4.4") == "9.9.9.9"

    run(scene, world)
    assert told == [("9.9.9.9", 40000)]


def test_a_keep_alive_is_two_line_ends() -> None:
    async def scene(world: World) -> None:
        world.agent.keep_alive(Hop("10.0.0.9", 5060))
        assert world.transport.sent == [(b"\r\n\r\n", Hop("10.0.0.9", 5060))]

    assert run(scene).seen == []


def test_an_icmp_error_ends_a_call_that_nobody_answered() -> None:
    async def scene(world: World) -> None:
        world.dial("sip:bob@10.0.0.9")
        world.agent._unreachable(Hop("10.0.0.9", 5060), "nobody is there")

    assert [type(event) for event in run(scene).events] == [Rejected, Ended]


def test_connections_of_live_calls_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[set[Hop]] = []

    async def scene(world: World) -> None:
        monkeypatch.setattr(world.agent._network, "sweep", lambda now, in_use: swept.append(set(in_use)))
        world.agent._sweep()
        world.transport.receive(message("INVITE", body=OFFER), ALICE)
        world.agent._sweep()
        await world.agent.aclose()

    run(scene)
    assert swept == [set(), {ALICE}]


def test_a_bug_in_a_lookup_ends_that_call_only(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(world: World) -> None:
        world.dial("sip:bob@buggy.example.com")
        await turns()
        assert isinstance(world.events[0], Rejected)
        assert world.events[0].reason == "DNS: buggy.example.com could not be looked up"
        await world.agent.aclose()

    run(scene)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_who_would_be_waited_for_at_the_end_is_not_let_in_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way: list[int] = []

    async def scene(world: World) -> None:
        tasks = world.agent._tasks
        monkeypatch.setattr(world.agent._network, "stop_listening", lambda: under_way.append(len(tasks)))
        world.agent._spawn(asyncio.sleep(1000))
        await turns()
        await world.agent.aclose()
        assert not tasks

    run(scene)
    assert under_way == [1]
