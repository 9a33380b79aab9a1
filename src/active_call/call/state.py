"""The states of a call, as a table, and its times.

    new ──dial──► dialing ──ringing──► ringing ──answered──► talking ──end──► ending ──finished──► ended
     └───ring / answered (inbound)────────┘                     (from any state: end)

`ending` means: no more input is acted upon, playback is flushed, BYE or CANCEL is sent, the recording is being
finished. `ended` means: the record is written. An input that has no row in the table is a bug of ours and
raises LocalProtocolError, except `end`, which is idempotent.
"""

from dataclasses import dataclass
from enum import StrEnum

from active_call.core.errors import LocalProtocolError


@dataclass(slots=True)
class CallTimes:
    """Unix times in seconds; None until it happened."""

    start: float
    ring: float | None = None
    answer: float | None = None
    end: float | None = None


class CallState(StrEnum):
    """Where a call stands."""

    NEW = "new"
    DIALING = "dialing"
    RINGING = "ringing"
    TALKING = "talking"
    ENDING = "ending"
    ENDED = "ended"


class CallInput(StrEnum):
    """What moves a call on."""

    DIAL = "dial"
    RING = "ring"
    ANSWER = "answer"
    END = "end"
    FINISH = "finish"


TRANSITIONS: dict[tuple[CallState, CallInput], CallState] = {
    (CallState.NEW, CallInput.DIAL): CallState.DIALING,
    (CallState.NEW, CallInput.RING): CallState.RINGING,
    (CallState.NEW, CallInput.ANSWER): CallState.TALKING,
    (CallState.NEW, CallInput.END): CallState.ENDING,
    (CallState.DIALING, CallInput.RING): CallState.RINGING,
    (CallState.DIALING, CallInput.ANSWER): CallState.TALKING,
    (CallState.DIALING, CallInput.END): CallState.ENDING,
    (CallState.RINGING, CallInput.RING): CallState.RINGING,
    (CallState.RINGING, CallInput.ANSWER): CallState.TALKING,
    (CallState.RINGING, CallInput.END): CallState.ENDING,
    (CallState.TALKING, CallInput.END): CallState.ENDING,
    (CallState.ENDING, CallInput.END): CallState.ENDING,
    (CallState.ENDED, CallInput.END): CallState.ENDED,
    (CallState.ENDING, CallInput.FINISH): CallState.ENDED,
}


def next_state(state: CallState, given: CallInput) -> CallState:
    """The state after `given`. Raises LocalProtocolError if the table has no such row."""
    try:
        return TRANSITIONS[state, given]
    except KeyError:
        raise LocalProtocolError(f"a call that is {state} can't {given}") from None
