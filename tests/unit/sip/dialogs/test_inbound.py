import gc
import weakref

from active_call.sip.dialogs.inbound import InboundUsage
from active_call.sip.dialogs.usage import UsageState
from active_call.sip.events import Ended
from active_call.sip.messages.message import Message
from tests.unit.sip.support import ALICE, ANSWER, BOB, OFFER, Agent, call_of, message, reply
from tests.unit.sip.talk import only


def ringing() -> tuple[Agent, InboundUsage, str]:
    """Bob, a call of Alice's that he hasn't answered, and his tag."""
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER))
    usage = bob.incoming[0]
    assert usage.dialog is not None
    return bob, usage, usage.dialog.local_tag


def answered() -> tuple[Agent, InboundUsage, str]:
    """Bob, a call that he has answered, and his tag."""
    bob, usage, tag = ringing()
    usage.accept(ANSWER, 0.0)
    bob.said()
    return bob, usage, tag


def test_an_invite_is_a_call_at_once() -> None:
    bob = Agent(BOB)
    assert bob.statuses(message("INVITE", body=OFFER)) == [100]
    assert bob.incoming[0].remote_sdp == OFFER
    assert bob.incoming[0].state is UsageState.CALLING


def test_ringing_and_early_media() -> None:
    bob, usage, tag = ringing()
    usage.ring(0.0)
    usage.progress(ANSWER, 0.0)
    ring, progress = bob.said()
    assert ring.start_line == "SIP/2.0 180 Ringing"
    assert ring.to.tag == tag
    assert progress.start_line == "SIP/2.0 183 Session Progress"
    assert progress.body == ANSWER
    assert usage.state is UsageState.EARLY


def test_the_answer_carries_what_the_peer_needs() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER, headers="Record-Route: <sip:p;lr>\r\n"))
    bob.incoming[0].accept(ANSWER, 0.0)
    (ok,) = bob.said()
    assert ok.start_line == "SIP/2.0 200 OK"
    assert ok.headers.get("contact") == "<sip:bob@10.0.0.2:5060>"
    assert ok.headers.all("record-route") == ["<sip:p;lr>"]
    assert ok.headers.get("content-type") == "application/sdp"
    assert "INVITE" in (ok.headers.get("allow") or "")


def test_an_ended_call_is_given_back_without_a_garbage_collection() -> None:
    bob, usage, tag = answered()
    bob.hear(message("ACK", to_tag=tag, branch="z9hG4bKack"))
    bob.hear(message("BYE", to_tag=tag, cseq=2, branch="z9hG4bKbye"))
    bob.events.clear()
    bob.incoming.clear()
    alive = weakref.ref(usage)
    gc.disable()
    try:
        del usage
        assert alive() is None
    finally:
        gc.enable()


def test_repeated_invites_do_not_make_more_calls() -> None:
    bob, usage, _ = ringing()
    usage.ring(0.0)
    bob.said()
    assert bob.statuses(message("INVITE", body=OFFER)) == [180]
    usage.accept(ANSWER, 0.0)
    bob.said()
    assert bob.statuses(message("INVITE", body=OFFER)) == []
    assert len(bob.incoming) == 1


def test_t14_a_rejected_call() -> None:
    bob, usage, _ = ringing()
    usage.reject(603, "no thanks", 0.0, [("Reason", "busy")])
    (decline,) = bob.said()
    assert decline.start_line == "SIP/2.0 603 no thanks"
    assert decline.headers.get("reason") == "busy"
    assert bob.events_of(usage) == [Ended("local", "rejected with 603 no thanks")]
    assert len(bob.wait_until(1.0)) == 1
    bob.hear(message("ACK", to_tag="x"), 1.0)
    assert bob.wait_until(60.0) == []


def test_a_canceled_call() -> None:
    bob, usage, _ = ringing()
    assert bob.statuses(message("CANCEL")) == [200, 487]
    assert bob.events_of(usage) == [Ended("canceled", "the caller gave up before the answer")]
    assert usage.state is UsageState.ENDED


