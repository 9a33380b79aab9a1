from collections.abc import Sequence

import pytest

from active_call.core.errors import LocalProtocolError
from active_call.sip.auth import Credentials
from active_call.sip.events import Answered, Ended, Rejected, Ringing
from active_call.sip.message import Request, Response
from active_call.sip.outbound import OutboundUsage
from active_call.sip.usage import UsageState
from tests.unit.sip.support import ALICE, ANSWER, BOB, OFFER, Agent, Pair, reply

CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n'
PROXY_CHALLENGE = 'Proxy-Authenticate: Digest realm="p", nonce="m"\r\n'


def dialing(**options: object) -> tuple[Agent, OutboundUsage, Request]:
    """Alice, her call to Bob, and its INVITE."""
    alice = Agent(ALICE)
    usage = alice.stack.invite(
        "sip:bob@10.0.0.2",
        caller="sip:alice@example.com",
        sdp=OFFER,
        now=0.0,
        **options,  # type: ignore[arg-type]
    )
    return alice, usage, only(alice.said())


def only(said: Sequence[Request | Response]) -> Request:
    (request,) = said
    assert isinstance(request, Request)
    return request


def answered() -> tuple[Agent, OutboundUsage, Request]:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 200, body=ANSWER), source=BOB)
    return alice, usage, invite


def test_the_invite() -> None:
    _, _, invite = dialing(headers={"X-Account": "7", "max-forwards": "9"}, call_id="s.1")
    assert invite.start_line == "INVITE sip:bob@10.0.0.2 SIP/2.0"
    assert str(invite.via).startswith("SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK")
    assert "rport" in invite.via.params
    assert invite.from_.uri == "sip:alice@example.com"
    assert invite.from_.tag
    assert invite.headers.get("to") == "<sip:bob@10.0.0.2>"
    assert invite.headers.get("contact") == "<sip:alice@10.0.0.1:5060>"
    assert invite.headers.all("max-forwards") == ["70"]
    assert invite.headers.get("x-account") == "7"
    assert (invite.call_id, invite.cseq, invite.body) == ("s.1", (1, "INVITE"), OFFER)


def test_ringing_then_answered() -> None:
    alice, usage, invite = dialing()
    assert alice.hear(reply(invite, 100, tag="")) == []
    assert str(usage.state) == "calling"
    alice.hear(reply(invite, 180))
    assert str(usage.state) == "early"
    ack = only(alice.hear(reply(invite, 200, body=ANSWER)))
    assert ack.start_line == "ACK sip:bob@10.0.0.2:5060 SIP/2.0"
    assert ack.cseq == (1, "ACK")
    assert ack.via.branch != invite.via.branch
    assert alice.events_of(usage) == [Ringing(180, "Whatever", None), Answered(ANSWER)]


def test_early_media_stands_in_for_an_answer_without_sdp() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 183, body=ANSWER))
    alice.hear(reply(invite, 200))
    assert alice.events_of(usage) == [Ringing(183, "Whatever", ANSWER), Answered(ANSWER)]


def test_a_repeated_200_gets_the_same_ack() -> None:
    alice, usage, invite = dialing()
    first = alice.hear(reply(invite, 200, body=ANSWER))
    assert alice.hear(reply(invite, 200, body=ANSWER), 1.0) == first
    assert alice.kinds_of(usage) == ["Answered"]


def test_another_fork_that_answers_gets_ack_and_bye() -> None:
    alice, usage, invite = answered()
    ack, bye = alice.hear(reply(invite, 200, tag="other", body=ANSWER))
    assert isinstance(ack, Request)
    assert isinstance(bye, Request)
    assert (ack.method, bye.method, ack.to.tag, bye.to.tag) == ("ACK", "BYE", "other", "other")
    assert [one.start_line[:3] for one in alice.hear(reply(invite, 200, tag="other"))] == ["ACK"]
    assert usage.state is UsageState.CONFIRMED


def test_a_rejection() -> None:
    alice, usage, invite = dialing()
    ack = only(alice.hear(reply(invite, 486, headers="X-Why: lunch\r\n")))
    assert ack.method == "ACK"
    rejected, ended = alice.events_of(usage)
    assert isinstance(rejected, Rejected)
    assert (rejected.status, rejected.headers["X-Why"]) == (486, "lunch")
    assert ended == Ended("peer", "486 Whatever")


def test_a_redirection_is_a_rejection() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 302))
    assert alice.kinds_of(usage) == ["Rejected", "Ended"]


def test_nobody_there() -> None:
    alice, usage, _ = dialing()
    alice.wait_until(31.9)
    assert alice.events_of(usage) == []
    alice.wait_until(32.0)
    assert alice.events_of(usage) == [
        Rejected(408, "Request Timeout", {}),
        Ended("timeout", "408 Request Timeout"),
    ]


def test_ringing_for_ever_is_given_up_after_three_minutes() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 180))
    cancel = only(alice.wait_until(180.0))
    assert cancel.method == "CANCEL"
    assert alice.kinds_of(usage) == ["Ringing", "Rejected"]
    alice.hear(reply(invite, 487), 180.1)
    assert alice.events_of(usage)[-1] == Ended("timeout", "408 Request Timeout")


