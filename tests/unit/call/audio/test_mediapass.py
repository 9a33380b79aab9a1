import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.call.audio.mediapass import MediaPass, Packets, Samples, pass_url
from active_call.core.audio import Pcm
from active_call.core.resample import resample
from active_call.outbound import FetchError, GuardError, Origin, Outbound
from active_call.testing.clock import run
from active_call.testing.fakecall import FakeCall
from active_call.wire.dialogue import CallPort, Dialogue
from active_call.wire.events import Event
from active_call.wire.options import MediaPassOption

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

URL = "ws://service.example/media?room=1&token=hidden"


def speech(seconds: float) -> Pcm:
    at = np.arange(round(seconds * 16_000)) / 16_000
    return (8000 * np.sin(2 * np.pi * 440 * at)).astype(np.int16)


# --- messages -----------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 700), max_size=20), st.integers(2, 3000))
def test_messages_have_exactly_the_size_asked_for(lengths: list[int], size: int) -> None:
    packets, sent = Packets(16_000, size), b""
    pcm = np.arange(sum(lengths), dtype=np.int16)
    at = 0
    for length in lengths:
        for packet in packets.put(pcm[at : at + length]):
            assert len(packet) == size
            sent += packet
        at += length
    assert pcm.tobytes().startswith(sent)
    assert len(pcm.tobytes()) - len(sent) < size


@pytest.mark.parametrize("rate", [8000, 24_000, 48_000])
def test_what_is_sent_is_resampled_without_seams(rate: int) -> None:
    packets, pcm = Packets(rate, 2560), speech(1.0)
    sent = b"".join(packet for at in range(0, len(pcm), 320) for packet in packets.put(pcm[at : at + 320]))
    assert len(sent) >= 2 * rate - 2560 - 100
    assert resample(pcm, 16_000, rate).tobytes().startswith(sent)


@given(st.lists(st.integers(1, 50), max_size=20))
def test_messages_may_end_within_a_sample(lengths: list[int]) -> None:
    data = bytes(index % 251 for index in range(sum(lengths)))
    samples, played, at = Samples(16_000), b"", 0
    for length in lengths:
        played += samples.put(data[at : at + length]).tobytes()
        at += length
    assert played == data[: len(data) // 2 * 2]


def test_what_comes_is_resampled_without_seams() -> None:
    samples, data = Samples(24_000), resample(speech(1.0), 16_000, 24_000).tobytes()
    played = np.concatenate([samples.put(data[at : at + 1001]) for at in range(0, len(data), 1001)])
    whole = resample(np.frombuffer(data, np.int16), 24_000)
    assert np.array_equal(played, whole[: len(played)])
    assert len(whole) - len(played) < 50


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("ws://h/p", "ws://h/p?sample_rate=8000&packet_size=320"),
        ("ws://h/p?a=b", "ws://h/p?a=b&sample_rate=8000&packet_size=320"),
        ("ws://h/p?", "ws://h/p?sample_rate=8000&packet_size=320"),
    ],
)
def test_the_service_is_told_what_comes(url: str, asked: str) -> None:
    assert pass_url(MediaPassOption(url=url, output_sample_rate=8000, packet_size=320)) == asked


# --- attempts -----------------------------------------------------------------------------------------


class NoService(Outbound):
    """Fails with `error`, and notes when it was asked."""

    def __init__(self, error: FetchError | GuardError) -> None:
        super().__init__()
        self.error = error
        self.asked: list[float] = []

    async def connect_websocket(
        self,
        url: str,
        origin: Origin,
        *,
        headers: Mapping[str, str] | None = None,
        open_timeout: float = 5.0,
        max_bytes: int = 1 << 20,
    ) -> "ClientConnection":
        self.asked.append(asyncio.get_running_loop().time())
        raise self.error


class Lane:
    """Has nothing to say, and is never heard."""

    ssrc = write_position = read_position = 0

    async def play(self, pcm: Pcm) -> None:
        raise AssertionError("nothing came")

    def flush(self) -> bool:
        return False

    def tap(self, consumer: Callable[[int, Pcm, int], None] | None) -> None:
        self.consumer = consumer


class Silent(Dialogue):
    async def run(self, call: CallPort) -> None:
        return

    def receive(self, event: Event) -> None:
        return


def attempts(service: NoService, seconds: float) -> list[tuple[str, str]]:
    """The errors within `seconds`, by sender and text."""

    async def scenario() -> list[tuple[str, str]]:
        async with asyncio.TaskGroup() as tasks:
            call = FakeCall(tasks, Silent())
            option = MediaPassOption(url=URL)
            call.spawn(MediaPass(Lane(), option, service, call, "serverSideTrack").run(), "media pass")
            await asyncio.sleep(seconds)
            call.end()
        return call.errors()

    return run(scenario())


def test_a_service_that_is_not_there_is_tried_again_later_each_time() -> None:
    service = NoService(FetchError("connection refused"))
    errors = attempts(service, 24.0)
    assert service.asked == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 23.5]
    sender = "media_pass: ws://service.example/media?room=1&token=**********"
    assert errors == [(sender, "connection refused")] * 7


def test_a_forbidden_service_is_not_tried_again() -> None:
    service = NoService(GuardError("not allowed"))
    assert [text for _, text in attempts(service, 60.0)] == ["not allowed"]
    assert service.asked == [0.0]
