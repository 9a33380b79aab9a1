"""What all calls of a stack share."""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from active_call.sip.dialogs.dialog import Dialog, DialogId
from active_call.sip.events import SipEvent
from active_call.sip.transactions.layer import TransactionLayer

if TYPE_CHECKING:
    from active_call.sip.dialogs.usage import Usage

_REMEMBERED = 1000
"""How many dialogs that are over are still known."""


@dataclass(eq=False)
class Core:
    """The transaction layer below, the dialogs, and the events for their owners."""

    layer: TransactionLayer
    dialogs: "dict[DialogId, Usage]" = field(default_factory=dict)
    events: "deque[tuple[Usage, SipEvent]]" = field(default_factory=deque)
    past: dict[DialogId, None] = field(default_factory=dict)
    """The dialogs that ended last, oldest first."""

    def forget(self, dialog: Dialog) -> None:
        """The dialog is over."""
        if self.dialogs.pop(dialog.id, None) is not None:
            self.past[dialog.id] = None
            if len(self.past) > _REMEMBERED:
                del self.past[next(iter(self.past))]