def test_the_answers_to_cancel_and_invite_have_one_tag() -> None:
    bob, _, tag = ringing()
    assert {one.to.tag for one in bob.hear(message("CANCEL"))} == {tag}


def test_t39_cancel_after_the_answer_changes_nothing() -> None:
    bob, usage, _ = answered()
    assert bob.statuses(message("CANCEL")) == [200]
    assert usage.state is UsageState.CONFIRMED


def test_answering_a_canceled_call_changes_nothing() -> None:
    bob, usage, _ = ringing()
    bob.hear(message("CANCEL"))
    usage.ring(0.0)
    usage.accept(ANSWER, 0.0)
    usage.reject(486, "", 0.0)
    usage.hangup(0.0)
    assert bob.said() == []
    assert bob.kinds_of(usage) == ["Ended"]


def test_hanging_up_without_answer_is_480() -> None:
    bob, usage, _ = ringing()
    usage.hangup(0.0)
    assert [one.start_line for one in bob.said()] == ["SIP/2.0 480 Temporarily Unavailable"]


def test_bye_in_an_early_dialog_is_a_cancel() -> None:
    bob, usage, tag = ringing()
    assert bob.statuses(message("BYE", to_tag=tag, cseq=2, branch="z9hG4bKbye")) == [200, 487]
    assert bob.kinds_of(usage) == ["Ended"]


def test_t14_a_call_may_be_rejected_after_ringing() -> None:
    bob, usage, _ = ringing()
    usage.ring(0.0)
    usage.reject(603, "", 0.0)
    assert [one.start_line for one in bob.said()] == ["SIP/2.0 180 Ringing", "SIP/2.0 603 Decline"]
    bob.hear(message("ACK", to_tag="x"))
    assert bob.dialogs == {}


def test_a_refusal_says_why_in_headers_too() -> None:
    bob, usage, _ = ringing()
    usage.reject(488, "no common codec: theirs g729", 0.0, [("Retry-After", "5")])
    (refused,) = bob.said()
    assert refused.headers.get("warning") == '305 10.0.0.2 "no common codec: theirs g729"'
    assert refused.headers.get("reason") == 'SIP;cause=488;text="no common codec: theirs g729"'
    assert refused.headers.get("retry-after") == "5"


def test_a_canceled_call_says_why() -> None:
    bob, usage, _ = ringing()
    reason = 'Reason: SIP;cause=200;text="Call completed elsewhere"\r\n'
    bob.hear(message("CANCEL", headers=reason))
    (ended,) = bob.events_of(usage)
    assert ended == Ended(
        "canceled",
        'the caller gave up before the answer (SIP;cause=200;text="Call completed elsewhere")',
    )


# --- taking over another call (RFC 3891) ----------------------------------------------------------------


def replacing(bob: Agent, replaces: str, headers: str = "") -> Message:
    data = message(
        "INVITE", call_id="c2", from_tag="f2", branch="z9hG4bKr", body=OFFER,
        headers=f"Replaces: {replaces}\r\nRequire: replaces\r\n{headers}",
    )  # fmt: skip
    return bob.hear(data)[-1]


def test_an_answered_call_can_be_replaced() -> None:
    bob, usage, tag = answered()
    replacing(bob, f"c1;to-tag={tag};from-tag=f1")
    assert bob.incoming[1].replaces is usage
    assert call_of(bob.incoming[0]).replaces is None
    first, second = call_of(usage), call_of(bob.incoming[1])
    assert second.replaces is first


def test_what_can_not_be_replaced() -> None:
    bob, usage, tag = answered()
    value = f"c1;to-tag={tag};from-tag=f1"
    assert replacing(bob, f"{value};early-only").start_line.startswith("SIP/2.0 486")
    bob, usage, tag = answered()
    assert replacing(bob, f"c1;to-tag={tag};from-tag=x").start_line.startswith("SIP/2.0 481")
    bob, usage, tag = answered()
    assert replacing(bob, value + "x", f"Replaces: {value}\r\n").start_line.startswith("SIP/2.0 400")


