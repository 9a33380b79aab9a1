from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from active_call.core.tokens import token_source
from active_call.sip.events import Declined
from active_call.sip.hop import Hop, Transport
from active_call.sip.messages.capabilities import EXTENSIONS, METHODS
from active_call.sip.messages.message import Request, Response, parse_message
from active_call.sip.stack import SipStack
from tests.unit.sip.support import ALICE, ANSWER, BOB, OFFER, Agent, message, reply


@pytest.fixture
def bob() -> Agent:
    return Agent(BOB)


def answer(bob: Agent, data: bytes) -> Response:
    (response,) = bob.hear(data)
    assert isinstance(response, Response)
    return response


def test_options(bob: Agent) -> None:
    response = answer(bob, message("OPTIONS"))
    assert response.status == 200
    assert response.to.tag
    assert response.headers.get("accept") == "application/sdp"
    assert response.headers.items("allow") == [*METHODS]
    assert response.headers.items("supported") == [*EXTENSIONS]


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\x00", b"\x00\x00\x00\x00"])
def test_keep_alives_are_ignored(bob: Agent, data: bytes) -> None:
    assert bob.hear(data) == []


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("REGISTER", 405),
        ("MESSAGE", 405),
        ("NEWMETHOD", 501),
        ("BYE", 481),
        ("INFO", 481),
        ("UPDATE", 481),
        ("REFER", 403),
    ],
)
def test_methods_outside_a_call(bob: Agent, method: str, status: int) -> None:
    response = answer(bob, message(method))
    assert response.status == status
    assert ("allow" in response.headers) is (status in (405, 501))


@pytest.mark.parametrize("method", ["INVITE", "BYE", "OPTIONS", "INFO", "CANCEL"])
def test_an_unknown_dialog(bob: Agent, method: str) -> None:
    assert answer(bob, message(method, to_tag="nobody")).status == 481


def test_cancel_of_nothing(bob: Agent) -> None:
    assert answer(bob, message("CANCEL")).status == 481


def test_ack_of_nothing_is_ignored(bob: Agent) -> None:
    assert bob.hear(message("ACK", to_tag="x")) == []


def test_extensions_that_we_do_not_know(bob: Agent) -> None:
    response = answer(bob, message("INVITE", headers="Require: 100rel, foo\r\n"))
    assert response.status == 420
    assert response.headers.get("unsupported") == "foo"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Accept: text/nobodyKnowsThis\r\n", 406),
        ("Content-Encoding: gzip\r\n", 415),
        ("Record-Route: <tel:1>\r\n", 400),
    ],
)
def test_invites_that_can_not_be_served(bob: Agent, headers: str, status: int) -> None:
    assert answer(bob, message("INVITE", headers=headers, body=OFFER)).status == status
    assert bob.incoming == []


def test_an_unsupported_body_says_what_is_supported(bob: Agent) -> None:
    response = answer(bob, message("INVITE", body=b"x").replace(b"application/sdp", b"application/foo"))
    assert (response.status, response.headers.get("accept")) == (415, "application/sdp")


def test_not_accepting(bob: Agent) -> None:
    bob.stack.accepting = False
    for method in ("INVITE", "OPTIONS"):
        response = answer(bob, message(method))
        assert (response.status, response.headers.get("retry-after")) == (503, "10")


def test_a_request_that_came_over_two_paths(bob: Agent) -> None:
    bob.hear(message("INVITE", body=OFFER))
    assert bob.statuses(message("INVITE", body=OFFER, branch="z9hG4bK2")) == [482]
    assert len(bob.incoming) == 1


def test_an_old_peer_without_branches(bob: Agent) -> None:
    invite = message("INVITE", body=OFFER).replace(b";branch=z9hG4bK1", b"")
    assert bob.statuses(invite) == [100]
    assert bob.statuses(invite) == [100]
    assert len(bob.incoming) == 1
    bob.incoming[0].reject(486, "", 0.0)
    tag = bob.said()[0].to.tag
    assert bob.hear(message("ACK", to_tag=tag).replace(b";branch=z9hG4bK1", b"")) == []
    assert bob.wait_until(60.0) == []


