import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import pytest

from active_call.sip.hop import Hop
from active_call.sip.transport.connection import (
    MAX_UNSENT_BYTES,
    PARTIAL_SECONDS,
    PONG_SECONDS,
    Connection,
)
from active_call.sip.transport.framing import PING, PONG
from active_call.testing.clock import run
from tests.unit.sip.support import message
from tests.unit.sip.transport.fakes import FakeStream

SERVER = Hop("192.0.2.1", 5060, "tcp")
OPTIONS = message("OPTIONS")


class World:
    """A connection, and what it told; made within a loop."""

    def __init__(self, hop: Hop = SERVER) -> None:
        self.messages: list[bytes] = []
        self.lost: list[str] = []
        self.stream = FakeStream(("192.0.2.9", 40000))
        self.connection = Connection(
            hop,
            lambda one: None,
            lambda one, data: self.messages.append(data),
            lambda one, why: self.lost.append(why),
        )
        self.stream.protocol = self.connection
        self.connection.connection_made(self.stream)

    def hear(self, data: bytes) -> None:
        self.connection.data_received(data)


def play(scene: Coroutine[Any, Any, None]) -> None:
    run(scene)


def test_whole_messages_are_handed_on() -> None:
    async def scene() -> None:
        world = World()
        world.hear(OPTIONS[:50])
        assert world.messages == []
        world.hear(OPTIONS[50:] + OPTIONS)
        assert world.messages == [OPTIONS, OPTIONS]

    play(scene())


def test_who_connected_is_known_by_the_socket() -> None:
    async def scene() -> None:
        world = World(Hop("", 0, "tls"))
        assert world.connection.hop == Hop("192.0.2.9", 40000, "tls")
        assert not world.connection.dialled

    play(scene())


def test_a_ping_is_answered() -> None:
    async def scene() -> None:
        world = World()
        world.hear(PING)
        assert world.stream.written == [PONG]

    play(scene())


@pytest.mark.parametrize("known", [False, True])
def test_garbage_ends_it_and_is_logged_of_who_spoke_sip_before(
    caplog: pytest.LogCaptureFixture, known: bool
) -> None:
    async def scene() -> None:
        world = World()
        if known:
            world.hear(OPTIONS)
        world.hear(b"GET / HTTP/1.1\r\n")
        await asyncio.sleep(0)
        assert world.lost == ["this is no SIP: b'GET / HTTP/1.1'"]
        assert world.stream.aborted

    caplog.set_level(logging.INFO)
    play(scene())
    told = "closed the connection with 192.0.2.1:5060 over TCP: this is no SIP" in caplog.text
    assert told is known


def test_who_does_not_read_is_left() -> None:
    async def scene() -> None:
        world = World()
        world.stream.unread = MAX_UNSENT_BYTES + 1
        world.connection.send(OPTIONS)
        await asyncio.sleep(0)
        assert world.lost == ["the peer doesn't read"]
        world.connection.send(OPTIONS)  # too late, harmless
        assert len(world.stream.written) == 1

    play(scene())


def test_a_keep_alive_must_be_answered_by_who_once_did() -> None:
    async def scene() -> None:
        world = World()
        loop = asyncio.get_running_loop()
        world.connection.ping()
        world.connection.check(loop.time() + PONG_SECONDS)
        assert world.connection.open  # perhaps it doesn't know what a ping is
        world.hear(PONG)
        world.connection.ping()
        world.connection.check(loop.time() + PONG_SECONDS - 1)
        assert world.connection.open
        world.connection.check(loop.time() + PONG_SECONDS)
        await asyncio.sleep(0)
        assert world.lost == ["no answer to a keep-alive in 10 s"]

    play(scene())


@pytest.mark.parametrize("begun", [b"", b"OPTIONS sip:x SIP/2.0\r\n"])
def test_who_says_nothing_whole_is_left(begun: bytes) -> None:
    async def scene() -> None:
        world = World(Hop("", 0, "tcp"))
        loop = asyncio.get_running_loop()
        if begun:
            world.hear(OPTIONS + begun)
        await asyncio.sleep(20)
        world.hear(b"A: b\r\n" if begun else PING)  # one line now and then does not help
        world.connection.check(loop.time())
        assert world.connection.open
        await asyncio.sleep(PARTIAL_SECONDS - 20)
        world.connection.check(loop.time())
        assert not world.connection.open

    play(scene())


def test_who_has_said_something_may_be_silent() -> None:
    async def scene() -> None:
        world = World(Hop("", 0, "tcp"))
        world.hear(OPTIONS)
        world.connection.check(asyncio.get_running_loop().time() + 1000)
        assert world.connection.open

    play(scene())


@pytest.mark.parametrize(
    ("error", "why"),
    [(None, "closed"), (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer")],
)
def test_why_it_was_lost(error: Exception | None, why: str) -> None:
    async def scene() -> None:
        world = World()
        world.connection.connection_lost(error)
        assert world.lost == [why]
        assert not world.connection.open

    play(scene())
