"""Bounded queues do what their names say."""

import asyncio

import pytest

from active_call.core.channel import AudioChannel, ChannelFull, ControlChannel


def test_a_control_channel_keeps_order_and_refuses_more_than_its_limit() -> None:
    async def scene() -> list[int]:
        channel: ControlChannel[int] = ControlChannel(2)
        channel.put(1)
        channel.put(2)
        with pytest.raises(ChannelFull, match="more than 2"):
            channel.put(3)
        return [await channel.get(), await channel.get()]

    assert asyncio.run(scene()) == [1, 2]


def test_an_audio_channel_drops_the_oldest_and_counts() -> None:
    async def scene() -> tuple[int, int]:
        channel: AudioChannel[int] = AudioChannel(2)
        for item in (1, 2, 3):
            channel.put(item)
        return await channel.get(), channel.dropped

    assert asyncio.run(scene()) == (2, 1)


def test_what_has_become_useless_is_taken_out() -> None:
    async def scene() -> list[int]:
        channel: ControlChannel[int] = ControlChannel(3)
        for item in (1, 2, 3):
            channel.put(item)
        channel.discard(lambda item: item == 2)
        return [await channel.get() for _ in range(len(channel))]

    assert asyncio.run(scene()) == [1, 3]


def test_a_reader_waits_for_an_item() -> None:
    async def scene() -> int:
        channel: ControlChannel[int] = ControlChannel(2)
        asyncio.get_running_loop().call_soon(channel.put, 7)
        return await channel.get()

    assert asyncio.run(scene()) == 7
