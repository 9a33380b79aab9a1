import gc
import weakref

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from active_call.core.errors import LocalProtocolError
from active_call.sip.dialogs.usage import TRANSITIONS, Usage, UsageState
from active_call.sip.events import Ended, InfoReceived, MessageAnswered, MessageReceived
from active_call.sip.hop import Hop
from active_call.sip.messages.auth import Credentials
from active_call.sip.messages.message import Request
from tests.unit.sip.support import ANSWER, BOB, OFFER, Agent, Pair, message, reply
from tests.unit.sip.talk import Dialed, Talk


def test_every_state_leads_to_ended() -> None:
    assert set(TRANSITIONS) == set(UsageState)
    for state, targets in TRANSITIONS.items():
        assert state is UsageState.ENDED or UsageState.ENDED in targets
        assert state not in targets
    assert not TRANSITIONS[UsageState.ENDED]


def test_a_call_from_end_to_end() -> None:
    pair = Pair()
    out, into = pair.connected()
    assert (out.state, into.state) == (UsageState.CONFIRMED, UsageState.CONFIRMED)
    into.hangup(pair.net.now)
    pair.net.run(0.1)
    assert pair.alice.events_of(out)[-1] == Ended("peer", "BYE")
    assert pair.bob.events_of(into)[-1] == Ended("local", "hung up")
    pair.net.run(40.0)
    assert pair.alice.stack.transactions == pair.bob.stack.transactions == 0


def bob_does(pair: Pair, end: str) -> None:
    for usage in pair.bob.incoming:
        if end in ("caller", "callee"):
            usage.accept(ANSWER, pair.net.now)
            pair.net.run(0.1)
        if end in ("callee", "reject"):
            usage.hangup(pair.net.now)


@pytest.mark.parametrize("end", ["caller", "callee", "cancel", "reject", "no address"])
def test_a_call_that_either_side_made_or_ended_is_given_back_without_a_garbage_collection(end: str) -> None:
    class Owner:
        """Has what it needs of the call, and is asked by it."""

        call: Usage

        def describe(self, host: str) -> bytes:
            return OFFER

    pair = Pair()
    if end == "no address":
        pair.alice.names["nowhere.example"] = []
    gc.collect()
    gc.disable()
    try:
        owner = Owner()
        target = "sip:bob@nowhere.example" if end == "no address" else "sip:bob@10.0.0.2"
        usage = owner.call = pair.alice.stack.invite(
            target, caller="sip:alice@10.0.0.1", sdp=OFFER, now=0.0, describe=owner.describe
        )
        pair.net.run(0.1)
        bob_does(pair, end)
        if end in ("caller", "cancel"):
            usage.hangup(pair.net.now)
        pair.net.run(40.0)  # what rests in case that something is repeated
        alive = [weakref.ref(one) for one in (owner, usage, *pair.bob.incoming)]
        assert pair.alice.kinds_of(usage)[-1] == "Ended"
        for agent in (pair.alice, pair.bob):
            agent.events.clear()
            agent.incoming.clear()
        del owner, usage
        assert [one() for one in alive] == [None] * len(alive)
    finally:
        gc.enable()


def test_bye_ends_the_call_with_its_reason() -> None:
    talk = Talk()
    assert talk.answer("BYE", headers="Reason: Q.850;cause=16\r\n") == "SIP/2.0 200 OK"
    assert talk.bob.events_of(talk.usage) == [Ended("peer", "BYE (Q.850;cause=16)")]
    assert talk.answer("BYE") == "SIP/2.0 481 Call/Transaction Does Not Exist"


def test_both_may_hang_up_at_once() -> None:
    pair = Pair()
    out, into = pair.connected()
    out.hangup(pair.net.now)
    into.hangup(pair.net.now)
    pair.net.run(40.0)
    assert pair.alice.events_of(out)[-1] == Ended("local", "hung up")
    assert pair.bob.events_of(into)[-1] == Ended("local", "hung up")
    assert pair.alice.kinds_of(out).count("Ended") == 1


def test_hanging_up_twice_sends_one_bye() -> None:
    talk = Talk()
    talk.usage.hangup(0.0)
    talk.usage.hangup(0.0)
    assert [one.start_line[:3] for one in talk.bob.said()] == ["BYE"]


def test_a_bye_that_nobody_answers() -> None:
    talk = Talk()
    talk.usage.hangup(0.0)
    talk.bob.wait_until(32.0)
    assert talk.bob.events_of(talk.usage) == [Ended("local", "hung up")]


def test_info() -> None:
    talk = Talk()
    headers = "Content-Type: application/dtmf-relay\r\n"
    data = message("INFO", to_tag=talk.tag, cseq=2, branch="z9hG4bKi", headers=headers)
    data = data.replace(b"Content-Length: 0\r\n\r\n", b"Content-Length: 8\r\n\r\nSignal=5")
    assert talk.bob.statuses(data) == [200]
    assert talk.bob.events_of(talk.usage) == [InfoReceived("application/dtmf-relay", b"Signal=5")]


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("OPTIONS", "SIP/2.0 200 OK"),
        ("MESSAGE", "SIP/2.0 200 OK"),
        ("PRACK", "SIP/2.0 481 no such provisional response"),
        ("REGISTER", "SIP/2.0 405 Method Not Allowed"),
        ("FOO", "SIP/2.0 501 Not Implemented"),
    ],
)
def test_other_requests_within_a_call(method: str, answer: str) -> None:
    assert Talk().answer(method) == answer


