"""The alarms of one call: named points in time, each with what to do then."""

from collections.abc import Callable

from active_call.sip.transactions.timers import Timers

Action = Callable[[float], None]
"""Gets the time."""


class Alarms:
    """One owner's alarms as a single entry in `Timers`. Names are unique: setting one again moves it."""

    def __init__(self, timers: Timers) -> None:
        self.deadline: float | None = None
        self._timers = timers
        self._alarms: dict[str, tuple[float, Action]] = {}

    def set(self, name: str, when: float, action: Action) -> None:
        """Call `action` at `when`."""
        self._alarms[name] = (when, action)
        self._schedule()

    def clear(self, *names: str) -> None:
        """Forget these alarms, as far as they are set."""
        for name in names:
            self._alarms.pop(name, None)
        self._schedule()

    def clear_all(self) -> None:
        """Forget all of them."""
        self._alarms.clear()
        self._schedule()

    def __contains__(self, name: str) -> bool:
        return name in self._alarms

    def handle_timer(self, now: float) -> None:
        """The deadline has come."""
        due = sorted((when, name) for name, (when, _) in self._alarms.items() if when <= now)
        for when, name in due:
            alarm = self._alarms.get(name)
            if alarm is not None and alarm[0] == when:  # an earlier one may have cleared or moved it
                del self._alarms[name]
                alarm[1](now)
        self._schedule()

    def _schedule(self) -> None:
        deadline = min((when for when, _ in self._alarms.values()), default=None)
        if deadline != self.deadline:
            self.deadline = deadline
            self._timers.schedule(self)
