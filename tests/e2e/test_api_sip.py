"""`/call/sip`: outbound telephone calls led by clients, and what can be asked over REST meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from active_call.client import Refused, Rest, Session, connect
from active_call.testing.caller import Phone, Telephones
from active_call.testing.process import GatewayProcess
from active_call.wire import commands, events
from active_call.wire.commands import Command
from active_call.wire.options import CallOption, SipOption
from tests.conformance.test_api_examples import COMMANDS
from tests.e2e.api import TALK, Log, callee, option, run, until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), {"talk.md": TALK}) as process:
        yield process


@asynccontextmanager
async def telephone() -> AsyncIterator[tuple[Telephones, str]]:
    """Telephones that take every call, and the address of one."""
    async with Telephones(capacity=8) as phones:
        yield phones, f"sip:bob@127.0.0.1:{phones.agent.address[1]}"


@asynccontextmanager
async def answered(gateway: GatewayProcess) -> AsyncIterator[tuple[Session, Log, Phone]]:
    """A call to a telephone that has just been answered."""
    async with telephone() as (phones, uri), connect(gateway.ws_url, "sip") as call:
        log = Log.of(call)
        await call.invite(option(callee=uri, caller="sip:alice@127.0.0.1"))
        await call.until(events.Answer)
        yield call, log, phones.phones[0]


def test_events_of_a_call_come_in_order(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with answered(gateway) as (call, log, phone):
            await call.tts("hello", play_id="1", end_of_stream=True, auto_hangup=True)
            await call.until(events.Hangup)
            await phone.wait_ended()
            return log

    log = run(scene())
    hangup = log.seen[-1]
    assert isinstance(hangup, events.Hangup)
    assert (hangup.reason, hangup.from_ and hangup.from_.username) == ("system", "alice")
    names = log.names("speaking", "silence")
    assert names[0] == "trackStart"
    assert [name for name in names if name in ("answer", "hangup")] == ["answer", "hangup"]
    assert names[-2:] == ["trackEnd", "hangup"]


PIECES = ["Thank you for calling,", " we are very glad", " to hear from you."]


@pytest.mark.parametrize("streaming", [True, False], ids=["streamed deltas", "pieces"])
def test_a_dialogue_loop_in_both_modes(gateway: GatewayProcess, streaming: bool) -> None:
    """The pattern of the reference's own client: greeting, then per utterance one playId in pieces."""

    async def scene() -> Log:
        async with answered(gateway) as (call, log, phone):
            await call.tts("Hello!", play_id="1", end_of_stream=True)
            await call.until(events.TrackEnd, where=lambda end: end.play_id == "1")
            for play_id in ("llm-1", "llm-2"):
                await call.history("user", "a question")
                await call.interrupt(graceful=True)
                last = play_id == "llm-2"
                for piece in PIECES:
                    await call.tts(piece, play_id=play_id, streaming=streaming)
                await call.tts("", play_id=play_id, streaming=streaming, end_of_stream=True, auto_hangup=last)
                if not last:
                    await call.until(events.TrackEnd, where=lambda end: end.play_id == "llm-1")
            await call.until(events.Hangup, timeout=20)
            await phone.wait_ended()
            return log

    log = run(scene())
    started = [event.play_id for event in log.all(events.TrackStart) if event.play_id]
    ended = [event.play_id for event in log.all(events.TrackEnd) if event.play_id]
    assert started == ended == ["1", "llm-1", "llm-2"]
    for end in log.all(events.TrackEnd):
        if end.play_id in ("llm-1", "llm-2"):
            assert abs(end.duration - len("".join(PIECES)) * 40) < 150
    assert log.all(events.Error) == []
    assert log.seen[-1].event == "hangup"


