"""How an ending is told in events and records."""

import pytest

from active_call.call.reasons import (
    CRASHED,
    SHUTDOWN,
    broken_off,
    canceled,
    ending_by_peer,
    ending_of_command,
    failed,
    inactive,
    not_answered,
    refused,
    rejected,
    unusable_answer,
)
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


def test_a_peer_that_says_more_is_quoted() -> None:
    assert ending_by_peer(inbound=True, words="BYE").detail == "the caller hung up"
    ending = ending_by_peer(inbound=False, words="BYE (Q.850;cause=41)")
    assert ending.detail == "the callee hung up: BYE (Q.850;cause=41)"


def test_a_canceled_call_tells_how_long_it_waited() -> None:
    assert canceled(4.25, "").detail == "the caller gave up before the answer, after 4.2 s"


def test_what_we_found_out_ourselves_is_not_the_callees_answer() -> None:
    silence = rejected(408, "no response from 192.0.2.1:5060 in 32 s", ours=True)
    assert (silence.detail, silence.initiator) == ("no response from 192.0.2.1:5060 in 32 s", "system")
    assert rejected(408, "Request Timeout").initiator == "callee"
    assert rejected(488, "Not Acceptable Here", offered="PCMU").detail.endswith("; we offered PCMU")
    answer = unusable_answer(488, "it has no SDP")
    assert (answer.detail, answer.cause) == ("the callee's answer can't be used: it has no SDP", 488)


def test_a_refusal_is_told_in_its_own_words() -> None:
    assert refused(503, "Playbook Not Found").detail == "Playbook Not Found"
    assert refused(603, "").detail == "we answered 603 Decline"


def test_only_errors_are_failures() -> None:
    ours = (failed("x"), CRASHED, inactive("x"), broken_off("x"), rejected(503, "x"), refused(503, "x"))
    assert all(ending.failure for ending in ours)
    others = (SHUTDOWN, rejected(486, "Busy"), not_answered("x"), canceled(1, ""), ending_by_peer(inbound=True))
    assert not any(ending.failure for ending in others)
