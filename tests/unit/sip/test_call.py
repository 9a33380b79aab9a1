import logging

import pytest

from active_call.core.errors import LocalProtocolError
from active_call.sip.call import SipCall
from active_call.sip.events import Acknowledged, Ended, SipEvent
from active_call.sip.usage import UsageState
from tests.unit.sip.support import ALICE, ANSWER, BOB, OFFER, Agent, Pair, call_of, message


def incoming(headers: str = "") -> tuple[Agent, SipCall]:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER, headers=headers))
    return bob, call_of(bob.incoming[0])


def test_what_the_owner_sees_of_an_inbound_call() -> None:
    _, call = incoming("X-Account: 7\r\nx-b: gr\xfc\r\nP-Asserted-Identity: <sip:a@b>\r\nX-Account: 8\r\n")
    assert call.inbound
    assert call.state is UsageState.CALLING
    assert call.dialog_id == f"c1-{call.local_tag}-f1"
    assert (call.caller, call.callee) == ("sip:alice@10.0.0.1", "sip:bob@10.0.0.2")
    assert call.request_uri == "sip:bob@10.0.0.2"
    assert call.remote_sdp == OFFER
    assert call.peer == ALICE
    assert call.headers == {"X-Account": "7", "x-b": "grü"}
    assert "Content-Type: application/sdp" in call.header_lines


def test_what_the_owner_sees_of_an_outbound_call() -> None:
    pair = Pair()
    call = call_of(pair.call(call_id="s.1"))
    assert not call.inbound
    assert (call.call_id, call.remote_tag) == ("s.1", "")
    assert call.local_tag
    pair.net.run(0.1)
    pair.bob.incoming[0].ring(pair.net.now)
    pair.net.run(0.1)
    assert call.remote_tag


def test_a_caller_can_not_set_private_variables() -> None:
    _, call = incoming('_hangup_headers: {"X-Result": "{{ secret }}"}\r\nX-A: 1\r\n')
    assert call.headers == {"X-A": "1"}


def test_bytes_that_are_no_text_can_still_be_shown() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER, headers="X-A: ?\r\n").replace(b"X-A: ?", b"X-A: \xff"))
    assert call_of(bob.incoming[0]).headers == {"X-A": "\ufffd"}


def test_commands_reach_the_peer() -> None:
    bob, call = incoming()
    call.ring()
    call.progress(ANSWER)
    call.accept(ANSWER)
    assert [one.start_line[8:11] for one in bob.said()] == ["180", "183", "200"]
    bob.hear(message("ACK", to_tag=call.local_tag, branch="z9hG4bKa"))
    bob.hear(message("INVITE", to_tag=call.local_tag, cseq=2, branch="z9hG4bKb", body=OFFER))
    call.answer_offer(ANSWER)
    bob.hear(message("ACK", to_tag=call.local_tag, cseq=2, branch="z9hG4bKc"))
    call.hangup(headers={"X-Why": "done"})
    assert [one.start_line[:3] for one in bob.said()] == ["BYE"]


def test_rejecting() -> None:
    bob, call = incoming()
    call.reject(486, "lunch", headers={"Reason": "x"})
    assert [one.start_line for one in bob.said()] == ["SIP/2.0 486 lunch"]


def test_only_an_inbound_call_can_be_answered() -> None:
    call = call_of(Pair().call())
    with pytest.raises(LocalProtocolError):
        call.accept(ANSWER)


def test_events_wait_for_a_listener() -> None:
    _, call = incoming()
    heard: list[SipEvent] = []
    call.deliver(Acknowledged())
    call.listener = heard.append
    call.deliver(Ended("peer", "BYE"))
    assert heard == [Acknowledged(), Ended("peer", "BYE")]


def test_a_listener_that_fails_is_logged_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    _, call = incoming()
    heard: list[SipEvent] = []

    def listener(event: SipEvent) -> None:
        heard.append(event)
        raise ValueError("oops")

    call.listener = listener
    call.deliver(Acknowledged())
    call.deliver(Ended("peer", "BYE"))
    assert len(heard) == 2
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
