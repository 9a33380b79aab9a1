"""Clients of `/call` that cost next to nothing: `python -m bench.socketload`, told what to do on its input.

First line in: a JSON object with `port`, `calls`, `name` (of sessions), `command` (text of `start`), `then`
(text of a command sent once answered, or null) and `markers`. Each client sends 20 ms of 16 kHz PCM every
20 ms, in ten groups that take turns every 2 ms: a counter, sample by sample, modulo 65,536; or, with `markers`,
silence and every 500 ms a click. "ready" goes out when all are answered. The next line in ends it. Then a JSON
object goes out:

    late_ms     how late each round of sending was, compared with its deadline
    round_ns    Unix times of the rounds, by group
    calls       by session id: `heard_ms` (Unix time of the tick that sent the first audio: `trackStart` of the
                file), `group`, `breaks` (places where the counter that came back jumps), `samples` (how many
                came), `clicks` (Unix ns when sent, ms until back), `errors` (texts of `error` events)
"""

import asyncio
import base64
import json
import os
import sys
import time
from array import array
from typing import Any, cast

import numpy as np
import uvloop
from numpy.typing import NDArray

FRAME = 320
GROUPS = 10
CLICK_EVERY = 25
PAUSE = 125
"""Frames of silence before the counter: in pauses, a lane gives up delay that it needs no more."""
_CLICK = 16_000
_AUDIBLE = 6_000


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A WebSocket frame of a client (RFC 6455 §5.2), masked with zeros: the payload stays readable."""
    size = len(payload)
    head = (
        bytes([0x80 | opcode, 0x80 | size]) if size < 126 else bytes([0x80 | opcode, 0xFE, *size.to_bytes(2)])
    )
    return head + bytes(4) + payload


class Client(asyncio.Protocol):
    """One session."""

    def __init__(self, spec: dict[str, Any], index: int) -> None:
        self.id = f"{spec['name']}-{index}"
        self.group = index % GROUPS
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.errors: list[str] = []
        self.audio: list[bytes] = []
        self.clicks: list[int] = []
        self.returned: list[tuple[int, float]] = []
        self.heard_ms = 0
        self.transport: asyncio.Transport
        self._spec = spec
        self._buffer = bytearray()
        self._upgraded = False
        self._deaf_until = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by name
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET /call?id={self.id}&dump=false HTTP/1.1\r\nHost: 127.0.0.1:{self._spec['port']}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(RuntimeError(f"{self.id}: closed before the answer; {self.errors}"))
        if not self.over.done():
            self.over.set_result(None)

    def say(self, text: str) -> None:
        """Send a command."""
        self.transport.write(client_frame(1, text.encode()))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._upgraded:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not buffer.startswith(b"HTTP/1.1 101"):
                self.errors.append(bytes(buffer[:200]).decode("utf-8", "replace"))
                self.transport.close()
                return
            del buffer[: end + 4]
            self._upgraded = True
            self.say(self._spec["command"])
        at = 0
        while len(buffer) - at >= 2:
            opcode, size, start = buffer[at] & 15, buffer[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(buffer[at + 2 : at + 4]), at + 4
            elif size == 127:
                size, start = int.from_bytes(buffer[at + 2 : at + 10]), at + 10
            if len(buffer) < start + size:
                break
            self._take(opcode, bytes(buffer[start : start + size]))
            at = start + size
        del buffer[:at]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == 2:
            self._hear(payload)
        elif opcode == 9:
            self.transport.write(client_frame(10, payload))
        elif opcode == 8:
            self.transport.close()
        elif opcode == 1:
            event = json.loads(payload)
            if event["event"] == "answer":
                self.answered.set_result(None)
                if self._spec["then"]:
                    self.say(self._spec["then"])
            elif event["event"] == "trackStart" and "playId" in event:
                self.heard_ms = event["timestamp"]
            elif event["event"] == "error":
                self.errors.append(event["error"])

    def _hear(self, payload: bytes) -> None:
        if not self._spec["markers"]:
            self.audio.append(payload)
            return
        now = time.time_ns()
        if now < self._deaf_until or not self.clicks:
            return
        if max(array("h", payload)) > _AUDIBLE:
            sent = self.clicks.pop(0)
            self.returned.append((sent, (now - sent) / 1e6))
            self._deaf_until = now + 100_000_000

    def found(self) -> dict[str, Any]:
        """What is reported of this call."""
        samples = np.frombuffer(b"".join(self.audio), "<u2")
        breaks, count = jumps(samples)
        return {
            "heard_ms": self.heard_ms,
            "group": self.group,
            "breaks": breaks,
            "samples": count,
            "clicks": self.returned,
            "errors": self.errors,
        }


def jumps(samples: NDArray[np.uint16]) -> tuple[int, int]:
    """Where a counter stops going on by one, and of how many samples, from its first to its last."""
    sounding = np.flatnonzero(samples)
    if not len(sounding):
        return 0, 0
    counter = samples[sounding[0] : sounding[-1] + 1]
    wrong = np.diff(counter, prepend=counter[0] - np.uint16(1)) != 1
    return int(np.count_nonzero(wrong[1:] & ~wrong[:-1])), len(counter)


class Load:
    """All clients, and the clock that makes them send."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.clients: list[Client] = []
        self.late_ms: list[float] = []
        self.round_ns: list[list[int]] = [[] for _ in range(GROUPS)]

    async def connect(self) -> None:
        """All of them, twenty at a time."""
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(20)

        async def one(index: int) -> None:
            async with room:
                _, client = await loop.create_connection(
                    lambda: Client(self.spec, index), "127.0.0.1", self.spec["port"]
                )
                await asyncio.wait_for(client.answered, 30)
                self.clients.append(client)

        await asyncio.gather(*(one(index) for index in range(self.spec["calls"])))

    async def send(self) -> None:
        """Every 2 ms a group sends, until cancelled."""
        loop = asyncio.get_running_loop()
        groups = [[client for client in self.clients if client.group == at] for at in range(GROUPS)]
        began = loop.time()
        step = 0
        while True:
            tick, group = divmod(step, GROUPS)
            deadline = began + step * 0.02 / GROUPS
            await asyncio.sleep(deadline - loop.time())
            self.late_ms.append((loop.time() - deadline) * 1000)
            frame, click = self._frame(tick)
            now = time.time_ns()
            self.round_ns[group].append(now)
            for client in groups[group]:
                client.transport.write(frame)
                if click:
                    client.clicks.append(now)
            step += 1

    def _frame(self, tick: int) -> tuple[bytes, bool]:
        if not self.spec["markers"]:
            counter = np.arange(tick * FRAME + 1, (tick + 1) * FRAME + 1).astype("<u2") * (tick >= PAUSE)
            return client_frame(2, counter.tobytes()), False
        click = tick % CLICK_EVERY == CLICK_EVERY - 1
        samples = np.zeros(FRAME, "<i2")
        samples[: FRAME // 2] = _CLICK if click else 0
        return client_frame(2, samples.tobytes()), click

    async def finish(self) -> dict[str, Any]:
        """Hang up and report."""
        for client in self.clients:
            client.say('{"command":"hangup"}')
        await asyncio.wait([client.over for client in self.clients], timeout=10)
        return {
            "late_ms": self.late_ms,
            "round_ns": self.round_ns,
            "calls": {client.id: client.found() for client in self.clients},
        }


async def main() -> None:
    """Do what standard input says."""
    load = Load(json.loads(sys.stdin.readline()))
    await load.connect()
    sending = asyncio.create_task(load.send())
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    sending.cancel()
    await asyncio.sleep(0.5)  # what is under way arrives
    print(json.dumps(await load.finish()), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
