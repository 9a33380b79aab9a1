"""While the caller is with somebody else, the agent rests: it neither hears nor answers what they say."""

from active_call.wire import commands, events
from active_call.wire.dialogue import CallPort
from active_call.wire.events import Event
from active_call.wire.options import ReferOption

_REFUSED = commands.Refer.model_fields["command"].default + ": "
"""How the `error` event begins that says that a `refer` could not even begin."""


class Rest:
    """The agent's rest during a transfer: from the `refer` on, until the caller is back."""

    def __init__(self, options: ReferOption | None = None) -> None:
        """`options` of all transfers that the agent asks for."""
        self.resting = False
        self._options = options

    def transfer(self, call: CallPort, target: str) -> None:
        """Have the caller transferred, unless that is under way already."""
        if self.resting:
            return
        self.resting = True
        call.send(commands.Refer(callee=target, options=self._options))

    @staticmethod
    def heeds(event: Event) -> bool:
        """Whether the event says how a transfer goes."""
        if isinstance(event, events.Error):
            return event.sender == "command" and event.error.startswith(_REFUSED)
        told = isinstance(event, events.Ringing | events.Answer | events.Reject | events.Hangup)
        return told and bool(getattr(event, "refer", None))

    def ended_by(self, event: Event) -> str | None:
        """How it ended, if `event` says that it did, for the model: "failed 486", "failed", "left"."""
        self.resting = isinstance(event, events.Ringing | events.Answer)
        match event:
            case events.Reject(code=code):
                return f"failed {code}" if code else "failed"
            case events.Error():
                return "failed"
            case events.Hangup():
                return "left"
            case _:
                return None
