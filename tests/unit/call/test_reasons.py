"""How an ending is told in events and records."""

import pytest

from active_call.call.reasons import ending_by_peer, ending_of_command, inactive, rejected
from active_call.wire.commands import Hangup


@pytest.mark.parametrize(
    ("reason", "initiator", "record"),
    [
        ("user_requested", "user", "user_requested"),
        (None, None, "bySystem"),
        ("noAnswer", None, "noAnswer"),
        ("anything", "caller", "byCaller"),
        ("anything", "system", "autohangup"),
        ("InactivityTimeout", None, "inactivityTimeout"),
    ],
)
def test_a_command_becomes_a_record_entry(reason: str | None, initiator: str | None, record: str) -> None:
    assert ending_of_command(Hangup(reason=reason, initiator=initiator)).record == record


def test_the_clients_own_words_are_echoed() -> None:
    ending = ending_of_command(Hangup(reason="user_requested", initiator="user"))
    assert (ending.reason, ending.initiator) == ("user_requested", "user")


def test_the_peer_is_the_caller_of_an_inbound_call() -> None:
    assert ending_by_peer(inbound=True).record == "byCaller"
    assert ending_by_peer(inbound=False).record == "byCallee"


def test_a_refusal_keeps_its_status() -> None:
    ending = rejected(486, "Busy Here")
    assert (ending.status, ending.record) == (486, "rejected")
    assert rejected(480, "Temporarily Unavailable").record == "noAnswer"


def test_inactivity_names_its_seconds() -> None:
    assert inactive(3.0).detail == "no RTP arrived for 3 s"
