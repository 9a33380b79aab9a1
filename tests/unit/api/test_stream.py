import asyncio
from collections.abc import AsyncIterator

from active_call.api.stream import Watch
from active_call.testing.clock import run
from active_call.wire.commands import Pause
from tests.unit.api.fakes import FakeCall, dtmf, hangup


async def take(messages: AsyncIterator[str], count: int) -> list[str]:
    return [await anext(messages) for _ in range(count)]


def test_events_and_commands_come_in_order_until_hangup() -> None:
    async def scene() -> list[str]:
        call = FakeCall("c")
        watch = Watch(call)
        call.emit(dtmf("c"))
        await call.submit(Pause())
        call.emit(hangup("c").model_copy(update={"refer": True}))
        call.emit(hangup("c"))
        return [message async for message in watch.messages()]

    messages = run(scene())
    assert messages[0].startswith('event: event\ndata: {"trackId":"c"')
    assert messages[1] == 'event: command\ndata: {"command":"pause"}\n\n'
    assert ['"event":"hangup"' in message for message in messages[2:]] == [True, True]
    assert ['"refer":true' in message for message in messages[2:]] == [True, False]


def test_a_slow_reader_is_told_what_it_missed() -> None:
    async def scene() -> list[str]:
        call = FakeCall("c")
        watch = Watch(call, kept=2)
        for digit in "12345":
            call.emit(dtmf("c", digit))
        return await take(watch.messages(), 3)

    messages = run(scene())
    assert messages[0] == 'event: lost\ndata: {"lost":3}\n\n'
    assert ['"digit":"4"' in messages[1], '"digit":"5"' in messages[2]] == [True, True]


def test_a_quiet_call_keeps_the_connection_alive() -> None:
    async def scene() -> tuple[list[str], float]:
        messages = await take(Watch(FakeCall("c")).messages(), 2)
        return messages, asyncio.get_running_loop().time()

    assert run(scene()) == ([": quiet\n\n"] * 2, 30.0)


def test_a_reader_that_leaves_follows_no_more() -> None:
    async def scene() -> None:
        call = FakeCall("c")
        messages = Watch(call).messages()
        reading = asyncio.get_running_loop().create_task(take(messages, 1))
        await asyncio.sleep(0)
        assert len(call.followers) == 1
        reading.cancel()
        await asyncio.wait([reading])
        assert call.followers == []

    run(scene())
