import logging

import pytest

from active_call.core.errors import LocalProtocolError
from active_call.sip.call import MAX_WAITING, SipCall
from active_call.sip.dialogs.replaces import Replaces
from active_call.sip.dialogs.usage import UsageState
from active_call.sip.events import Acknowledged, Ended, InfoReceived, SipEvent
from active_call.sip.hop import Hop
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


def test_any_header_of_the_invite() -> None:
    _, call = incoming("P-Asserted-Identity: <sip:a@b>\r\nx: 90\r\n")
    assert call.header("P-ASSERTED-IDENTITY") == "<sip:a@b>"
    assert call.header("Session-Expires") == "90"
    assert call.header("X-None") is None


def test_whether_the_signalling_is_secure() -> None:
    _, call = incoming()
    assert not call.secure
    bob = Agent(BOB)
    via = "SIP/2.0/TLS 10.0.0.1:5061"
    bob.hear(message("INVITE", body=OFFER, via=via), source=Hop("10.0.0.1", 40000, "tls"))
    assert call_of(bob.incoming[0]).secure


def test_replacing_a_call_from_both_ends() -> None:
    pair = Pair()
    out, into = pair.connected()
    ours, theirs = call_of(out), call_of(into)
    # What Alice hands out finds the dialog at Bob, her peer.
    parsed = Replaces.parse(ours.replaces_value)
    assert pair.bob.dialogs[parsed.dialog_id] is into
    parsed = Replaces.parse(theirs.replaces_value)
    assert pair.alice.dialogs[parsed.dialog_id] is out


def test_commands_within_a_call() -> None:
    pair = Pair()
    out, into = pair.connected()
    ours, theirs = call_of(out), call_of(into)
    ours.offer(OFFER)
    pair.net.run(0.1)
    theirs.answer_offer(ANSWER)
    ours.message("grüß dich".encode(), "text/plain", headers={"X-A": "1"})
    ours.info("application/dtmf-relay", b"Signal=5")
    ours.refer("sip:carol@10.0.0.3", referred_by="sip:alice@10.0.0.1")
    pair.net.run(0.1)
    theirs.notify_refer(200, "OK", final=True)
    pair.net.run(0.1)
    assert pair.alice.kinds_of(out) == [
        "Answered",
        "OfferAnswered",
        "MessageAnswered",
        "MessageAnswered",
        "ReferProgress",
        "ReferProgress",
        "ReferProgress",
    ]
    assert pair.bob.kinds_of(into) == [
        "Acknowledged",
        "OfferReceived",
        "MessageReceived",
        "InfoReceived",
        "ReferReceived",
    ]


def test_commands_that_come_too_late_do_nothing() -> None:
    pair = Pair()
    out, _ = pair.connected()
    call = call_of(out)
    call.hangup()
    pair.net.run(0.1)
    sent = len(pair.net.sent)
    call.offer(OFFER)
    call.message(b"x", "text/plain")
    call.info("text/plain", b"x")
    call.refer("sip:carol@x")
    call.notify_refer(200, "OK", final=True)
    call.answer_offer(ANSWER)
    call.hangup()
    pair.net.run(0.1)
    assert len(pair.net.sent) == sent
    assert pair.alice.kinds_of(out)[-1] == "Ended"


def test_a_peer_can_not_fill_the_memory_while_nobody_listens() -> None:
    _, call = incoming()
    for _ in range(MAX_WAITING + 10):
        call.deliver(InfoReceived("text/plain", b"x"))
    call.deliver(Ended("peer", "BYE"))
    heard: list[SipEvent] = []
    call.listener = heard.append
    assert len(heard) == MAX_WAITING + 1
    assert heard[-1] == Ended("peer", "BYE")
