import pytest

from active_call.sip.dialogs.usage import UsageState
from active_call.sip.events import Acknowledged, Ended, OfferReceived
from active_call.sip.messages.message import Request, Response
from tests.unit.sip.support import ALICE, ANSWER, BOB, OFFER, Agent, message, reply
from tests.unit.sip.talk import Talk, only


def test_a_new_offer_is_answered_by_the_owner() -> None:
    talk = Talk()
    assert talk.request("INVITE", body=OFFER) == []
    assert talk.bob.events_of(talk.usage) == [OfferReceived(OFFER)]
    talk.usage.remote_offer.answer(ANSWER, 200, "OK", 0.0)
    (ok,) = talk.bob.said()
    assert (ok.start_line, ok.body) == ("SIP/2.0 200 OK", ANSWER)
    assert len(talk.bob.wait_until(1.5)) == 2
    talk.ack(2)
    assert talk.bob.wait_until(31.0) == []
    assert Acknowledged() not in talk.bob.events_of(talk.usage)


def test_a_new_offer_may_be_refused() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    talk.usage.remote_offer.answer(None, 488, "no common codec", 0.0)
    assert [one.start_line for one in talk.bob.said()] == ["SIP/2.0 488 no common codec"]
    assert talk.usage.state is UsageState.CONFIRMED


def test_t06_a_reinvite_without_offer_brings_the_answer_in_its_ack() -> None:
    talk = Talk()
    talk.request("INVITE")
    talk.usage.remote_offer.answer(OFFER, 200, "OK", 0.0)
    talk.bob.said()
    talk.ack(2, ANSWER)
    assert talk.bob.events_of(talk.usage) == [OfferReceived(None), Acknowledged()]
    assert talk.usage.remote_sdp == ANSWER


def test_an_answer_to_a_reinvite_that_nobody_acknowledges_ends_the_call() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    talk.usage.remote_offer.answer(ANSWER, 200, "OK", 0.0)
    talk.bob.wait_until(32.0)
    ended = talk.bob.events_of(talk.usage)[-1]
    assert isinstance(ended, Ended)
    assert ended.reason.startswith("the answer was never confirmed: no ACK in 32 s")


def test_a_reinvite_can_be_canceled() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    cancel = message("CANCEL", to_tag=talk.tag, cseq=2, branch="z9hG4bKINVITE20")
    assert talk.bob.statuses(cancel) == [200, 487]
    talk.usage.remote_offer.answer(ANSWER, 200, "OK", 0.0)
    assert talk.bob.said() == []
    assert talk.usage.state is UsageState.CONFIRMED


def test_a_late_cancel_does_not_touch_the_next_offer() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    talk.usage.remote_offer.answer(None, 488, "", 0.0)
    talk.request("UPDATE", body=OFFER)
    talk.bob.said()
    cancel = message("CANCEL", to_tag=talk.tag, cseq=2, branch="z9hG4bKINVITE20")
    assert talk.bob.statuses(cancel) == [200]
    talk.usage.remote_offer.answer(ANSWER, 200, "OK", 0.0)
    assert [one.body for one in talk.bob.said()] == [ANSWER]


def test_an_offer_that_is_open_when_we_hang_up_is_closed() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    talk.usage.hangup(0.0)
    assert [one.start_line.split()[0] for one in talk.bob.said()] == ["BYE"]
    talk.usage.remote_offer.answer(ANSWER, 200, "OK", 0.0)
    assert [one.start_line for one in talk.bob.said()] == ["SIP/2.0 487 Request Terminated"]
    assert not [one for one in talk.ack(2) if isinstance(one, Request)]


def test_an_offer_waits_until_it_is_answered_or_taken_back() -> None:
    talk = Talk()
    waits = [talk.usage.remote_offer.waits]
    talk.request("UPDATE", body=OFFER)
    waits.append(talk.usage.remote_offer.waits)
    talk.usage.remote_offer.answer(ANSWER, 200, "OK", 0.0)
    waits.append(talk.usage.remote_offer.waits)
    assert waits == [False, True, False]


def test_an_update_with_an_offer_must_wait_for_our_answer() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER))
    usage = bob.incoming[0]
    assert usage.dialog is not None
    update = message("UPDATE", to_tag=usage.dialog.local_tag, cseq=2, branch="z9hG4bK2", body=OFFER)
    (refused,) = bob.hear(update)
    assert refused.start_line.startswith("SIP/2.0 500")
    assert "retry-after" in refused.headers
    assert bob.kinds_of(usage) == []


def test_one_offer_at_a_time() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    (refused,) = talk.request("UPDATE", body=OFFER)
    assert refused.start_line == "SIP/2.0 500 an offer is open"
    assert refused.headers.get("retry-after") == "1"


def test_update_with_an_offer() -> None:
    talk = Talk()
    talk.request("UPDATE", body=OFFER)
    talk.usage.remote_offer.answer(ANSWER, 200, "OK", 0.0)
    assert [one.body for one in talk.bob.said()] == [ANSWER]
    assert talk.bob.wait_until(31.0) == []


