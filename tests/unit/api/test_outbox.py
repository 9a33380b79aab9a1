import pytest

from active_call.api.outbox import Outbox
from active_call.core.channel import ChannelFull


def test_frames_are_written_at_once() -> None:
    written: list[bytes] = []
    outbox = Outbox(written.append)
    outbox.control(b"event")
    outbox.audio(b"audio")
    assert written == [b"event", b"audio"]


def test_a_slow_client_gets_all_events_and_the_latest_audio() -> None:
    written: list[bytes] = []
    outbox = Outbox(written.append, audio_limit=3)
    outbox.pause()
    for number in range(5):
        outbox.audio(b"audio %d" % number)
        outbox.control(b"event %d" % number)
    assert written == []
    assert outbox.dropped == 2
    outbox.resume()
    assert written == [b"event %d" % number for number in range(5)] + [b"audio 2", b"audio 3", b"audio 4"]


def test_resuming_stops_when_the_connection_is_full_again() -> None:
    written: list[bytes] = []

    def write(frame: bytes) -> None:
        written.append(frame)
        outbox.pause()

    outbox = Outbox(write)
    outbox.pause()
    for frame in (b"1", b"2", b"3"):
        outbox.control(frame)
    outbox.resume()
    assert written == [b"1"]
    outbox.resume()
    outbox.resume()
    assert written == [b"1", b"2", b"3"]


def test_too_many_events_are_an_error() -> None:
    outbox = Outbox(lambda frame: None, control_limit=2)
    outbox.pause()
    outbox.control(b"1")
    outbox.control(b"2")
    with pytest.raises(ChannelFull, match="2 events of 2 bytes"):
        outbox.control(b"3")


def test_events_that_wait_are_bounded_in_bytes_too() -> None:
    outbox = Outbox(lambda frame: None)
    outbox.pause()
    for _ in range(17):
        outbox.control(bytes(1 << 20))
    with pytest.raises(ChannelFull):
        outbox.control(b"one more")

    outbox.resume()
    outbox.pause()
    outbox.control(b"there is room again")
