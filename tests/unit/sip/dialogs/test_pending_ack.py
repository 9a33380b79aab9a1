from active_call.sip.dialogs.inbound import InboundUsage
from active_call.sip.events import Acknowledged, Ended
from tests.unit.sip.support import ANSWER, BOB, OFFER, Agent, message


def answered() -> tuple[Agent, InboundUsage, str]:
    """Bob, a call that he has answered, and his tag."""
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER))
    usage = bob.incoming[0]
    usage.accept(ANSWER, 0.0)
    return bob, usage, bob.said()[-1].to.tag


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
    (ended,) = bob.events_of(usage)
    assert isinstance(ended, Ended)
    assert ended.by == "timeout"
    assert ended.reason.startswith("the answer was never confirmed: no ACK in 32 s; our Contact is <sip:")


def test_t39_bye_waits_for_the_ack() -> None:
    bob, usage, tag = answered()
    usage.hangup(0.0, [("X-Why", "done")])
    assert bob.said() == []
    (bye,) = bob.hear(message("ACK", to_tag=tag, branch="z9hG4bKack"))
    assert bye.start_line == "BYE sip:alice@10.0.0.1:5060 SIP/2.0"
    assert bye.headers.get("x-why") == "done"
    assert bob.kinds_of(usage) == []


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


def test_an_offerless_invite_whose_ack_has_no_answer() -> None:
    for body in (b"", b"nonsense"):
        bob = Agent(BOB)
        bob.hear(message("INVITE"))
        usage = bob.incoming[0]
        usage.accept(OFFER, 0.0)
        tag = bob.said()[0].to.tag
        ack = message("ACK", to_tag=tag, branch="z9hG4bKack", body=body)
        bob.hear(ack.replace(b"application/sdp", b"text/plain"))
        assert usage.remote_sdp is None
        assert bob.events_of(usage) == [Acknowledged()]


def test_an_ack_of_something_else() -> None:
    bob, usage, tag = answered()
    bob.hear(message("ACK", to_tag=tag, cseq=2, branch="z9hG4bKack"))
    assert bob.events_of(usage) == []
    assert len(bob.wait_until(0.5)) == 1
    bob.hear(message("ACK", to_tag=tag, branch="z9hG4bKack"), 0.6)
    bob.hear(message("ACK", to_tag=tag, branch="z9hG4bKack"), 0.7)
    assert bob.events_of(usage) == [Acknowledged()]