def test_a_socket_that_fails() -> None:
    alice, usage, _ = dialing()
    alice.stack.transport_failed(BOB, 0.1)
    assert alice.events_of(usage) == [
        Rejected(503, "Transport Error", {}),
        Ended("peer", "503 Transport Error"),
    ]


# --- giving up -------------------------------------------------------------------------------------------


def test_cancel_waits_for_the_first_response() -> None:
    alice, usage, invite = dialing()
    usage.hangup(0.0)
    assert alice.said() == []
    cancel = only(alice.hear(reply(invite, 100, tag="")))
    assert cancel.start_line == "CANCEL sip:bob@10.0.0.2 SIP/2.0"
    assert cancel.via == invite.via
    assert cancel.cseq == (1, "CANCEL")
    assert cancel.headers.get("to") == invite.headers.get("to")
    alice.hear(reply(cancel, 200))
    assert only(alice.hear(reply(invite, 487))).method == "ACK"
    assert alice.events_of(usage) == [Ended("local", "hung up")]


def test_cancel_while_ringing_is_sent_once() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 180))
    usage.hangup(0.0)
    usage.hangup(0.0)
    assert only(alice.said()).method == "CANCEL"
    assert alice.hear(reply(invite, 180)) == []


def test_an_answer_that_crosses_our_cancel_is_ended_by_bye() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 180))
    usage.hangup(0.0)
    alice.said()
    ack, bye = alice.hear(reply(invite, 200, body=ANSWER))
    assert isinstance(ack, Request)
    assert isinstance(bye, Request)
    assert (ack.method, bye.method) == ("ACK", "BYE")
    alice.hear(reply(bye, 200))
    assert alice.kinds_of(usage) == ["Ringing", "Ended"]


def test_a_peer_that_ignores_our_cancel_is_left_after_32_seconds() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 180))
    usage.hangup(0.0)
    alice.wait_until(32.0)
    assert alice.events_of(usage)[-1] == Ended("local", "hung up")
    assert alice.stack.transactions == 0


def test_a_peer_called_by_name_is_reached_at_its_contact() -> None:
    alice = Agent(ALICE)
    alice.stack.invite("sip:bob@pbx.local", caller="sip:a@b", sdp=OFFER, now=0.0)
    data = reply(only(alice.said()), 200, body=ANSWER).replace(
        b"<sip:bob@10.0.0.2:5060>", b"<sip:bob@10.0.0.9:5080>"
    )
    alice.hear(data, source=BOB)
    assert alice.sent[-1][1] == ("10.0.0.9", 5080)


def test_a_contact_behind_a_nat_is_reached_where_its_answer_came_from() -> None:
    alice = Agent(ALICE)
    alice.stack.invite("sip:bob@trunk.example", caller="sip:a@b", sdp=OFFER, now=0.0)
    alice.hear(reply(only(alice.said()), 200, body=ANSWER), source=("8.8.8.8", 5062))
    assert alice.sent[-1][1] == ("8.8.8.8", 5062)


# --- authentication --------------------------------------------------------------------------------------


def test_a_challenge_is_answered_once() -> None:
    alice, usage, invite = dialing(credentials=Credentials("u", "p"))
    ack, second = alice.hear(reply(invite, 401, headers=CHALLENGE))
    assert isinstance(second, Request)
    assert isinstance(ack, Request)
    assert ack.method == "ACK"
    assert second.cseq == (2, "INVITE")
    assert second.via.branch != invite.via.branch
    assert (second.call_id, second.from_) == (invite.call_id, invite.from_)
    assert (second.headers.get("authorization") or "").startswith('Digest username="u", realm="r"')
    alice.hear(reply(second, 401, headers=CHALLENGE))
    assert alice.kinds_of(usage) == ["Rejected", "Ended"]


def test_a_proxy_and_then_the_callee_may_ask() -> None:
    alice, usage, invite = dialing(credentials=Credentials("u", "p"))
    _, second = alice.hear(reply(invite, 407, headers=PROXY_CHALLENGE))
    assert isinstance(second, Request)
    _, third = alice.hear(reply(second, 401, headers=CHALLENGE))
    assert isinstance(third, Request)
    assert "proxy-authorization" in third.headers
    assert "authorization" in third.headers
    ack = only(alice.hear(reply(third, 200, body=ANSWER)))
    assert ack.cseq == (3, "ACK")
    assert alice.kinds_of(usage) == ["Answered"]


def test_a_proxy_and_the_callee_may_share_a_realm() -> None:
    alice, usage, invite = dialing(credentials=Credentials("u", "p"))
    _, second = alice.hear(reply(invite, 407, headers=PROXY_CHALLENGE))
    assert isinstance(second, Request)
    _, third = alice.hear(reply(second, 401, headers=CHALLENGE.replace('realm="r"', 'realm="p"')))
    assert isinstance(third, Request)
    assert "proxy-authorization" in third.headers
    assert "authorization" in third.headers