def test_t15_forty_commands_while_it_rings_and_then_a_hangup(gateway: GatewayProcess) -> None:
    async def scene() -> tuple[Log, float]:
        loop = asyncio.get_running_loop()
        async with (
            answered(gateway) as (other, _, _),
            callee(lambda call: call.ring()) as bob,
            connect(gateway.ws_url, "sip") as call,
        ):
            log = Log.of(call)
            await call.invite(option(callee=bob.uri))
            await call.until(events.Ringing)
            for number in range(40):
                await call.tts(f"number {number}", play_id=f"{number}")
            sent = loop.time()
            await call.hangup("bored")
            await call.until(events.Hangup, timeout=2)
            canceled = await bob.wait_received(b"CANCEL") - sent
            await other.tts("still here", play_id="here")
            await other.until(events.TrackEnd, where=lambda end: end.play_id == "here")
            return log, canceled

    log, canceled = run(scene())
    assert canceled < 0.05
    assert log.names("trackStart", "trackEnd", "interruption") == ["ringing", "error", "hangup"]
    assert "40 tts" in log.all(events.Error)[0].error
    hangup = log.seen[-1]
    assert isinstance(hangup, events.Hangup)
    assert hangup.reason == "bored"


def test_a_hangup_in_the_middle_of_speech_ends_its_track_too(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with answered(gateway) as (call, log, phone):
            await call.tts("a" * 75, play_id="long", end_of_stream=True)
            await phone.wait_heard()
            await call.hangup()
            await call.until(events.Hangup)
            return log

    log = run(scene())
    assert [end.play_id for end in log.all(events.TrackEnd)] == ["long", None]


def test_a_hangup_before_anything_rings_waits_for_the_first_response(gateway: GatewayProcess) -> None:
    async def scene() -> None:
        async with callee(lambda call: None) as bob, connect(gateway.ws_url, "sip") as call:
            await call.invite(option(callee=bob.uri))
            await call.hangup()
            await call.until(events.Hangup, timeout=5)
            await bob.wait_received(b"CANCEL")

    run(scene())


def test_a_refused_call(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with (
            callee(lambda call: call.reject(486, "Busy Here")) as bob,
            connect(gateway.ws_url, "sip") as call,
        ):
            log = Log.of(call)
            await call.invite(option(callee=bob.uri))
            await call.until(events.Hangup)
            return log

    log = run(scene())
    (reject,) = log.all(events.Reject)
    assert (reject.code, reject.reason) == (486, "Busy Here")
    assert log.names() == ["trackStart", "reject", "trackEnd", "hangup"]


def test_pause_resume_mute_and_interrupt(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with answered(gateway) as (call, log, phone):
            await call.tts("a" * 75, play_id="long", end_of_stream=True)  # 3 s
            await phone.wait_heard()
            await call.pause()
            await phone.wait_quiet(0.5)
            assert not [end for end in log.all(events.TrackEnd) if end.play_id]
            await call.resume()
            await phone.wait_heard(2)
            await call.mute()
            await phone.wait_quiet(0.4)
            await call.unmute()
            await phone.wait_heard(3)
            await call.interrupt()
            interruption = await call.until(events.Interruption)
            assert interruption.play_id == "long"
            assert 200 < interruption.current < interruption.total_duration == 3_000
            await phone.wait_quiet(0.3)
            await call.pause()
            assert (await call.until(events.Error)).sender == "command"
            await call.hangup()
            await call.until(events.Hangup)
            return log

    log = run(scene())
    assert [end.play_id for end in log.all(events.TrackEnd) if end.play_id] == ["long"]
    assert len(log.all(events.Error)) == 1


NOT_YET: list[Command] = [
    commands.Refer(callee="5551234"),
    commands.Bridge(target_session_id="x"),
    commands.Unbridge(target_session_id="x"),
    commands.Message(body="hi", refer=True),
    commands.SendDtmf(digits="1", refer=True),
    commands.Hangup(refer=True),
    commands.AddIceCandidate(candidate="c"),
]
NOT_NOW: list[Command] = [commands.Invite(option=CallOption()), commands.Accept(), commands.Reject()]


def test_what_is_not_there_yet_or_makes_no_sense_is_one_error_each(gateway: GatewayProcess) -> None:
    async def scene() -> None:
        async with answered(gateway) as (call, log, _):
            for command in [
                *NOT_YET,
                commands.Invite(option=CallOption()),
                commands.Accept(),
                commands.Reject(),
            ]:
                await call.send(command)
                error = await call.until(events.Error)
                assert command.command in error.error
            for text in ('{"command":"dance"}', "{", "[]", '{"command":"play","url":5}', "null", "{}"):
                await call._socket.send(text)
                error = await call.until(events.Error)
                assert error.sender == "command"
            assert len(log.all(events.Error)) == len(NOT_YET) + len(NOT_NOW) + 6
            await call.tts("fine", auto_hangup=True)
            await call.until(events.Hangup)

    run(scene())


def test_a_provider_that_is_not_there_is_an_error_and_the_call_goes_on(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with telephone() as (_, uri), connect(gateway.ws_url, "sip") as call:
            log = Log.of(call)
            example = commands.parse_command(commands.Invite.model_validate(COMMANDS["invite"]).dump_json())
            assert isinstance(example, commands.Invite)
            await call.invite(example.option.model_copy(update={"callee": uri}))
            await call.until(events.Answer)
            error = await call.until(events.Error)
            assert "tencent" in error.error
            await call.send(commands.Tts.model_validate(COMMANDS["tts"]))
            error = await call.until(events.Error)
            assert "tencent" in error.error
            await call.send(commands.Hangup.model_validate(COMMANDS["hangup"]))
            await call.until(events.Hangup)
            return log

    hangup = run(scene()).seen[-1]
    assert isinstance(hangup, events.Hangup)
    assert (hangup.reason, hangup.initiator) == ("user_requested", "user")


def test_a_call_is_followed_and_told_over_http(gateway: GatewayProcess) -> None:
    async def scene() -> None:
        async with answered(gateway) as (call, _, _), Rest(gateway.http_url) as rest:
            ((session_id, listed),) = [(entry["id"], entry) for entry in await rest.calls()]
            assert listed["call_type"] == listed["callType"] == "sip"
            followed: list[object] = []

            async def follow() -> None:
                async for message in rest.follow(session_id):
                    followed.append(message)  # noqa: PERF401

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(follow())
                await asyncio.sleep(0.3)
                command = commands.Custom(sender="test", data={"a": 1})
                await rest.command(session_id, command)
                custom = await call.until(events.Custom)
                assert custom.data == {"a": 1}
                await rest.kill(session_id)
                await call.until(events.Hangup)
            assert command in followed
            assert custom in followed
            assert isinstance(followed[-1], events.Hangup)
            await asyncio.to_thread(gateway.wait_calls)
            with pytest.raises(Refused, match="404"):
                await rest.kill(session_id)
            with pytest.raises(Refused, match="404"):
                await rest.command(session_id, command)

    run(scene())


def test_a_call_without_a_client(gateway: GatewayProcess) -> None:
    async def scene() -> str:
        async with telephone() as (phones, uri), Rest(gateway.http_url) as rest:
            sip = SipOption(headers={"X-Test": "1"})
            session_id = await rest.dial(CallOption(callee=uri, playbook="talk.md", sip=sip))
            await until(lambda: bool(phones.phones))
            await phones.phones[0].wait_heard()
            assert phones.phones[0].leg.sip.headers["X-Test"] == "1"
            await rest.kill(session_id)
            await phones.phones[0].wait_ended()
            with pytest.raises(Refused) as refused:
                await rest.dial(CallOption(callee=uri, playbook="missing.md"))
            assert refused.value.status in (400, 404)
            return session_id

    session_id = run(scene())
    gateway.wait_calls()
    assert session_id in [record["callId"] for record in gateway.records()]


def test_subscribed_audio_carries_its_direction(gateway: GatewayProcess) -> None:
    async def scene() -> dict[int, int]:
        async with telephone() as (_, uri), connect(gateway.ws_url, "sip") as call:
            frames: list[bytes] = []
            call.on_audio = frames.append
            await call.invite(option(callee=uri, subscribe=True))
            await call.until(events.Answer)
            await call.tts("a" * 25, auto_hangup=True)  # 1 s
            await call.until(events.Hangup)
            assert {len(frame) for frame in frames} == {641}
            loud = [frame[0] for frame in frames if max(frame[1:]) > 0]
            return {track: loud.count(track) for track in {frame[0] for frame in frames}}

    counts = run(scene())
    assert counts[0] < 5
    assert abs(counts[1] - 50) < 5
