from active_call.sip.transactions.alarms import Alarms
from active_call.sip.transactions.timers import Timers


class Clockwork:
    """Alarms, and what they did."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.alarms = Alarms(self.timers)
        self.rung: list[tuple[str, float]] = []

    def set(self, name: str, when: float) -> None:
        self.alarms.set(name, when, lambda now: self.rung.append((name, now)))

    def run(self, now: float) -> None:
        for owner in self.timers.due(now):
            owner.handle_timer(now)


def test_alarms_ring_in_order_and_once() -> None:
    clock = Clockwork()
    clock.set("late", 2.0)
    clock.set("early", 1.0)
    assert clock.timers.next_deadline() == 1.0
    clock.run(3.0)
    clock.run(4.0)
    assert clock.rung == [("early", 3.0), ("late", 3.0)]
    assert clock.timers.next_deadline() is None


def test_setting_an_alarm_again_moves_it() -> None:
    clock = Clockwork()
    clock.set("a", 1.0)
    clock.set("a", 5.0)
    clock.run(4.0)
    assert clock.rung == []
    assert "a" in clock.alarms
    clock.run(5.0)
    assert clock.rung == [("a", 5.0)]
    assert "a" not in clock.alarms


def test_a_cleared_alarm_stays_silent() -> None:
    clock = Clockwork()
    clock.set("a", 1.0)
    clock.set("b", 2.0)
    clock.alarms.clear("a", "unknown")
    assert clock.timers.next_deadline() == 2.0
    clock.alarms.clear_all()
    assert clock.timers.next_deadline() is None


def test_an_alarm_may_clear_or_move_another_that_is_due() -> None:
    clock = Clockwork()

    def meddle(_: float) -> None:
        clock.alarms.clear("second")
        clock.set("third", 9.0)

    clock.alarms.set("first", 1.0, meddle)
    clock.set("second", 1.5)
    clock.set("third", 1.6)
    clock.run(2.0)
    assert clock.rung == []
    clock.run(9.0)
    assert clock.rung == [("third", 9.0)]


def test_an_alarm_may_set_itself_again() -> None:
    clock = Clockwork()

    def again(now: float) -> None:
        clock.rung.append(("again", now))
        clock.alarms.set("again", now + 1.0, again)

    clock.alarms.set("again", 1.0, again)
    clock.run(1.0)
    clock.run(2.0)
    assert clock.rung == [("again", 1.0), ("again", 2.0)]
