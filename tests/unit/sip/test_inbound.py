from active_call.sip.events import Acknowledged, Ended
from active_call.sip.inbound import InboundUsage
from active_call.sip.usage import UsageState
from tests.unit.sip.support import ANSWER, BOB, OFFER, Agent, message


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


def test_the_answer_is_repeated_until_its_ack() -> None:
    bob, usage, tag = answered()
    assert len(bob.wait_until(8.0)) == 4  # at 0.5, 1.5, 3.5 and 7.5
    assert bob.hear(message("ACK", to_tag=tag, branch="z9hG4bKack"), 8.0) == []
    assert bob.events_of(usage) == [Acknowledged()]
    assert bob.wait_until(60.0) == []


def test_an_answer_that_nobody_acknowledges_ends_the_call() -> None:
    bob, usage, _ = answered()
    said = bob.wait_until(32.1)
    assert [one.start_line.split()[0] for one in said[-2:]] == ["SIP/2.0", "BYE"]
    assert len(said) == 11  # at 0.5, 1.5, 3.5, then every 4 seconds to 31.5, and BYE
    assert bob.events_of(usage) == [Ended("timeout", "no ACK came")]


def test_repeated_invites_do_not_make_more_calls() -> None:
    bob, usage, _ = ringing()
    usage.ring(0.0)
    bob.said()
    assert bob.statuses(message("INVITE", body=OFFER)) == [180]
    usage.accept(ANSWER, 0.0)
    bob.said()
    assert bob.statuses(message("INVITE", body=OFFER)) == []
    assert len(bob.incoming) == 1


def test_a_rejected_call() -> None:
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


def test_cancel_after_the_answer_changes_nothing() -> None:
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


def test_bye_waits_for_the_ack() -> None:
    bob, usage, tag = answered()
    usage.hangup(0.0, [("X-Why", "done")])
    assert bob.said() == []
    (bye,) = bob.hear(message("ACK", to_tag=tag, branch="z9hG4bKack"))
    assert bye.start_line == "BYE sip:alice@10.0.0.1:5060 SIP/2.0"
    assert bye.headers.get("x-why") == "done"
    assert bob.kinds_of(usage) == []


def test_bye_in_an_early_dialog_is_a_cancel() -> None:
    bob, usage, tag = ringing()
    assert bob.statuses(message("BYE", to_tag=tag, cseq=2, branch="z9hG4bKbye")) == [200, 487]
    assert bob.kinds_of(usage) == ["Ended"]


def test_a_blank_body_is_no_offer() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=b"\r\n"))
    usage = bob.incoming[0]
    usage.accept(OFFER, 0.0)
    tag = bob.said()[0].to.tag
    bob.hear(message("ACK", to_tag=tag, branch="z9hG4bK2", body=ANSWER))
    assert usage.remote_sdp == ANSWER


def test_an_offerless_invite_gets_its_answer_with_the_ack() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE"))
    usage = bob.incoming[0]
    assert bob.incoming[0].remote_sdp is None
    usage.accept(OFFER, 0.0)
    (ok,) = bob.said()
    bob.hear(message("ACK", to_tag=ok.to.tag, branch="z9hG4bKack", body=ANSWER))
    assert usage.remote_sdp == ANSWER
    assert bob.events_of(usage) == [Acknowledged()]
