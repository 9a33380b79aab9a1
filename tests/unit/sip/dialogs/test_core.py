from tests.unit.sip.support import BOB, OFFER, Agent, message


def test_what_is_over_is_remembered_for_a_while_only() -> None:
    bob = Agent(BOB)
    for number in range(1010):
        bob.hear(message("INVITE", body=OFFER, call_id=f"c{number}", branch=f"z9hG4bK{number}"))
        bob.incoming.pop().reject(486, "", 0.0)
    assert bob.dialogs == {}
    assert len(bob.stack._core.past) == 1000
