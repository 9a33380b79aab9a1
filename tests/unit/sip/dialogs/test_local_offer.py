import pytest

from active_call.sip.dialogs.local_offer import MAX_TRIES
from active_call.sip.dialogs.usage import UsageState
from active_call.sip.events import Ended, OfferAnswered, OfferReceived, OfferRefused
from active_call.sip.messages.message import Request, Response
from tests.unit.sip.support import ALICE, ANSWER, BOB, OFFER, Agent, Pair, message, reply
from tests.unit.sip.talk import Dialed, Talk, only

HELD = OFFER.replace(b"o=- 1 1", b"o=- 1 2") + b"a=sendonly\r\n"
AGAIN = OFFER.replace(b"o=- 1 1", b"o=- 1 3")


def requests(said: list[Request | Response], method: str = "INVITE") -> list[Request]:
    return [one for one in said if isinstance(one, Request) and one.method == method]


def test_an_offer_of_ours() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    invite = dialed.said()
    assert (invite.method, invite.body, invite.cseq[0]) == ("INVITE", HELD, 2)
    assert invite.uri == "sip:bob@10.0.0.2:5060"
    assert invite.headers.get("contact") == "<sip:alice@10.0.0.1:5060>"
    ack = only(dialed.hear(invite, 200, body=ANSWER))
    assert (ack.method, ack.cseq) == ("ACK", (2, "ACK"))
    assert dialed.events == [OfferAnswered(ANSWER)]
    assert dialed.usage.local_sdp == HELD


def test_a_repeated_200_gets_the_same_ack() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    invite = dialed.said()
    first = dialed.hear(invite, 200, body=ANSWER)
    assert dialed.hear(invite, 200, body=ANSWER) == first
    assert len(dialed.events) == 1


def test_a_refused_offer_leaves_the_session_as_it_was() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    dialed.hear(dialed.said(), 488)
    assert dialed.events == [OfferRefused(488, "Whatever")]
    assert dialed.usage.local_sdp == OFFER
    assert dialed.usage.state is UsageState.CONFIRMED


@pytest.mark.parametrize(("status", "by"), [(481, "peer"), (408, "timeout")])
def test_a_peer_that_knows_no_such_call_ends_it(status: int, by: str) -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    _, bye = dialed.hear(dialed.said(), status)
    assert isinstance(bye, Request)
    assert bye.method == "BYE"
    refused, ended = dialed.events
    assert refused == OfferRefused(status, "Whatever")
    assert ended == Ended(by, f"re-INVITE failed: {status} Whatever")  # type: ignore[arg-type]


def test_an_offer_waits_for_the_answer_of_the_call() -> None:
    alice = Agent(ALICE)
    usage = alice.stack.invite("sip:bob@10.0.0.2", caller="sip:a@b", sdp=OFFER, now=0.0)
    invite = only(alice.said())
    usage.local_offer.make(HELD, 0.0)
    usage.local_offer.make(AGAIN, 0.0)
    assert alice.said() == []
    said = alice.hear(reply(invite, 200, body=ANSWER), source=BOB)
    assert [one.body for one in requests(said)] == [AGAIN]


def test_an_offer_waits_for_the_ack_of_our_answer() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER))
    usage = bob.incoming[0]
    usage.accept(ANSWER, 0.0)
    usage.local_offer.make(HELD, 0.0)
    tag = bob.said()[-1].to.tag
    assert only(bob.hear(message("ACK", to_tag=tag, branch="z9hG4bKa"))).body == HELD


def test_one_offer_of_ours_at_a_time() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    first = dialed.said()
    dialed.usage.local_offer.make(b"skipped", 0.0)
    dialed.usage.local_offer.make(AGAIN, 0.0)
    assert dialed.alice.said() == []
    ack, second = dialed.hear(first, 200, body=ANSWER)
    assert isinstance(second, Request)
    assert second.body == AGAIN
    assert second.cseq[0] == 3


def test_an_offer_waits_for_the_peers_reinvite() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    talk.usage.local_offer.make(HELD, 0.0)
    assert talk.bob.said() == []
    talk.usage.remote_offer.answer(ANSWER, 200, "", 0.0)
    talk.bob.said()
    assert only(talk.ack(2)).body == HELD


def test_the_peers_reinvite_gets_491_meanwhile() -> None:
    talk = Talk()
    talk.usage.local_offer.make(HELD, 0.0)
    talk.said()
    assert talk.answer("INVITE", body=OFFER) == "SIP/2.0 491 Request Pending"
    assert talk.answer("INVITE") == "SIP/2.0 491 Request Pending"
    assert talk.answer("UPDATE", body=OFFER) == "SIP/2.0 491 an offer is open"
    assert talk.answer("UPDATE") == "SIP/2.0 200 OK"


