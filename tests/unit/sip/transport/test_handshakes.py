import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from active_call.sip.transport import handshakes as module
from active_call.sip.transport.handshakes import Handshakes
from active_call.testing.clock import run


class FakeSocket:
    """What `Handshakes` needs of a socket; `clients` wait to be accepted."""

    def __init__(self) -> None:
        self.closed = False
        self.clients: list[str | OSError] = []

    def accept(self) -> tuple["FakeSocket", tuple[str, int]]:
        if not self.clients:
            raise BlockingIOError
        host = self.clients.pop(0)
        if isinstance(host, OSError):
            raise host
        return FakeSocket(), (host, 40_000)

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def close(self) -> None:
        self.closed = True


class Door:
    """Handshakes that take 5 seconds, and end with `error` if there is one."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        self.secured: list[FakeSocket] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.listening = FakeSocket()
        self.all = Handshakes(cast("socket.socket", self.listening), self._secure, self._spawn)

    async def _secure(self, sock: socket.socket) -> None:
        await asyncio.sleep(5)
        if self.error is not None:
            raise self.error
        self.secured.append(cast("FakeSocket", sock))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def knock(self, host: str) -> FakeSocket:
        sock = FakeSocket()
        self.all.accepted(cast("socket.socket", sock), host)
        return sock


def play(scene: Coroutine[Any, Any, None]) -> None:
    run(scene)


def test_the_newest_of_too_many_handshakes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HANDSHAKES", 3)
    monkeypatch.setattr(module, "MAX_HANDSHAKES_PER_HOST", 2)

    async def scene() -> None:
        door = Door()
        sockets = [door.knock(host) for host in ("192.0.2.1",) * 3 + ("192.0.2.2",) * 2]
        assert [one.closed for one in sockets] == [False, False, True, False, True]
        assert door.all.refused == 2
        await asyncio.sleep(6)
        assert len(door.secured) == 3
        assert not door.knock("192.0.2.1").closed  # there is room again
        await asyncio.sleep(6)
        assert not door.all._under_way

    play(scene())


def test_a_handshake_that_fails_makes_room(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        door = Door()
        door.error = ConnectionAbortedError("SSL handshake is taking longer than 10 seconds")
        door.knock("192.0.2.1")
        await asyncio.sleep(6)
        assert not door.all._under_way

    with caplog.at_level("DEBUG"):
        play(scene())
    assert "no TLS handshake with 192.0.2.1: SSL handshake is taking longer" in caplog.text


def test_all_who_wait_are_accepted() -> None:
    async def scene() -> None:
        door = Door()
        door.listening.clients = ["192.0.2.1", "192.0.2.2"]
        door.all._accept()
        await asyncio.sleep(6)
        assert len(door.secured) == 2

    play(scene())


def test_without_files_left_it_pauses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        door = Door()
        loop = asyncio.get_running_loop()
        readers: list[str] = []
        monkeypatch.setattr(loop, "add_reader", lambda *_: readers.append("add"))
        monkeypatch.setattr(loop, "remove_reader", lambda *_: readers.append("remove"))
        door.listening.clients = [OSError(24, "Too many open files"), "192.0.2.1"]
        door.all._accept()
        assert readers == ["remove"]
        await asyncio.sleep(1.5)
        assert readers == ["remove", "add"]
        door.all.close()
        assert door.listening.closed

    play(scene())
    assert "can't accept a TLS connection: Too many open files" in caplog.text
