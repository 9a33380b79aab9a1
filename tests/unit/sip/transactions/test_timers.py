from active_call.sip.transactions.timers import Timers


class Owner:
    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline

    def handle_timer(self, now: float) -> None:
        self.deadline = None


def test_the_earliest_deadline_comes_first() -> None:
    timers = Timers()
    late, early = Owner(2.0), Owner(1.0)
    timers.schedule(late)
    timers.schedule(early)
    assert timers.next_deadline() == 1.0
    assert list(timers.due(3.0)) == [early, late]
    assert timers.next_deadline() is None


def test_nothing_is_due_too_early() -> None:
    timers = Timers()
    timers.schedule(Owner(2.0))
    assert list(timers.due(1.9)) == []


def test_changed_deadlines_replace_the_old_ones() -> None:
    timers, owner = Timers(), Owner(1.0)
    timers.schedule(owner)
    owner.deadline = 5.0
    timers.schedule(owner)
    assert timers.next_deadline() == 5.0
    owner.deadline = None
    assert timers.next_deadline() is None


def test_an_owner_may_schedule_itself_again_while_it_is_due() -> None:
    timers, owner = Timers(), Owner(1.0)
    timers.schedule(owner)
    for due in timers.due(2.0):
        due.deadline = 3.0
        timers.schedule(due)
    assert timers.next_deadline() == 3.0


def test_deadlines_that_are_not_valid_any_more_take_no_room() -> None:
    timers = Timers()
    live = [Owner(1_000_000.0 + number) for number in range(10)]
    for owner in live:
        timers.schedule(owner)
    for number in range(20_000):
        gone = Owner(1_000.0 + number)
        timers.schedule(gone)
        gone.deadline = None
    assert len(timers) <= 1100
    assert timers.next_deadline() == 1_000_000.0
    assert list(timers.due(2_000_000.0)) == live