def test_a_broken_request_gets_400_with_a_reason_each_time_the_same(bob: Agent) -> None:
    data = message("INVITE").replace(b"CSeq: 1 INVITE", b"CSeq: x")
    first, second = answer(bob, data), answer(bob, data)
    assert first.start_line == "SIP/2.0 400 Bad Request: malformed CSeq"
    assert first == second
    assert bob.stack.transactions == 0


@pytest.mark.parametrize(
    "data",
    [
        message("OPTIONS").replace(b"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1\r\n", b""),
        message("OPTIONS").replace(b"SIP/2.0/UDP 10.0.0.1:5060", b"nonsense"),
        message("ACK").replace(b"CSeq: 1", b"CSeq: x"),
        reply(Agent(ALICE).stack.invite("a@10.0.0.2", caller="b", sdp=b"", now=0.0).request, 200),
        b"SIP/2.0 abc\r\n\r\n",
    ],
)
def test_what_can_not_be_answered_is_dropped(bob: Agent, data: bytes) -> None:
    assert bob.hear(data) == []


def test_responses_go_where_via_says(bob: Agent) -> None:
    bob.hear(message("OPTIONS", via="SIP/2.0/UDP 10.0.0.1:7777"), source=Hop("10.0.0.1", 4000))
    bob.hear(
        message("OPTIONS", via="SIP/2.0/UDP 10.0.0.1:7777;rport", branch="z9hG4bK2"),
        source=Hop("10.0.0.1", 4000),
    )
    assert [destination for _, destination in bob.sent] == [Hop("10.0.0.1", 7777), Hop("10.0.0.1", 4000)]


