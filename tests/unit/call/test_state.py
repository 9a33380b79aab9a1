"""Every cell of the table of call states."""

import pytest

from active_call.call.state import TRANSITIONS, CallInput, CallState, next_state
from active_call.core.errors import LocalProtocolError


@pytest.mark.parametrize("state", CallState)
@pytest.mark.parametrize("given", CallInput)
def test_every_cell_is_a_transition_or_an_error(state: CallState, given: CallInput) -> None:
    if (state, given) in TRANSITIONS:
        assert next_state(state, given) is TRANSITIONS[state, given]
    else:
        with pytest.raises(LocalProtocolError, match=state):
            next_state(state, given)


@pytest.mark.parametrize("state", set(CallState) - {CallState.ENDED})
def test_every_live_call_can_end(state: CallState) -> None:
    assert next_state(state, CallInput.END) is CallState.ENDING


def test_an_inbound_call_is_answered_and_ends() -> None:
    state = CallState.NEW
    for given in (CallInput.ANSWER, CallInput.END, CallInput.FINISH):
        state = next_state(state, given)
    assert state is CallState.ENDED
