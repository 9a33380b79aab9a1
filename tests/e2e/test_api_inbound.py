"""Inbound calls that a webhook hands to whoever connects with their dialog id."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from active_call.client import connect
from active_call.sdp.negotiate import LocalMedia, make_offer
from active_call.sip.agent import SipAgent, SipCall, SipConfig
from active_call.sip.events import Answered, Ended, Rejected, Ringing, SipEvent
from active_call.testing.caller import CallRefused, Telephones
from active_call.testing.process import GatewayProcess
from active_call.wire import events
from active_call.wire.options import RecorderOption
from tests.e2e.api import Hook, Log, loud, option, purity, read_wav, run, tone, until, write_wav

pytestmark = pytest.mark.e2e

HANDLER = """accept_timeout = "1500ms"
[handler]
type = "webhook"
urls = ["{url}"]
headers = [["X-Test-Header", "yes"]]
"""


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with Hook() as hook:
        yield hook


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, hook: Hook) -> Iterator[GatewayProcess]:
    config = HANDLER.format(url=hook.url)
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config) as process:
        write_wav(process.directory / "config" / "media" / "ring.wav", tone(16_000, 425, 0.4))
        yield process


@pytest.fixture(autouse=True)
def _willing(hook: Hook) -> None:
    hook.status = 200
    hook.bodies.clear()
    hook.headers.clear()


@dataclass
class Caller:
    """A caller without ears: the events of its call, and how to end it."""

    sip: SipCall
    seen: list[SipEvent] = field(default_factory=list)

    async def until(self, kind: type[Any]) -> Any:
        await until(lambda: any(isinstance(event, kind) for event in self.seen))
        return next(event for event in self.seen if isinstance(event, kind))


@asynccontextmanager
async def caller(gateway: GatewayProcess) -> AsyncIterator[Caller]:
    """Someone who calls the gateway."""
    agent = SipAgent(SipConfig("127.0.0.1", 0), on_call=lambda call: call.reject(486, "busy"))
    await agent.start()
    seen: list[SipEvent] = []
    local = LocalMedia("127.0.0.1", 9, ("pcmu",), dtmf=True, session_id=1, version=1)
    sip = agent.invite(
        gateway.uri,
        caller="sip:alice@127.0.0.1",
        sdp=make_offer(local),
        listener=seen.append,
        headers={"X-A": "b"},
    )
    try:
        yield Caller(sip, seen)
    finally:
        sip.hangup()
        await agent.aclose()


def test_t44_the_hook_is_told_all_about_the_call_and_a_client_answers_it(
    gateway: GatewayProcess, hook: Hook
) -> None:
    async def scene() -> tuple[dict[str, Any], Log]:
        async with Telephones(capacity=4) as phones:
            phone = phones.dial(gateway.uri, caller="sip:alice@127.0.0.1")
            body = await hook.asked()
            async with connect(gateway.ws_url, "sip", id=body["dialogId"]) as call:
                log = Log.of(call)
                await call.accept(option())
                await phone.wait_answered()
                await call.until(events.Answer)
                await phone.say(tone(16_000, 300, 0.1))
                await call.tts("hello", auto_hangup=True)
                await phone.wait_heard()
                await call.until(events.Hangup)
                await phone.wait_ended()
            return body, log

    body, log = run(scene())
    assert (body["event"], body["caller"], body["callee"]) == ("invite", "sip:alice@127.0.0.1", gateway.uri)
    assert body["dialogId"] == f"{body['call_id']}-{body['to_tag']}-{body['from_tag']}"
    assert body["offer"].startswith("v=0")
    assert any(line.startswith("Content-Type: application/sdp") for line in body["headers"])
    assert hook.headers[0]["x-test-header"] == "yes"
    (incoming,) = log.all(events.Incoming)
    assert (incoming.track_id, incoming.caller, incoming.sdp) == (
        body["dialogId"],
        body["caller"],
        body["offer"],
    )
    assert log.names("speaking", "silence")[:3] == ["incoming", "trackStart", "answer"]
    assert log.names()[-2:] == ["trackEnd", "hangup"]


def test_t14_t44_rejecting(gateway: GatewayProcess, hook: Hook) -> None:
    async def scene(code: int | None) -> int:
        hook.bodies.clear()
        async with caller(gateway) as alice:
            dialog_id = (await hook.asked())["dialogId"]
            async with connect(gateway.ws_url, "sip", id=dialog_id) as call:
                await call.reject(code, "not now")
                await call.until(events.Hangup)
            return int((await alice.until(Rejected)).status)

    assert [run(scene(code)) for code in (486, None)] == [486, 603]


def test_a_client_that_leaves_without_answering_rejects(gateway: GatewayProcess, hook: Hook) -> None:
    async def scene() -> int:
        async with caller(gateway) as alice:
            async with connect(gateway.ws_url, "sip", id=(await hook.asked())["dialogId"]) as call:
                await call.until(events.Incoming)
            return int((await alice.until(Rejected)).status)

    assert run(scene()) == 603


def test_ringing_without_sound_is_180(gateway: GatewayProcess, hook: Hook) -> None:
    async def scene() -> Ringing:
        async with caller(gateway) as alice:
            async with connect(gateway.ws_url, "sip", id=(await hook.asked())["dialogId"]) as call:
                await call.ringing()
                ringing: Ringing = await alice.until(Ringing)
                await call.accept(option())
                await alice.until(Answered)
                await call.hangup()
                await call.until(events.Hangup)
            return ringing

    ringing = run(scene())
    assert (ringing.status, ringing.sdp) == (180, None)


def test_ringing_with_a_ringtone_is_183_and_its_recorder_stays(gateway: GatewayProcess, hook: Hook) -> None:
    async def scene() -> tuple[Log, Caller]:
        async with caller(gateway) as alice:
            async with connect(gateway.ws_url, "sip", id=(await hook.asked())["dialogId"]) as call:
                log = Log.of(call)
                await call.ringing(ringtone="ring.wav", recorder=RecorderOption(recorder_file="ring.wav"))
                ringing: Ringing = await alice.until(Ringing)
                assert ringing.status == 183
                await call.until(events.TrackStart, where=lambda start: start.play_id == "ring.wav")
                await asyncio.sleep(1.0)  # it is played again and again
                await call.accept(option(recorder=RecorderOption(recorder_file="other.wav")))
                answer: Answered = await alice.until(Answered)
                assert answer.sdp == ringing.sdp
                await call.until(events.TrackEnd, where=lambda end: end.play_id == "ring.wav")
                await call.hangup()
                await call.until(events.Hangup)
            return log, alice

    log, _ = run(scene())
    assert log.all(events.Error) == []
    folder = gateway.directory / "config" / "recorders"
    rate, recorded = read_wav(folder / "ring.wav")
    assert purity(loud(recorded[:, 1], rate), rate, 425) > 0.95
    assert not (folder / "other.wav").exists()


def test_a_caller_who_gives_up_is_a_hangup(gateway: GatewayProcess, hook: Hook) -> None:
    async def scene() -> events.Hangup:
        async with caller(gateway) as alice:
            async with connect(gateway.ws_url, "sip", id=(await hook.asked())["dialogId"]) as call:
                await call.ringing()
                await alice.until(Ringing)
                alice.sip.hangup()
                hangup = await call.until(events.Hangup)
            await alice.until(Ended)
            return hangup

    hangup = run(scene())
    assert (hangup.reason, hangup.initiator) == ("canceled", "caller")


def test_t10_nobody_comes_for_the_call(gateway: GatewayProcess, hook: Hook) -> None:
    async def scene() -> None:
        async with caller(gateway) as alice:
            dialog_id = (await hook.asked())["dialogId"]
            assert (await alice.until(Rejected)).status == 408
            await asyncio.to_thread(gateway.wait_calls)
            async with connect(gateway.ws_url, "sip", id=dialog_id) as call:
                await call.accept(option())
                late = await call.until(events.Reject)
                assert late.code == 486

    run(scene())


def test_t09_a_hook_that_fails_is_503_at_once(gateway: GatewayProcess, hook: Hook) -> None:
    async def scene() -> None:
        hook.status = 500
        async with Telephones(capacity=2) as phones:
            phone = phones.dial(gateway.uri)
            with pytest.raises(CallRefused, match="503"):
                await phone.wait_answered(1.0)

    run(scene())


def test_several_hooks_take_turns(tmp_path: Path) -> None:
    async def scene(first: Hook, second: Hook, gateway: GatewayProcess) -> list[int]:
        async def one_more(number: int) -> None:
            async with caller(gateway) as alice:
                await until(lambda: len(first.bodies) + len(second.bodies) == number)
                alice.sip.hangup()

        for number in range(1, 5):
            await one_more(number)
        return [len(first.bodies), len(second.bodies)]

    with Hook() as first, Hook() as second:
        config = HANDLER.format(url=f'{first.url}", "{second.url}')
        with GatewayProcess(tmp_path, config=config) as gateway:
            assert run(scene(first, second, gateway)) == [2, 2]