def test_without_credentials_a_challenge_is_a_rejection() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 401, headers=CHALLENGE))
    assert alice.kinds_of(usage) == ["Rejected", "Ended"]


def test_a_challenge_to_our_bye_is_answered_too() -> None:
    alice, usage, invite = dialing(credentials=Credentials("u", "p"))
    alice.hear(reply(invite, 200, body=ANSWER))
    usage.hangup(0.0)
    bye = only(alice.said())
    second = only(alice.hear(reply(bye, 407, headers=PROXY_CHALLENGE)))
    assert "proxy-authorization" in second.headers
    assert second.cseq == (3, "BYE")
    alice.hear(reply(second, 200))
    assert alice.events_of(usage)[-1] == Ended("local", "hung up")


def test_a_bye_may_be_challenged_by_a_proxy_and_then_by_the_callee() -> None:
    alice, usage, invite = dialing(credentials=Credentials("u", "p"))
    alice.hear(reply(invite, 200, body=ANSWER))
    usage.hangup(0.0)
    second = only(alice.hear(reply(only(alice.said()), 407, headers=PROXY_CHALLENGE)))
    third = only(alice.hear(reply(second, 401, headers=CHALLENGE)))
    assert "proxy-authorization" in third.headers
    assert "authorization" in third.headers


# --- broken peers ----------------------------------------------------------------------------------------


def test_a_200_whose_contact_is_useless_is_a_rejection() -> None:
    alice, usage, invite = dialing()
    data = reply(invite, 200, body=ANSWER).replace(b"Contact: <sip:bob@10.0.0.2:5060>", b"Contact: <tel:1>")
    assert alice.hear(data) == []
    rejected, ended = alice.events_of(usage)
    assert isinstance(rejected, Rejected)
    assert rejected.status == 502
    assert isinstance(ended, Ended)


@pytest.mark.parametrize(
    ("target", "caller", "headers"),
    [
        ("tel:+12", "sip:a@b", {}),
        ("sips:a@b", "sip:a@b", {}),
        ("sip:a@b;transport=tcp", "sip:a@b", {}),
        ("a b", "sip:a@b", {}),
        ("sip:a@b?Replaces=1", "sip:a@b", {}),
        ("sip:a@b", "<sip:a b>", {}),
        ("sip:a@b", "sip:a@b", {"To": "x"}),
        ("sip:a@b", "sip:a@b", {"A B": "x"}),
    ],
)
def test_what_can_not_be_sent_is_said_at_once(target: str, caller: str, headers: dict[str, str]) -> None:
    alice = Agent(ALICE)
    with pytest.raises(LocalProtocolError):
        alice.stack.invite(target, caller=caller, sdp=OFFER, now=0.0, headers=headers)
    assert alice.said() == []


def test_a_header_can_not_smuggle_lines() -> None:
    _, _, invite = dialing(headers={"X-A": "1\r\nRoute: <sip:evil>"})
    assert invite.headers.get("x-a") == "1 Route: <sip:evil>"
    assert "route" not in invite.headers


def test_nothing_that_is_given_can_smuggle_lines() -> None:
    evil = "1\r\nRoute: <sip:evil>\r\nX: "
    alice = Agent(ALICE)
    alice.stack.invite(
        "sip:bob@10.0.0.2",
        caller=f'"{evil}" <sip:a@b>',
        sdp=OFFER,
        now=0.0,
        credentials=Credentials(evil, "p"),
    )
    invite = only(alice.said())
    assert "route" not in invite.headers
    _, second = alice.hear(reply(invite, 401, headers=CHALLENGE))
    assert "route" not in second.headers
    with pytest.raises(LocalProtocolError, match="Call-ID"):
        dialing(call_id=evil)


def test_short_spellings_of_caller_and_callee() -> None:
    alice = Agent(ALICE)
    alice.stack.invite("bob@10.0.0.2:5070", caller="agent", sdp=OFFER, now=0.0)
    invite = only(alice.said())
    assert invite.uri == "sip:bob@10.0.0.2:5070"
    assert invite.from_.uri == "sip:agent@10.0.0.1"
    assert alice.sent[0][1] == ("10.0.0.2", 5070)


def test_a_call_through_a_bad_network() -> None:
    for seed in range(20):
        pair = Pair(loss=0.3, duplicate=0.2, jitter=0.2, seed=seed)
        out = pair.call()
        pair.net.run(30.0, until=lambda pair=pair: bool(pair.bob.incoming))  # type: ignore[misc]
        into = pair.bob.incoming[0]
        into.accept(ANSWER, pair.net.now)
        pair.net.run(30.0, until=lambda out=out: out.state is UsageState.CONFIRMED)  # type: ignore[misc]
        pair.net.run(10.0)
        out.hangup(pair.net.now)
        pair.net.run(120.0)
        assert len(pair.bob.incoming) == 1
        assert pair.alice.kinds_of(out) == ["Answered", "Ended"]
        assert pair.bob.kinds_of(into)[-1] == "Ended"
        assert pair.alice.stack.transactions == pair.bob.stack.transactions == 0
