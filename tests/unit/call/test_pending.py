"""Playbooks that wait for their call."""

from active_call.call import pending
from active_call.call.pending import PendingPlaybooks


class HandClock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def test_each_is_good_for_one_call() -> None:
    waiting = PendingPlaybooks(HandClock())
    first, second = waiting.add("a.md"), waiting.add("---\n---\nB")
    assert first != second
    assert first.startswith("s.")
    assert [waiting.take(first), waiting.take(first), waiting.take("unknown")] == ["a.md", None, None]
    assert waiting.take(second) == "---\n---\nB"


def test_they_wait_five_minutes() -> None:
    clock = HandClock()
    waiting = PendingPlaybooks(clock)
    late, in_time = waiting.add("a.md"), waiting.add("b.md")
    clock.now = 299.9
    assert waiting.take(in_time) == "b.md"
    clock.now = 300.0
    assert waiting.take(late) is None
    assert len(waiting) == 0


def test_the_oldest_make_room() -> None:
    waiting = PendingPlaybooks(HandClock())
    ids = [waiting.add(str(number)) for number in range(pending._LIMIT + 1)]
    assert len(waiting) == pending._LIMIT
    assert waiting.take(ids[0]) is None
    assert waiting.take(ids[-1]) == str(pending._LIMIT)


def test_long_texts_make_room_sooner() -> None:
    pending = PendingPlaybooks(HandClock())

    for _ in range(100):
        pending.add("---" + "x" * (1 << 20))

    assert 50 < len(pending) < 70
