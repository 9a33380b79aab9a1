"""Two SIP agents on real sockets."""

import asyncio

import pytest
import uvloop

from active_call.core.errors import ConfigError
from active_call.sip.agent import SipAgent, SipCall, SipConfig
from active_call.sip.events import Answered, Ended, SipEvent
from active_call.sip.transport.udp import source_address

pytestmark = pytest.mark.e2e


def test_a_call_over_loopback() -> None:
    events: list[SipEvent] = []
    answered, ended = asyncio.Event(), asyncio.Event()

    def listener(event: SipEvent) -> None:
        events.append(event)
        if isinstance(event, Answered):
            answered.set()
        if isinstance(event, Ended):
            ended.set()

    async def talk() -> None:
        caller = SipAgent(SipConfig("127.0.0.1", 0), on_call=lambda call: call.reject(486, "busy"))
        callee = SipAgent(SipConfig("0.0.0.0", 0), on_call=lambda call: call.accept(b"v=0\r\n"))
        await caller.start()
        await callee.start()
        target = f"sip:bob@localhost:{callee.address[1]}"
        call: SipCall = caller.invite(target, caller="sip:alice@localhost", sdp=b"v=0\r\n", listener=listener)
        async with asyncio.timeout(5):
            await answered.wait()
            call.hangup()
            await ended.wait()
            await callee.aclose()
            await caller.aclose()

    asyncio.run(talk())
    assert [type(event) for event in events] == [Answered, Ended]


def test_a_taken_port_is_named() -> None:
    async def bind_twice() -> None:
        first = SipAgent(SipConfig("127.0.0.1", 0), on_call=lambda _: None)
        await first.start()
        port = first.address[1]
        second = SipAgent(SipConfig("127.0.0.1", port), on_call=lambda _: None)
        try:
            with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}"):
                await second.start()
        finally:
            await first.aclose()

    asyncio.run(bind_twice())


def test_the_way_to_loopback_is_loopback() -> None:
    assert source_address("127.0.0.1") == "127.0.0.1"


def test_a_deadline_that_has_passed_is_no_fault_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def flush_twice() -> None:
        agent = SipAgent(SipConfig("127.0.0.1", 0), on_call=lambda _: None)
        await agent.start()
        past = asyncio.get_running_loop().time() - 1
        monkeypatch.setattr(agent._stack, "next_deadline", lambda: past)
        agent._flush()
        agent._flush()
        monkeypatch.undo()
        await agent.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(flush_twice())