def test_a_call_that_rings_here_can_not_be_replaced() -> None:
    bob, _, tag = ringing()
    assert replacing(bob, f"c1;to-tag={tag};from-tag=f1").start_line.startswith("SIP/2.0 481")


def test_a_call_that_is_over_can_not_be_replaced() -> None:
    bob, usage, tag = answered()
    usage.hangup(0.0)
    refused = replacing(bob, f"c1;to-tag={tag};from-tag=f1")
    assert refused.start_line == "SIP/2.0 603 the call to be replaced is over"
    bob, usage, tag = answered()
    bob.hear(message("BYE", to_tag=tag, cseq=2, branch="z9hG4bKb"))
    refused = replacing(bob, f"c1;to-tag={tag};from-tag=f1")
    assert refused.start_line == "SIP/2.0 603 the call to be replaced is over"


def test_a_call_of_ours_that_rings_there_can_be_picked_up_here() -> None:
    alice = Agent(ALICE)
    usage = alice.stack.invite("sip:bob@10.0.0.2", caller="sip:a@b", sdp=OFFER, now=0.0, call_id="c1")
    invite = only(alice.said())
    alice.hear(reply(invite, 180), source=BOB)
    replacing(alice, f"c1;to-tag={invite.from_.tag};from-tag=b1;early-only")
    assert alice.incoming[0].replaces is usage


def test_100_returns_the_timestamp() -> None:
    bob = Agent(BOB)
    (trying,) = bob.hear(message("INVITE", body=OFFER, headers="Timestamp: 54.21\r\n"))
    assert (trying.start_line, trying.headers.get("timestamp")) == ("SIP/2.0 100 Trying", "54.21")
    bob.incoming[0].ring(0.0)
    assert "timestamp" not in bob.said()[0].headers


def test_an_invite_may_expire() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER, headers="Expires: 20\r\n"))
    usage = bob.incoming[0]
    usage.ring(0.0)
    bob.said()
    assert bob.wait_until(19.9) == []
    assert [one.start_line for one in bob.wait_until(20.0)] == ["SIP/2.0 487 Request Terminated"]
    words = "the caller gave up before the answer, as its INVITE said (Expires)"
    assert bob.events_of(usage) == [Ended("canceled", words)]


def test_an_answer_in_time_does_not_expire() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER, headers="Expires: 20\r\n"))
    usage = bob.incoming[0]
    usage.accept(ANSWER, 0.0)
    bob.hear(message("ACK", to_tag=bob.said()[0].to.tag, branch="z9hG4bKack"))
    assert bob.wait_until(100.0) == []
    assert usage.answered


def test_who_waits_long_is_told_each_minute_that_the_call_lives() -> None:
    bob, usage, _ = ringing()
    usage.ring(0.0)
    usage.progress(ANSWER, 10.0)
    bob.said()
    waiting = bob.wait_until(140.0)
    assert [(one.start_line, one.body) for one in waiting] == [("SIP/2.0 183 Session Progress", ANSWER)] * 2
    usage.accept(ANSWER, 140.0)
    bob.hear(message("ACK", to_tag=bob.said()[0].to.tag, branch="z9hG4bKack"), 140.0)
    assert bob.wait_until(300.0) == []


def test_a_number_may_be_called_by_its_tel_uri() -> None:
    bob = Agent(BOB)
    assert bob.statuses(message("INVITE", uri="tel:+49-30-123;phone-context=x", body=OFFER)) == [100]
    bob.incoming[0].ring(0.0)
    assert bob.said()[0].headers.get("contact") == "<sip:+49-30-123@10.0.0.2:5060>"