def test_glare_who_made_the_call_waits_longer() -> None:
    for seed in range(20):
        dialed, talk = Dialed(), Talk()
        dialed.alice.stack._layer.tokens(seed + 1)
        talk.bob.stack._layer.tokens(seed + 1)
        dialed.usage.local_offer.make(HELD, 0.0)
        dialed.hear(dialed.said(), 491)
        assert requests(dialed.alice.wait_until(2.09)) == []
        assert requests(dialed.alice.wait_until(4.01))[0].body == HELD
        talk.usage.local_offer.make(HELD, 0.0)
        talk.reply(talk.said(), 491)
        assert requests(talk.bob.wait_until(2.0))[0].body == HELD


def test_glare_ends_with_both_offers_made() -> None:
    pair = Pair()
    out, into = pair.connected()
    out.local_offer.make(HELD, pair.net.now)
    into.local_offer.make(AGAIN, pair.net.now)

    def settled() -> bool:
        for agent, usage in ((pair.alice, out), (pair.bob, into)):
            if OfferReceived(HELD) in agent.events_of(usage) or OfferReceived(AGAIN) in agent.events_of(usage):
                usage.remote_offer.answer(ANSWER, 200, "", pair.net.now)
        done = "OfferAnswered"
        return done in pair.alice.kinds_of(out) and done in pair.bob.kinds_of(into)

    pair.net.run(10.0, until=settled)
    assert settled()
    assert sum(one.data.startswith(b"SIP/2.0 491") for one in pair.net.sent) == 2


def test_a_collision_is_not_repeated_for_ever() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    sent, now = [dialed.said()], 0.0
    while dialed.events == []:
        dialed.hear(sent[-1], 491, now=now)
        now += 5.0
        sent += requests(dialed.alice.wait_until(now))
    assert dialed.events == [OfferRefused(491, "Whatever")]
    assert len({one.cseq for one in sent}) == MAX_TRIES


def test_a_newer_offer_replaces_one_that_collided() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    dialed.hear(dialed.said(), 491)
    dialed.usage.local_offer.make(AGAIN, 0.0)
    assert [one.body for one in requests(dialed.alice.wait_until(5.0))][0] == AGAIN


def test_a_peer_that_asks_us_to_come_back() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    dialed.hear(dialed.said(), 500, headers="Retry-After: 3 (busy);duration=9\r\n")
    assert requests(dialed.alice.wait_until(2.9)) == []
    assert [one.body for one in requests(dialed.alice.wait_until(3.0))] == [HELD]


@pytest.mark.parametrize("header", ["", "Retry-After: 600\r\n", "Retry-After: soon\r\n"])
def test_a_failure_without_a_near_end_is_final(header: str) -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    dialed.hear(dialed.said(), 500, headers=header)
    assert dialed.events == [OfferRefused(500, "Whatever")]


def test_a_session_that_is_too_brief_is_asked_for_again() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    _, again = dialed.hear(dialed.said(), 422, headers="Min-SE: 3600\r\n")
    assert isinstance(again, Request)
    assert again.headers.get("session-expires") == "3600"
    dialed.hear(again, 422, headers="Min-SE: 3600\r\n")
    assert dialed.events == [OfferRefused(422, "Whatever")]


def test_nobody_answers_our_offer() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    said = dialed.alice.wait_until(32.0)
    assert requests(said, "BYE")
    assert [type(event).__name__ for event in dialed.events] == ["OfferRefused", "Ended"]


def test_a_peer_that_only_says_100_is_given_up_on() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    invite = dialed.said()
    dialed.hear(invite, 100)
    said = dialed.alice.wait_until(32.0)
    assert [one.method for one in said if isinstance(one, Request)][:2] == ["CANCEL", "BYE"]
    assert dialed.events[-1] == Ended("timeout", "re-INVITE failed: 408 no final response")
    assert only(dialed.hear(invite, 487, now=32.1)).method == "ACK"


def test_hanging_up_meanwhile() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    invite = dialed.said()
    dialed.hear(invite, 100)
    dialed.usage.hangup(0.0)
    bye = dialed.said()
    assert bye.method == "BYE"
    dialed.hear(bye, 200)
    assert only(dialed.hear(invite, 487)).method == "ACK"
    assert dialed.events == [Ended("local", "hung up")]


def test_an_answer_without_description() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    dialed.hear(dialed.said(), 200)
    assert dialed.events == [OfferAnswered(None)]
    assert dialed.usage.remote_sdp == ANSWER


def test_the_target_moves_with_the_answer() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(HELD, 0.0)
    data = reply(dialed.said(), 200, body=ANSWER).replace(
        b"Contact: <sip:bob@10.0.0.2", b"Contact: <sip:b@10.0.0.9"
    )
    ack = only(dialed.alice.hear(data, source=BOB))
    assert ack.uri == "sip:b@10.0.0.9:5060"
