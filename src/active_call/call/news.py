"""Tells what happens in a call: to its dialogue and its clients, to its dump and its statistics."""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from active_call.core.log import CallLog
from active_call.records.dump import Dump
from active_call.records.turns import TurnRecorder
from active_call.wire import events
from active_call.wire.commands import Command
from active_call.wire.dialogue import Dialogue
from active_call.wire.events import Event

EventFollower = Callable[[Event], None]
CommandFollower = Callable[[Command], None]


class News:
    """`on_failure` is called when a follower fails; the others are told all the same."""

    def __init__(self, call_id: str, dump: Dump, on_failure: Callable[[], None]) -> None:
        self.dialogue: Dialogue | None = None
        """Hears of events before all others."""
        self.dump = dump
        self.turns = TurnRecorder()
        self.errors: deque[str] = deque(maxlen=100)
        """What went wrong lately, in words."""
        self._log = CallLog(logging.getLogger(__name__), call_id)
        self._on_failure = on_failure
        self._of_events: list[EventFollower] = []
        self._of_commands: list[CommandFollower] = []

    def follow(self, events: EventFollower, commands: CommandFollower | None) -> Callable[[], None]:
        """Tell these too, until the result is called."""
        # Lists are replaced, never changed: somebody may come or go while all are told.
        self._of_events = [*self._of_events, events]
        if commands is not None:
            self._of_commands = [*self._of_commands, commands]

        def unfollow() -> None:
            self._of_events = [each for each in self._of_events if each is not events]
            self._of_commands = [each for each in self._of_commands if each is not commands]

        return unfollow

    def tell(self, event: Event) -> None:
        """Something happened."""
        written = event
        if self.dump.mask_digits and isinstance(event, events.Dtmf):
            written = event.model_copy(update={"digit": "*"})
        self._hand(written, self.dump.event)
        self._hand(written, self.turns.observe)
        if isinstance(event, events.Error):
            self.errors.append(event.error)
            self._log.warning("! %s: %s", event.sender, event.error)
        if self.dialogue is not None:
            self._hand(event, self.dialogue.receive)
        for receive in self._of_events:
            self._hand(event, receive)

    def tell_command(self, command: Command) -> None:
        """Something is to be done."""
        self._hand(command, self.dump.command)
        for receive in self._of_commands:
            self._hand(command, receive)

    def _hand(self, news: Any, receive: Callable[[Any], None]) -> None:
        try:
            receive(news)
        except Exception:
            self._log.exception("- %s was not taken", type(news).__name__)
            self._on_failure()