def test_requests_from_the_past_are_refused() -> None:
    talk = Talk()
    talk.answer("OPTIONS", cseq=9)
    assert talk.answer("BYE", cseq=8) == "SIP/2.0 500 CSeq is lower than before"
    assert talk.usage.state is UsageState.CONFIRMED


def test_t18_bye_carries_the_owners_headers_and_a_bad_one_does_not_keep_it_back() -> None:
    talk = Talk()
    talk.usage.hangup(0.0, [("Via", "x"), ("X-Why", "done")])
    (bye,) = talk.bob.said()
    assert bye.headers.get("x-why") == "done"
    assert len(bye.headers.all("via")) == 1


def test_t18_without_headers_bye_has_none_of_ours() -> None:
    talk = Talk()
    talk.usage.hangup(0.0)
    (bye,) = talk.bob.said()
    assert {name for name, _ in bye.headers.fields} == {
        "Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "User-Agent", "Content-Length",
    }  # fmt: skip


def test_t39_bye_may_come_before_the_ack() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER))
    usage = bob.incoming[0]
    usage.accept(ANSWER, 0.0)
    tag = bob.said()[-1].to.tag
    assert bob.statuses(message("BYE", to_tag=tag, cseq=2, branch="z9hG4bKb")) == [200]
    assert bob.events_of(usage) == [Ended("peer", "BYE")]
    assert bob.wait_until(60.0) == []
    assert bob.hear(message("ACK", to_tag=tag, branch="z9hG4bKa"), 60.0) == []


def test_info_of_any_type_is_taken() -> None:
    talk = Talk()
    talk.request("INFO", headers="Content-Type: application/x-foo\r\n")
    assert talk.events == [InfoReceived("application/x-foo", b"")]


def test_message() -> None:
    talk = Talk()
    data = message("MESSAGE", to_tag=talk.tag, cseq=2, branch="z9hG4bKm", body="grüß dich".encode())
    assert talk.bob.statuses(data.replace(b"application/sdp", b"text/plain;charset=utf-8")) == [200]
    assert talk.events == [MessageReceived("text/plain;charset=utf-8", "grüß dich".encode())]


@pytest.mark.parametrize("method", ["MESSAGE", "INFO"])
def test_saying_something_tells_what_became_of_it(method: str) -> None:
    dialed = Dialed()
    dialed.usage.say(method, b"hello", "text/plain", [("X-A", "1")], 0.0)
    sent = dialed.said()
    assert (sent.method, sent.body, sent.headers.get("content-type")) == (method, b"hello", "text/plain")
    assert sent.headers.get("x-a") == "1"
    dialed.hear(sent, 415)
    assert dialed.events == [MessageAnswered(method, 415, "Whatever")]


def test_nothing_can_be_said_before_there_is_a_dialog() -> None:
    pair = Pair()
    out = pair.call()
    out.say("MESSAGE", b"hello", "text/plain", (), 0.0)
    assert pair.alice.events_of(out) == [MessageAnswered("MESSAGE", 481, "there is no dialog")]
    with pytest.raises(LocalProtocolError):
        out.say("MESSAGE", b"hello", "text/plain", [("Via", "x")], 0.0)


def test_nothing_is_told_after_the_end() -> None:
    dialed = Dialed()
    dialed.usage.say("INFO", b"x", "text/plain", (), 0.0)
    info = dialed.said()
    dialed.request("BYE")
    dialed.hear(info, 200)
    assert dialed.events == [Ended("peer", "BYE")]


def test_refusals_say_why_in_headers_too() -> None:
    talk = Talk()
    talk.answer("OPTIONS", cseq=9)
    (response,) = talk.request("INFO", cseq=8)
    assert response.headers.get("warning") == '399 10.0.0.2 "CSeq is lower than before"'
    assert response.headers.get("reason") == 'SIP;cause=500;text="CSeq is lower than before"'


# --- hostile peers -----------------------------------------------------------------------------------------

WITHIN = [
    ("INVITE", "Session-Expires: 90;refresher=uas\r\nSupported: timer\r\n", OFFER),
    ("INVITE", "", b""),
    ("UPDATE", "Allow: UPDATE\r\nSession-Expires: 90\r\n", OFFER),
    ("PRACK", "RAck: 1 1 INVITE\r\n", b""),
    ("INFO", "", b"Signal=1"),
    ("MESSAGE", "", b"hello"),
    ("REFER", "Refer-To: <sip:c@d?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\nReferred-By: <sip:a@b>\r\n", b""),
    ("NOTIFY", "Event: refer;id=2\r\nSubscription-State: active;expires=60\r\n", b"SIP/2.0 180 Ringing\r\n"),
    ("ACK", "", ANSWER),
    ("OPTIONS", "Require: timer\r\n", b""),
]
STATUSES = [100, 183, 200, 202, 401, 407, 408, 422, 481, 488, 491, 500]
HEADERS = (
    'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\nMin-SE: 2000\r\nRetry-After: 1\r\n'
    "Session-Expires: 100;refresher=uac\r\nRequire: 100rel\r\nRSeq: 1\r\n"
)


