from itertools import product

import pytest

from active_call.sip.transactions.tables import (
    CLIENT,
    INVITE_CLIENT,
    INVITE_SERVER,
    SERVER,
    Action,
    Input,
    State,
    Table,
    input_of,
)

REACHABLE = {
    "INVITE client": (INVITE_CLIENT, {State.CALLING, State.PROCEEDING, State.ACCEPTED, State.COMPLETED}),
    "client": (CLIENT, {State.TRYING, State.PROCEEDING, State.COMPLETED}),
    "INVITE server": (INVITE_SERVER, {State.PROCEEDING, State.ACCEPTED, State.COMPLETED, State.CONFIRMED}),
    "server": (SERVER, {State.TRYING, State.PROCEEDING, State.COMPLETED}),
}


@pytest.mark.parametrize("name", REACHABLE)
def test_each_state_leads_to_the_end(name: str) -> None:
    table, states = REACHABLE[name]
    assert {state for state, _ in table} == states
    reached = {target for target, _ in table.values()}
    assert reached <= states | {State.TERMINATED}
    for state in states:
        seen, frontier = {state}, [state]
        while frontier:
            here = frontier.pop()
            for (source, _), (target, _) in table.items():
                if source is here and target not in seen:
                    seen.add(target)
                    frontier.append(target)
        assert State.TERMINATED in seen


@pytest.mark.parametrize("name", REACHABLE)
def test_nothing_leaves_the_end(name: str) -> None:
    table, _ = REACHABLE[name]
    assert not [given for state, given in table if state is State.TERMINATED]


@pytest.mark.parametrize("table", [INVITE_CLIENT, CLIENT])
def test_a_client_never_hears_twice_of_a_final_response(table: Table) -> None:
    for (state, given), (_, action) in table.items():
        if state is State.COMPLETED and given in (Input.PROVISIONAL, Input.SUCCESS, Input.FAILURE):
            assert action in (Action.ACKNOWLEDGE, Action.NOTHING)


@pytest.mark.parametrize(
    ("state", "given"), list(product([State.COMPLETED, State.CONFIRMED], [Input.SUCCESS, Input.PROVISIONAL]))
)
def test_a_server_answers_finally_once(state: State, given: Input) -> None:
    assert (state, given) not in INVITE_SERVER
    assert (state, given) not in SERVER


@pytest.mark.parametrize(
    ("status", "given"),
    [(100, Input.PROVISIONAL), (199, Input.PROVISIONAL), (200, Input.SUCCESS), (302, Input.FAILURE)],
)
def test_what_a_status_is_to_a_transaction(status: int, given: Input) -> None:
    assert input_of(status) is given