MESSAGES = [
    message("INVITE", body=OFFER),
    message("INVITE", body=OFFER, headers="Record-Route: <sip:p;lr>\r\nRequire: x\r\nAccept: */*\r\n"),
    message("OPTIONS", via='SIP/2.0/UDP "x";rport, SIP/2.0/UDP y'),
    message("ACK"),
    message("CANCEL"),
    message("BYE", to_tag="x"),
    message("REGISTER", headers='Authorization: Digest a="b"\r\n'),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One of our messages with some bytes replaced, removed or repeated."""
    data = bytearray(draw(st.sampled_from(MESSAGES)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 12))
        new = draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from(
                    [b"\r\n", b";", b",", b'"', b"<", b">", b":", b" ", b"\x00", b"\xff", b"tag=", b"@"]
                ),
                st.just(bytes(data[start : start + 40]) * 2),
            )
        )
        data[start : start + length] = new
    return bytes(data)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(mutated(), min_size=1, max_size=5))
def test_nothing_that_a_peer_sends_breaks_the_server(datagrams: list[bytes]) -> None:
    bob = Agent(BOB)
    for data in datagrams:
        bob.hear(data)
    for usage in bob.incoming:
        usage.accept(ANSWER, 0.0)
        usage.hangup(0.0)
    bob.wait_until(40.0)
    assert bob.statuses(message("OPTIONS", branch="z9hG4bKfine", call_id="fine"), 40.0) == [200]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_nothing_that_a_callee_answers_breaks_the_client(data: st.DataObject) -> None:
    alice = Agent(ALICE)
    usage = alice.stack.invite("sip:bob@10.0.0.2", caller="sip:a@b", sdp=OFFER, now=0.0)
    alice.said()
    for _ in range(data.draw(st.integers(1, 4))):
        status = data.draw(st.sampled_from([100, 180, 200, 302, 401, 486, 999]))
        raw = bytearray(reply(usage.request, status, body=ANSWER, headers="Record-Route: <sip:p;lr>\r\n"))
        for _ in range(data.draw(st.integers(0, 3))):
            start = data.draw(st.integers(0, len(raw)))
            raw[start : start + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
        alice.hear(bytes(raw), source=BOB)
    usage.hangup(1.0)
    alice.wait_until(200.0)
    assert alice.kinds_of(usage).count("Ended") == 1
    assert alice.kinds_of(usage)[-1] == "Ended"
    assert alice.statuses(message("OPTIONS", branch="z9hG4bKfine", call_id="fine"), 200.0) == [200]


# --- what an operator may choose -------------------------------------------------------------------------


def chosen(**options: Any) -> SipStack:
    return SipStack(local=lambda _: BOB[:2], tokens=token_source(1), **options)


def test_options_can_be_left_unanswered() -> None:
    stack = chosen(answer_options=False)
    stack.receive_datagram(message("OPTIONS"), ALICE, 0.0)
    assert stack.datagrams_to_send() == []
    assert stack.transactions == 0


def test_a_suffix_for_the_call_ids_that_we_make() -> None:
    stack = chosen(callid_suffix="sip.example.com")
    made = stack.invite("sip:bob@10.0.0.2", caller="sip:a@b", sdp=OFFER, now=0.0)
    given = stack.invite("sip:bob@10.0.0.2", caller="sip:a@b", sdp=OFFER, now=0.0, call_id="mine")
    assert made.call_id.endswith("@sip.example.com")
    assert given.call_id == "mine"


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_t30_a_ping_is_answered_where_it_came_from(transport: Transport) -> None:
    bob = Agent(BOB)
    source = Hop("10.0.0.1", 40000, transport)
    ping = message("OPTIONS", via=f"SIP/2.0/{transport.upper()} 10.0.0.1:5060;rport")
    (answer,) = bob.hear(ping, source=source)
    assert isinstance(answer, Response)
    assert answer.status == 200
    assert answer.headers.get("accept") == "application/sdp"
    assert "INVITE" in (answer.headers.get("allow") or "")
    assert bob.sent[-1][1] == source


def test_how_peers_see_us_is_told_of_answers_to_our_own_requests_only() -> None:
    learnt: list[tuple[Hop, str | None]] = []
    stack = chosen(learn=lambda peer, via: learnt.append((peer, via.params.get("received"))))
    usage = stack.invite("sip:bob@10.0.0.2", caller="sip:a@b", sdp=OFFER, now=0.0)
    invite = parse_message(stack.datagrams_to_send()[0][0])
    assert isinstance(invite, Request)
    ringing = reply(invite, 180).replace(b";rport", b";rport=7;received=8.8.8.8")
    stack.receive_datagram(ringing.replace(b"z9hG4bK", b"z9hG4bKforged"), ALICE, 0.0)
    stack.receive_datagram(ringing, BOB, 0.0)
    assert learnt == [(BOB, "8.8.8.8")]
    assert usage.call_id


def test_invites_that_become_no_calls_are_told() -> None:
    declined: list[Declined] = []
    stack = chosen(on_declined=declined.append)
    stack.receive_datagram(message("INVITE", body=OFFER, headers="Require: magic\r\n"), ALICE, 0.0)
    stack.accepting = False
    stack.receive_datagram(message("INVITE", body=OFFER, call_id="c2", branch="z9hG4bK2"), ALICE, 0.0)
    stack.receive_datagram(message("OPTIONS", call_id="c3", branch="z9hG4bK3"), ALICE, 0.0)
    assert [(one.status, one.reason, one.call_id) for one in declined] == [
        (420, "", "c1"),
        (503, "Server shutting down", "c2"),
    ]
    refusal = stack.datagrams_to_send()[0][0].decode()
    _, tag, _ = declined[0].dialog_id.split("-")
    assert f";tag={tag}\r\n" in refusal


def test_a_proxy_may_hunt_through_our_accounts() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", uri="sip:1001@10.0.0.2", body=OFFER))
    parallel = message("INVITE", uri="sip:1002@10.0.0.2", branch="z9hG4bK2", body=OFFER)
    assert bob.statuses(parallel) == [482]
    bob.incoming[0].reject(486, "", 1.0)
    bob.hear(message("ACK", branch="z9hG4bK1", to_tag=bob.said()[-1].to.tag), 1.0)
    following = message("INVITE", uri="sip:1002@10.0.0.2", branch="z9hG4bK3", body=OFFER)
    assert bob.statuses(following, 1.1) == [100]
    again = message("INVITE", uri="sip:1003@10.0.0.2", branch="z9hG4bK4", body=OFFER)
    assert bob.statuses(again, 1.2) == [482]
    bob.incoming[1].reject(486, "", 2.0)
    bob.wait_until(100.0)
    assert not bob.stack._layer._unmerged
    assert bob.stack.transactions == 0
