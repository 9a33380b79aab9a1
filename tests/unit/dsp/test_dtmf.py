import numpy as np
import pytest

from active_call.dsp.dtmf import DIGITS, DigitReceiver, DigitSender


def packet(event: int, duration: int = 160, *, end: bool = False) -> bytes:
    return bytes((event, 10 | (0x80 if end else 0))) + duration.to_bytes(2, "big")


@pytest.fixture
def receiver() -> DigitReceiver:
    return DigitReceiver(4)


@pytest.fixture
def sender() -> DigitSender:
    return DigitSender(4)


@pytest.mark.parametrize(("event", "digit"), list(enumerate("0123456789*#ABCD")))
def test_first_packet_tells_the_digit(receiver: DigitReceiver, event: int, digit: str) -> None:
    assert receiver.receive(1, 0, packet(event)) == digit


def test_later_packets_of_an_event_are_silent(receiver: DigitReceiver) -> None:
    receiver.receive(0, 8000, packet(0))
    repeats = [packet(0, 320), packet(0, 480, end=True), packet(0, 480, end=True)]
    assert [receiver.receive(0, 8000, payload) for payload in repeats] == [None] * 3


def test_same_digit_twice_is_two_timestamps(receiver: DigitReceiver) -> None:
    assert [receiver.receive(0, timestamp, packet(5)) for timestamp in (100, 2000)] == ["5", "5"]


def test_event_whose_start_was_lost_is_told_by_its_end(receiver: DigitReceiver) -> None:
    assert receiver.receive(0, 100, packet(11, 1280, end=True)) == "#"


def test_straggler_of_an_earlier_event_is_ignored(receiver: DigitReceiver) -> None:
    receiver.receive(0, 1000, packet(1))
    receiver.receive(0, 3000, packet(2))
    assert receiver.receive(0, 1000, packet(1, end=True)) is None
    assert receiver.receive(0, 3000, packet(2, end=True)) is None


def test_timestamps_wrap(receiver: DigitReceiver) -> None:
    receiver.receive(0, 0xFFFF_FF00, packet(1))
    assert receiver.receive(0, 0x100, packet(1)) == "1"


def test_event_longer_than_its_field_is_one_digit(receiver: DigitReceiver) -> None:
    receiver.receive(0, 1000, packet(7))
    receiver.receive(0, 1000, packet(7, 0xFFFF))
    assert receiver.receive(0, 1000 + 0xFFFF, packet(7, 160)) is None
    assert receiver.receive(0, 1000 + 0x1_8000, packet(7, 160)) == "7"


@pytest.mark.parametrize("payload", [b"", b"\x05", b"\x05\x0a\x00", packet(16), packet(255)])
def test_garbage_and_other_events_are_ignored(receiver: DigitReceiver, payload: bytes) -> None:
    assert receiver.receive(0, 5, payload) is None


def test_lanes_are_independent_and_can_be_reset(receiver: DigitReceiver) -> None:
    assert receiver.receive(0, 7, packet(3)) == receiver.receive(1, 7, packet(3)) == "3"
    receiver.reset(0)
    assert receiver.receive(0, 7, packet(3)) == "3"
    assert receiver.receive(1, 7, packet(3)) is None


def run(sender: DigitSender, row: int, first_timestamp: int = 8000) -> list[tuple[bytes, bool, int] | None]:
    packets = []
    timestamp = first_timestamp
    while row in sender.rows():
        packets.append(sender.next(row, timestamp))
        timestamp += 160
    return packets


def test_an_event_grows_and_ends_three_times(sender: DigitSender) -> None:
    sender.start(2, "7", duration_ms=80, gap_ms=60)
    assert run(sender, 2) == [
        (packet(7, 160), True, 8000),
        (packet(7, 320), False, 8000),
        (packet(7, 480), False, 8000),
        (packet(7, 640, end=True), False, 8000),
        (packet(7, 640, end=True), False, 8000),
        (packet(7, 640, end=True), False, 8000),
        None,
    ]


def test_what_is_sent_is_what_is_received(sender: DigitSender, receiver: DigitReceiver) -> None:
    sender.start(0, DIGITS.lower() + "005", duration_ms=160, gap_ms=60)
    sender.start(0, "#", duration_ms=100, gap_ms=0)
    heard = [receiver.receive(0, sent[2], sent[0]) for sent in run(sender, 0, 0xFFFF_0000) if sent]
    assert "".join(filter(None, heard)) == DIGITS + "005#"


@pytest.mark.parametrize("clock_hz", [8000, 16_000, 48_000])
def test_an_event_longer_than_its_field_goes_on_in_segments(
    sender: DigitSender, receiver: DigitReceiver, clock_hz: int
) -> None:
    sender.start(0, "1", duration_ms=9_000, gap_ms=0)
    per_tick, now = clock_hz // 50, 0xFFFF_0000
    told, ends, reached = [], [], now
    while 0 in sender.rows():
        sent = sender.next(0, now & 0xFFFF_FFFF, clock_hz)
        now += per_tick
        assert sent is not None
        payload, _, timestamp = sent
        told.append(receiver.receive(0, timestamp, payload))
        reached = timestamp + int.from_bytes(payload[2:4], "big")
        ends.append(bool(payload[1] & 0x80))
    assert [digit for digit in told if digit] == ["1"]
    assert ends == [False] * 449 + [True] * 3
    assert (reached - 0xFFFF_0000) & 0xFFFF_FFFF == 450 * per_tick


def test_an_event_is_at_most_10_s_long(sender: DigitSender) -> None:
    sender.start(0, "1", duration_ms=60_000, gap_ms=0)
    assert len(run(sender, 0)) == 502


def test_only_lanes_with_digits_are_active(sender: DigitSender) -> None:
    sender.start(3, "1", 40, 40)
    sender.start(1, "w,?", 40, 40)
    np.testing.assert_array_equal(sender.rows(), [3])
    sender.reset(3)
    assert len(sender.rows()) == 0
    assert sender.next(3, 0) is None


def test_there_are_only_so_many_lanes(sender: DigitSender) -> None:
    with pytest.raises(ValueError, match="no lane 4"):
        sender.start(4, "1", 40, 40)