def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with a few bytes replaced, removed or repeated, more often in what comes late."""
    raw = bytearray(data)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(len(raw) // 3, len(raw)))
        new = draw(
            st.one_of(st.binary(max_size=6), st.sampled_from([b"\r\n", b";", b'"', b"<", b"\xff", b"9" * 30]))
        )
        raw[start : start + draw(st.integers(0, 8))] = new
    return bytes(raw)


@st.composite
def requests(draw: st.DrawFn) -> "tuple[bytes, bool]":
    method, headers, body = draw(st.sampled_from(WITHIN))
    cseq = draw(st.integers(1, 9))
    data = message(method, to_tag="TAG", cseq=cseq, branch=f"z9hG4bK{method}{cseq}", headers=headers, body=body)
    return damaged(draw, data), draw(st.booleans())


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(requests(), min_size=1, max_size=8))
def test_nothing_that_a_peer_sends_breaks_a_call(heard: "list[tuple[bytes, bool]]") -> None:
    talk = Talk()
    for now, (data, answers) in enumerate(heard):
        talk.bob.hear(data.replace(b"TAG", talk.tag.encode()), float(now))
        if answers:
            talk.usage.remote_offer.answer(ANSWER, 200, "", float(now))
            talk.usage.transfer_asked.notify(200, "", float(now), final=True)
    for usage in talk.bob.incoming:  # without its tag a damaged re-INVITE begins another call
        usage.hangup(9.0)
    talk.bob.wait_until(400.0)
    assert talk.bob.kinds_of(talk.usage).count("Ended") == 1
    assert talk.bob.dialogs == {}
    assert talk.bob.next_deadline() is None


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_nothing_that_a_peer_answers_breaks_a_call(data: st.DataObject) -> None:
    dialed = Dialed(credentials=Credentials("u", "p"))
    dialed.usage.say("INFO", b"x", "text/plain", (), 0.0)
    dialed.usage.transfer.send("sip:c@d", None, (), 0.0)
    dialed.usage.local_offer.make(OFFER, 0.0)
    waiting = [one for one in dialed.alice.said() if isinstance(one, Request)]
    for now in range(data.draw(st.integers(1, 10))):
        if not waiting:
            break
        request = data.draw(st.sampled_from(waiting))
        status = data.draw(st.sampled_from(STATUSES))
        raw = data.draw(st.composite(damaged)(reply(request, status, headers=HEADERS, body=ANSWER)))
        waiting += [one for one in dialed.alice.hear(raw, float(now), source=BOB) if isinstance(one, Request)]
    dialed.usage.hangup(20.0)
    dialed.alice.wait_until(400.0)
    assert dialed.alice.kinds_of(dialed.usage).count("Ended") == 1
    assert dialed.alice.dialogs == {}
    assert dialed.alice.next_deadline() is None


def test_a_peer_that_connects_again_is_reached_over_its_new_connection() -> None:
    first, second = Hop("8.8.8.8", 40000, "tcp"), Hop("8.8.4.4", 50000, "tcp")
    bob = Agent(BOB)
    via = "SIP/2.0/TCP 10.0.0.1:5060"
    bob.hear(message("INVITE", via=via, body=OFFER), source=first)
    usage = bob.incoming[0]
    usage.accept(ANSWER, 0.0)
    tag = bob.said()[-1].to.tag
    bob.hear(message("ACK", via=via, branch="z9hG4bKa", to_tag=tag), source=first)
    bob.stack.connection_closed(first, "the connection was lost", 1.0)
    bob.hear(message("UPDATE", via=via, branch="z9hG4bKu", to_tag=tag, cseq=2), 2.0, source=second)
    assert second in bob.stack.hops_in_use
    usage.hangup(3.0)
    bye = bob.said()[-1]
    assert (bye.start_line, bob.sent[-1][1]) == ("BYE sip:alice@10.0.0.1:5060 SIP/2.0", second)


def test_what_comes_without_tls_leads_no_call_away_from_it() -> None:
    nat = Hop("93.184.216.34", 40_000, "tls")
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER, via="SIP/2.0/TLS 10.0.0.1:5061"), source=nat)
    usage = bob.incoming[0]
    assert usage.dialog is not None
    usage.accept(ANSWER, 0.0)
    tag = usage.dialog.local_tag
    bob.hear(message("ACK", to_tag=tag, branch="z9hG4bKack"), source=nat)
    stranger, again = Hop("8.8.8.8", 5060), nat._replace(port=40_001)
    bob.hear(message("OPTIONS", to_tag=tag, cseq=2, branch="z9hG4bK2"), source=stranger)
    assert usage.dialog.destination() == nat
    bob.hear(message("OPTIONS", to_tag=tag, cseq=3, branch="z9hG4bK3"), source=again)
    assert usage.dialog.destination() == again
