"""RFC 3262: reliability of provisional responses, as flows in virtual time."""

from active_call.sip.events import Acknowledged, Answered, OfferAnswered, OfferReceived, Ringing
from tests.conformance.ladder import flow
from tests.unit.sip.support import ANSWER, Pair

OTHER = ANSWER.replace(b"5000", b"6000")


def test_early_media_is_acknowledged_before_the_answer() -> None:
    pair = Pair()
    out, into = pair.ringing()
    into.progress(ANSWER, pair.net.now)
    pair.net.run(1.0)
    into.accept(ANSWER, pair.net.now)
    pair.net.run(1.0)
    assert flow(pair) == [
        "alice INVITE",
        "bob 183 INVITE",
        "alice PRACK",
        "bob 200 PRACK",
        "bob 200 INVITE",
        "alice ACK",
    ]
    assert pair.alice.events_of(out) == [Ringing(183, "Session Progress", ANSWER), Answered(ANSWER)]
    assert pair.bob.events_of(into) == [Acknowledged()]


def test_a_lost_response_is_repeated_until_its_prack() -> None:
    pair = Pair()
    _, into = pair.ringing()
    since, begin = len(pair.net.sent), pair.net.now
    pair.net.loss = 1.0
    into.progress(ANSWER, begin)
    pair.net.run(3.0)
    pair.net.loss = 0.0
    pair.net.run(30.0)
    assert flow(pair, since) == [*["bob 183 INVITE"] * 4, "alice PRACK", "bob 200 PRACK"]
    times = [round(one.time - begin, 3) for one in pair.net.sent[since:] if one.data.startswith(b"SIP/2.0 183")]
    assert times == [0, 0.5, 1.5, 3.5]


def test_a_lost_prack_is_repeated_by_its_transaction() -> None:
    pair = Pair()
    out, into = pair.ringing()
    since = len(pair.net.sent)
    into.progress(ANSWER, pair.net.now)
    pair.net.run(0.011)
    pair.net.loss = 1.0  # the PRACK is on its way; what answers it gets lost
    pair.net.run(0.3)
    pair.net.loss = 0.0
    pair.net.run(5.0)
    assert flow(pair, since) == [
        "bob 183 INVITE",
        "alice PRACK",
        "bob 200 PRACK",
        "alice PRACK",
        "bob 200 PRACK",
    ]
    assert pair.alice.kinds_of(out) == ["Ringing"]


def test_no_prack_at_all_ends_the_call() -> None:
    pair = Pair()
    out, into = pair.ringing()
    since = len(pair.net.sent)
    pair.net.loss = 1.0
    into.progress(ANSWER, pair.net.now)
    pair.net.run(31.9)
    pair.net.loss = 0.0
    pair.net.run(1.0)
    assert flow(pair, since) == [*["bob 183 INVITE"] * 7, "bob 504 INVITE", "alice ACK"]
    assert pair.alice.kinds_of(out) == ["Rejected", "Ended"]


def test_the_callee_may_change_the_session_before_it_answers() -> None:
    """RFC 3311 §7 in the order of RFC 6337 §3.1: UPDATE once the first exchange is over."""
    pair = Pair()
    out, into = pair.ringing()
    into.progress(ANSWER, pair.net.now)
    pair.net.run(1.0)
    assert into.dialog is not None
    headers = [("Contact", into.contact), ("Content-Type", "application/sdp")]
    update = into.dialog.request("UPDATE", headers, OTHER)
    answers: list[bytes] = []
    where = into.dialog.destination()
    into.layer.request(update, where, lambda response, _: answers.append(response.body), pair.net.now)
    pair.net.run(1.0)
    assert pair.alice.events_of(out)[-1] == OfferReceived(OTHER)
    out.remote_offer.answer(ANSWER, 200, "", pair.net.now)
    pair.net.run(1.0)
    assert answers == [ANSWER]
    into.accept(OTHER, pair.net.now)
    pair.net.run(1.0)
    assert pair.alice.events_of(out)[-1] == Answered(OTHER)
    assert OfferAnswered not in map(type, pair.bob.events_of(into))


def test_a_bad_network_delivers_all_of_it() -> None:
    for seed in range(30):
        pair = Pair(loss=0.3, duplicate=0.2, jitter=0.2, seed=seed)
        out = pair.call()
        pair.net.run(30.0, until=lambda pair=pair: bool(pair.bob.incoming))  # type: ignore[misc]
        into = pair.bob.incoming[0]
        into.ring(pair.net.now)
        into.progress(ANSWER, pair.net.now)
        into.accept(ANSWER, pair.net.now)
        pair.net.run(100.0, until=lambda out=out: str(out.state) == "confirmed")  # type: ignore[misc]
        assert pair.alice.events_of(out)[-1] == Answered(ANSWER)
        pair.net.run(60.0)
        assert pair.bob.events_of(into) == [Acknowledged()]
