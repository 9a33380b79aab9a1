"""RFC 5407: what happens when two things happen at once. The numbers are its sections."""

import pytest

from active_call.sip.events import Ended, OfferReceived
from tests.conformance.ladder import flow
from tests.unit.sip.support import ANSWER, OFFER, Pair


def test_3_1_1_the_invite_is_repeated_after_its_answer() -> None:
    pair = Pair()
    _, into = pair.ringing()
    pair.net.loss = 1.0
    into.accept(ANSWER, pair.net.now)
    pair.net.run(0.1)
    pair.net.loss = 0.0
    repeated = pair.net.sent[0]
    pair.net.send(repeated.data, repeated.source, repeated.destination)
    pair.net.run(2.0)
    assert len(pair.bob.incoming) == 1
    assert pair.bob.kinds_of(into) == ["Acknowledged"]


def test_t39_3_1_2_cancel_crosses_the_answer() -> None:
    pair = Pair()
    out, into = pair.ringing()
    into.ring(pair.net.now)
    pair.net.run(0.1)
    since = len(pair.net.sent)
    into.accept(ANSWER, pair.net.now)
    out.hangup(pair.net.now)
    pair.net.run(1.0)
    assert sorted(flow(pair, since)) == sorted(
        [
            "bob 200 INVITE",
            "alice CANCEL",
            "bob 200 CANCEL",
            "alice ACK",
            "alice BYE",
            "bob 200 BYE",
        ]
    )
    assert pair.alice.events_of(out)[-1] == Ended("local", "hung up")
    assert pair.bob.events_of(into)[-1] == Ended("peer", "BYE")


def test_t39_3_1_3_the_caller_hangs_up_before_its_ack_arrives() -> None:
    pair = Pair()
    out, into = pair.ringing()
    into.accept(ANSWER, pair.net.now)
    pair.net.run(0.011)
    pair.net.loss = 0.0
    out.hangup(pair.net.now)
    ack = next(one for one in pair.net.sent if one.data.startswith(b"ACK"))
    pair.net.run(1.0)
    pair.net.send(ack.data, ack.source, ack.destination)
    pair.net.run(40.0)
    assert pair.bob.kinds_of(into)[-1] == "Ended"
    assert pair.alice.events_of(out)[-1] == Ended("local", "hung up")


def test_t39_3_1_4_a_reinvite_overtakes_the_ack() -> None:
    pair = Pair()
    out, into = pair.ringing()
    into.accept(ANSWER, pair.net.now)
    pair.net.run(0.010)  # the answer arrives
    pair.net.loss = 1.0
    pair.net.run(0.005)  # the ACK is sent, and lost
    pair.net.loss = 0.0
    out.local_offer.make(OFFER, pair.net.now)
    pair.net.run(0.1)
    assert pair.bob.events_of(into)[-1] == OfferReceived(OFFER)
    into.remote_offer.answer(ANSWER, 200, "", pair.net.now)
    pair.net.run(40.0)
    assert pair.alice.kinds_of(out) == ["Answered", "OfferAnswered"]
    assert str(into.state) == "confirmed"


@pytest.mark.parametrize("answers", [True, False])
def test_3_2_1_bye_crosses_a_reinvite(answers: bool) -> None:
    pair = Pair()
    out, into = pair.connected()
    out.local_offer.make(OFFER, pair.net.now)
    into.hangup(pair.net.now)
    pair.net.run(0.1)
    if answers:
        into.remote_offer.answer(ANSWER, 200, "", pair.net.now)
    pair.net.run(40.0)
    assert pair.alice.events_of(out)[-1] == Ended("peer", "BYE")
    assert pair.bob.events_of(into)[-1] == Ended("local", "hung up")


def test_3_2_2_reinvites_cross() -> None:
    pair = Pair()
    out, into = pair.connected()
    since = len(pair.net.sent)
    out.local_offer.make(OFFER, pair.net.now)
    into.local_offer.make(ANSWER, pair.net.now)
    pair.net.run(0.05)
    assert flow(pair, since) == [
        "alice INVITE",
        "bob INVITE",
        "alice 491 INVITE",
        "bob 491 INVITE",
        "alice ACK",
        "bob ACK",
    ]


def test_3_2_4_update_crosses_a_reinvite() -> None:
    pair = Pair()
    out, into = pair.connected()
    pair.net.run(897.0)
    into.local_offer.make(ANSWER, pair.net.now)
    since = len(pair.net.sent)
    pair.net.run(10.0, until=lambda: pair.alice.kinds_of(out)[-1] == "OfferReceived")
    out.remote_offer.answer(OFFER, 200, "", pair.net.now)
    pair.net.run(10.0)
    assert flow(pair, since)[:3] == ["bob INVITE", "alice 200 INVITE", "bob ACK"]
    assert str(out.state) == str(into.state) == "confirmed"


def test_3_3_1_both_hang_up_at_once() -> None:
    pair = Pair()
    out, into = pair.connected()
    since = len(pair.net.sent)
    out.hangup(pair.net.now)
    into.hangup(pair.net.now)
    pair.net.run(1.0)
    assert sorted(flow(pair, since)) == ["alice 200 BYE", "alice BYE", "bob 200 BYE", "bob BYE"]
