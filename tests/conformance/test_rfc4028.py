"""RFC 4028 §13 (its example call flow) and §7-10: session timers in virtual time."""

from active_call.sip.events import Ended
from active_call.sip.messages.message import Request
from tests.conformance.ladder import flow, spoken
from tests.unit.sip.support import ALICE, ANSWER, BOB, OFFER, Agent, Pair, reply
from tests.unit.sip.talk import only

UPDATE = "Allow: INVITE, ACK, CANCEL, BYE, UPDATE\r\n"


def refresh(pair: Pair, seconds: float) -> list[str]:
    since = len(pair.net.sent)
    pair.net.run(seconds)
    return flow(pair, since)


def test_the_example_of_section_13() -> None:
    alice = Agent(ALICE)
    usage = alice.stack.invite("sip:bob@biloxi.example.com", caller="sip:alice@a.example", sdp=OFFER, now=0.0)
    f1 = only(alice.said())
    assert "timer" in f1.headers.items("supported")
    _, f4 = alice.hear(reply(f1, 422, headers="Min-SE: 3600\r\n"), source=BOB)
    assert isinstance(f4, Request)
    assert (f4.headers.get("session-expires"), f4.headers.get("min-se")) == ("3600", "3600")
    _, f9 = alice.hear(reply(f4, 422, headers="Min-SE: 4000\r\n"), source=BOB)
    assert isinstance(f9, Request)
    assert (f9.headers.get("session-expires"), f9.headers.get("min-se")) == ("4000", "4000")
    assert (f9.call_id, f9.cseq) == (f1.call_id, (3, "INVITE"))
    accepted = "Require: timer\r\nSession-Expires: 4000;refresher=uac\r\n" + UPDATE
    assert spoken("alice", alice.hear(reply(f9, 200, headers=accepted, body=ANSWER), source=BOB)) == [
        "alice ACK"
    ]
    f16 = only(alice.wait_until(2000.0))
    assert f16.method == "UPDATE"
    assert f16.headers.get("session-expires") == "4000;refresher=uac"
    alice.hear(reply(f16, 200, headers=accepted), 2000.0, source=BOB)
    assert only(alice.wait_until(4000.0)).method == "UPDATE"
    assert str(usage.state) == "confirmed"


def test_two_of_us_agree_and_the_caller_refreshes_for_ever() -> None:
    pair = Pair()
    out, into = pair.connected()
    pair.net.run(899.0)
    for _ in range(5):
        assert refresh(pair, 900.0) == ["alice UPDATE", "bob 200 UPDATE"]
    into.hangup(pair.net.now)
    assert refresh(pair, 10_000.0) == ["bob BYE", "alice 200 BYE"]
    assert pair.alice.events_of(out)[-1] == Ended("peer", "BYE")


def test_a_peer_that_vanished_is_noticed_by_both() -> None:
    pair = Pair()
    out, into = pair.connected()
    begin = pair.net.now
    pair.net.loss = 1.0
    pair.net.run(899.0)
    assert refresh(pair, 33.2) == [*["alice UPDATE"] * 11, "alice BYE"]
    assert pair.alice.events_of(out)[-1] == Ended("timeout", "408 to session refresh")
    pair.net.run(2000.0)
    why = "the session expired: no refresh came in its 1800 s"
    assert pair.bob.events_of(into)[-1] == Ended("timeout", why)
    bye = next(one for one in pair.net.sent if one.source == BOB and one.data.startswith(b"BYE"))
    assert round(bye.time - begin) == 1800 - 32


def test_a_reinvite_refreshes_too() -> None:
    pair = Pair()
    out, into = pair.connected()
    pair.net.run(800.0)
    into.local_offer.make(ANSWER, pair.net.now)
    pair.net.run(0.1)
    out.remote_offer.answer(OFFER, 200, "", pair.net.now)
    pair.net.run(0.1)
    assert refresh(pair, 890.0) == []
    assert refresh(pair, 20.0) == ["alice UPDATE", "bob 200 UPDATE"]
