"""RFC 3665: basic call flows. Alice is the caller; both ends are ours unless a test speaks for one of them."""

from active_call.sip.events import (
    Acknowledged,
    Answered,
    Ended,
    OfferAnswered,
    OfferReceived,
    Rejected,
    Ringing,
)
from active_call.sip.messages.auth import Credentials
from tests.conformance.ladder import flow, spoken
from tests.unit.sip.support import ALICE, ANSWER, BOB, OFFER, Agent, Pair, message, reply
from tests.unit.sip.talk import only

PROXIES = "Record-Route: <sip:ss2.biloxi.example.com;lr>, <sip:ss1.atlanta.example.com;lr>\r\n"
CHALLENGE = (
    'Proxy-Authenticate: Digest realm="atlanta.example.com", qop="auth", '
    'nonce="f84f1cec41e6cbe5aea9c8e88d359", opaque="", stale=FALSE, algorithm=MD5\r\n'
)


def test_3_1_successful_session_establishment() -> None:
    pair = Pair()
    out, into = pair.ringing()
    into.ring(pair.net.now)
    pair.net.run(1.0)
    into.accept(ANSWER, pair.net.now)
    pair.net.run(1.0)
    into.hangup(pair.net.now)
    pair.net.run(1.0)
    assert flow(pair) == [
        "alice INVITE",
        "bob 180 INVITE",
        "bob 200 INVITE",
        "alice ACK",
        "bob BYE",
        "alice 200 BYE",
    ]
    assert pair.alice.events_of(out) == [Ringing(180, "Ringing", None), Answered(ANSWER), Ended("peer", "BYE")]
    assert pair.bob.events_of(into) == [Acknowledged(), Ended("local", "hung up")]


def test_3_2_through_two_proxies_the_second_of_which_asks_who_calls() -> None:
    alice = Agent(ALICE)
    usage = alice.stack.invite(
        "sip:bob@biloxi.example.com",
        caller="sip:alice@atlanta.example.com",
        sdp=OFFER,
        now=0.0,
        credentials=Credentials("alice", "zanzibar"),
    )
    f1 = only(alice.said())
    ack, f4 = alice.hear(reply(f1, 407, tag="3flal12sf", headers=CHALLENGE), source=BOB)
    assert spoken("alice", [ack, f4]) == ["alice ACK", "alice INVITE"]
    assert f4.call_id == f1.call_id
    assert 'opaque=""' in (f4.headers.get("proxy-authorization") or "")
    alice.hear(reply(f4, 180, tag="314159", headers=PROXIES), source=BOB)  # type: ignore[arg-type]
    f16 = only(alice.hear(reply(f4, 200, tag="314159", headers=PROXIES, body=ANSWER), source=BOB))  # type: ignore[arg-type]
    assert f16.uri == "sip:bob@10.0.0.2:5060"
    assert f16.headers.items("route") == ["<sip:ss1.atlanta.example.com;lr>", "<sip:ss2.biloxi.example.com;lr>"]
    f19 = alice.hear(
        message(
            "BYE",
            call_id=f1.call_id,
            from_tag="314159",
            to_tag=f1.from_.tag,
            cseq=612,
            branch="z9hG4bKnashds7",
        ),
        source=BOB,
    )
    assert spoken("alice", f19) == ["alice 200 BYE"]
    assert alice.events_of(usage)[-1] == Ended("peer", "BYE")


def test_3_6_session_via_redirect_server() -> None:
    alice = Agent(ALICE)
    alice.stack.invite("sip:bob@biloxi.example.com", caller="sip:alice@atlanta.example.com", sdp=OFFER, now=0.0)
    f1 = only(alice.said())
    moved = reply(f1, 302, tag="53fHlqlQ2").replace(
        b"<sip:bob@10.0.0.2:5060>", b"<sip:bob@chicago.example.com;transport=tcp>"
    )
    ack, f4 = alice.hear(moved, source=BOB)
    assert spoken("alice", [ack, f4]) == ["alice ACK", "alice INVITE"]
    assert f4.start_line == "INVITE sip:bob@chicago.example.com;transport=tcp SIP/2.0"
    assert f4.headers.get("to") == "<sip:bob@biloxi.example.com>"
    assert f4.cseq == (2, "INVITE")


def test_3_7_session_with_reinvite() -> None:
    pair = Pair()
    out, into = pair.connected()
    since = len(pair.net.sent)
    moved = ANSWER.replace(b"10.0.0.2", b"10.0.0.9")
    into.local_offer.make(moved, pair.net.now)
    pair.net.run(0.1)
    out.remote_offer.answer(OFFER, 200, "", pair.net.now)
    pair.net.run(0.1)
    out.hangup(pair.net.now)
    pair.net.run(0.1)
    assert flow(pair, since) == ["bob INVITE", "alice 200 INVITE", "bob ACK", "alice BYE", "bob 200 BYE"]
    assert pair.alice.events_of(out)[-2] == OfferReceived(moved)
    assert pair.bob.events_of(into)[-2] == OfferAnswered(OFFER)


def test_3_8_unsuccessful_no_answer() -> None:
    pair = Pair()
    out, into = pair.ringing()
    into.ring(pair.net.now)
    pair.net.run(1.0)
    out.hangup(pair.net.now)
    pair.net.run(1.0)
    assert flow(pair) == [
        "alice INVITE",
        "bob 180 INVITE",
        "alice CANCEL",
        "bob 200 CANCEL",
        "bob 487 INVITE",
        "alice ACK",
    ]
    assert pair.bob.kinds_of(into) == ["Ended"]


def test_3_9_and_3_11_unsuccessful_busy_and_unavailable() -> None:
    for status, reason in ((486, "Busy Here"), (480, "Temporarily Unavailable")):
        pair = Pair()
        out, into = pair.ringing()
        into.reject(status, "", pair.net.now)
        pair.net.run(1.0)
        assert flow(pair) == ["alice INVITE", f"bob {status} INVITE", "alice ACK"]
        rejected, ended = pair.alice.events_of(out)
        assert isinstance(rejected, Rejected)
        assert (rejected.status, rejected.reason) == (status, reason)
        assert ended == Ended("peer", f"{status} {reason}")


def test_3_10_unsuccessful_no_response() -> None:
    pair = Pair()
    pair.net.loss = 1.0
    out = pair.call()
    pair.net.run(33.0)
    assert flow(pair) == ["alice INVITE"] * 7
    assert pair.alice.kinds_of(out) == ["Rejected", "Ended"]