def test_update_without_offer_only_moves_the_target() -> None:
    talk = Talk()
    data = message("UPDATE", to_tag=talk.tag, cseq=2, branch="z9hG4bKu").replace(
        b"<sip:alice@10.0.0.1:5060>", b"<sip:alice@10.0.0.7>"
    )
    assert talk.bob.statuses(data) == [200]
    talk.usage.hangup(0.0)
    assert talk.bob.said()[0].start_line == "BYE sip:alice@10.0.0.7 SIP/2.0"


def test_an_open_offer_is_closed_with_the_call() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    assert [one.start_line for one in talk.request("BYE")] == [
        "SIP/2.0 200 OK",
        "SIP/2.0 487 Request Terminated",
    ]


def test_a_reinvite_replaces_a_lost_ack() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER))
    bob.incoming[0].accept(ANSWER, 0.0)
    tag = bob.said()[0].to.tag
    bob.hear(message("INVITE", body=OFFER, to_tag=tag, cseq=2, branch="z9hG4bK2"))
    assert bob.kinds_of(bob.incoming[0]) == ["OfferReceived"]
    assert bob.wait_until(31.0) == []


def test_an_offer_of_something_else_gets_415() -> None:
    talk = Talk()
    data = message("INVITE", to_tag=talk.tag, cseq=2, branch="z9hG4bKx", body=b"x").replace(
        b"application/sdp", b"application/foo"
    )
    (response,) = talk.bob.hear(data)
    assert response.start_line.startswith("SIP/2.0 415")
    assert response.headers.get("accept") == "application/sdp"


def test_t05_each_reinvite_is_told_and_its_answer_is_the_owners() -> None:
    talk = Talk()
    for number in (2, 3):
        talk.request("INVITE", body=OFFER)
        talk.usage.remote_offer.answer(ANSWER, 200, "OK", 0.0)
        assert [one.body for one in talk.bob.said()] == [ANSWER]
        talk.ack(number)
    assert talk.events == [OfferReceived(OFFER), OfferReceived(OFFER)]


def test_t06_a_reinvite_whose_ack_has_no_answer_changes_nothing() -> None:
    talk = Talk()
    talk.request("INVITE")
    talk.usage.remote_offer.answer(ANSWER, 200, "OK", 0.0)
    talk.bob.said()
    talk.ack(2)
    assert talk.usage.remote_sdp == OFFER
    assert talk.events == [OfferReceived(None), Acknowledged()]


def test_while_our_offer_in_a_200_is_open_the_peer_must_wait() -> None:
    talk = Talk()
    talk.request("INVITE")
    talk.usage.remote_offer.answer(ANSWER, 200, "OK", 0.0)
    talk.bob.said()
    assert talk.answer("UPDATE", body=OFFER) == "SIP/2.0 491 an offer is open"


def test_an_early_update_of_the_callee_needs_a_reliable_answer() -> None:
    alice = Agent(ALICE)
    usage = alice.stack.invite("sip:bob@10.0.0.2", caller="sip:a@b", sdp=OFFER, now=0.0)
    invite = only(alice.said())

    def update(cseq: int) -> list[Request | Response]:
        data = message(
            "UPDATE",
            call_id=invite.call_id,
            from_tag="b1",
            to_tag=invite.from_.tag,
            cseq=cseq,
            branch=f"z9hG4bK{cseq}",
            body=OFFER,
        )
        return alice.hear(data, source=BOB)

    alice.hear(reply(invite, 183, body=ANSWER), source=BOB)
    (refused,) = update(1)
    assert refused.start_line == "SIP/2.0 491 an offer is open"
    alice.hear(reply(invite, 183, headers="Require: 100rel\r\nRSeq: 1\r\n", body=ANSWER), source=BOB)
    assert update(2) == []
    assert alice.events_of(usage)[-1] == OfferReceived(OFFER)
    usage.remote_offer.answer(ANSWER, 200, "", 0.0)
    assert [one.body for one in alice.said()] == [ANSWER]


def test_nothing_is_left_to_answer_twice() -> None:
    talk = Talk()
    talk.request("UPDATE", body=OFFER)
    talk.usage.remote_offer.answer(ANSWER, 200, "", 0.0)
    talk.usage.remote_offer.answer(ANSWER, 200, "", 0.0)
    assert len(talk.bob.said()) == 1


def test_a_second_invite_before_the_first_is_answered_comes_too_soon() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER))
    usage = bob.incoming[0]
    assert usage.dialog is not None
    data = message("INVITE", to_tag=usage.dialog.local_tag, cseq=2, branch="z9hG4bK2", body=OFFER)
    (refused,) = bob.hear(data)
    assert refused.start_line == "SIP/2.0 500 the INVITE before this one is not answered"
    assert refused.headers.get("retry-after") == "1"
    usage.accept(ANSWER, 0.0)
    assert [one.start_line for one in bob.said()] == ["SIP/2.0 200 OK"]


@pytest.mark.parametrize("cancels", [False, True])
def test_an_offer_that_was_refused_changes_nothing(cancels: bool) -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER + b"m=video 6000 RTP/AVP 96\r\n")
    assert talk.usage.remote_sdp != OFFER
    if cancels:
        talk.bob.hear(message("CANCEL", to_tag=talk.tag, cseq=2, branch="z9hG4bKINVITE20"))
    else:
        talk.usage.remote_offer.answer(None, 488, "", 0.0)
    assert talk.usage.dialog is not None
    assert talk.usage.remote_sdp == OFFER
