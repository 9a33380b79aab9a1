from collections.abc import Sequence

import pytest

from active_call.core.errors import LocalProtocolError
from active_call.sip.dialogs.outbound import MAX_FORKS, MAX_INVITES, OutboundUsage
from active_call.sip.dialogs.usage import UsageState
from active_call.sip.events import Answered, Ended, Rejected, Ringing
from active_call.sip.hop import Hop
from active_call.sip.messages.auth import Credentials
from active_call.sip.messages.message import Request, Response
from tests.unit.sip.support import ALICE, ANSWER, BOB, OFFER, Agent, Pair, message, reply

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


def test_t07_early_media_stands_in_for_an_answer_without_sdp() -> None:
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


def test_a_redirection_without_a_target_is_a_rejection() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 380))
    assert alice.kinds_of(usage) == ["Rejected", "Ended"]
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 302).replace(b"<sip:bob@10.0.0.2:5060>", b"<tel:1>"))
    rejected, _ = alice.events_of(usage)
    words = "redirected by 302, but its Contact names nobody we can call"
    assert rejected == Rejected(302, words, {"Contact": "<tel:1>"}, ours=True)


CHECK = ": is it the right address, does a firewall drop it?"


def test_nobody_there() -> None:
    alice, usage, _ = dialing()
    alice.wait_until(31.9)
    assert alice.events_of(usage) == []
    alice.wait_until(32.0)
    assert alice.events_of(usage) == [
        Rejected(408, f"no response from 10.0.0.2:5060 in 32 s{CHECK}", {}, ours=True),
        Ended("timeout", f"408 no response from 10.0.0.2:5060 in 32 s{CHECK}"),
    ]


def test_ringing_for_ever_is_given_up_after_three_minutes() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 180))
    cancel = only(alice.wait_until(180.0))
    assert cancel.method == "CANCEL"
    assert alice.kinds_of(usage) == ["Ringing", "Rejected"]
    alice.hear(reply(invite, 487), 180.1)
    why = "the callee never answered, and was last heard of 180 s ago"
    assert alice.events_of(usage)[-1] == Ended("timeout", f"408 {why}")


def test_a_socket_that_fails() -> None:
    alice, usage, _ = dialing()
    alice.stack.transport_failed(BOB, "can't send to 10.0.0.2:5060: no route", 0.1)
    assert alice.events_of(usage) == [
        Rejected(503, "can't send to 10.0.0.2:5060: no route", {}, ours=True),
        Ended("peer", "503 can't send to 10.0.0.2:5060: no route"),
    ]


# --- giving up -------------------------------------------------------------------------------------------


def test_cancel_says_why() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 180))
    usage.hangup(0.0, (("Reason", "SIP;cause=503"), ("X-Queue", "7")))
    cancel = only(alice.said())
    assert (cancel.headers.get("reason"), cancel.headers.get("x-queue")) == ("SIP;cause=503", None)


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


def test_t15_cancel_while_ringing_is_sent_once() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 180))
    usage.hangup(0.0)
    usage.hangup(0.0)
    assert only(alice.said()).method == "CANCEL"
    assert alice.hear(reply(invite, 180)) == []


def test_t39_an_answer_that_crosses_our_cancel_is_ended_by_bye() -> None:
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
    assert alice.sent[-1][1] == Hop("10.0.0.9", 5080)


def test_a_contact_behind_a_nat_is_reached_where_its_answer_came_from() -> None:
    alice = Agent(ALICE)
    alice.stack.invite("sip:bob@trunk.example", caller="sip:a@b", sdp=OFFER, now=0.0)
    alice.hear(reply(only(alice.said()), 200, body=ANSWER), source=Hop("8.8.8.8", 5062))
    assert alice.sent[-1][1] == Hop("8.8.8.8", 5062)


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


def test_twice_refused_says_whose_password_is_wrong() -> None:
    alice, usage, invite = dialing(credentials=Credentials("u", "p"))
    _, second = alice.hear(reply(invite, 401, headers=CHALLENGE))
    assert isinstance(second, Request)
    alice.hear(reply(second, 401, headers=CHALLENGE))
    rejected, ended = alice.events_of(usage)
    words = "401 twice for realm r: user u or its password is wrong"
    assert isinstance(rejected, Rejected)
    assert rejected.reason == words
    assert ended == Ended("peer", words)


def test_after_the_call_was_authorised_its_requests_are_too() -> None:
    alice, usage, invite = dialing(credentials=Credentials("u", "p"))
    _, second = alice.hear(reply(invite, 407, headers=PROXY_CHALLENGE))
    assert isinstance(second, Request)
    ack = only(alice.hear(reply(second, 200, body=ANSWER)))
    assert ack.headers.get("proxy-authorization") == second.headers.get("proxy-authorization")
    usage.hangup(0.0)
    bye = only(alice.said())
    assert 'realm="p"' in (bye.headers.get("proxy-authorization") or "")


# --- early media and forks ---------------------------------------------------------------------------------


OTHER = ANSWER.replace(b"5000", b"6000")


def test_t07_the_answer_overrides_early_media() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 183, body=ANSWER))
    alice.hear(reply(invite, 200, body=OTHER))
    assert alice.events_of(usage) == [Ringing(183, "Whatever", ANSWER), Answered(OTHER)]
    assert usage.remote_sdp == OTHER


def test_t07_the_same_description_may_come_twice() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 183, body=ANSWER))
    alice.hear(reply(invite, 180))
    alice.hear(reply(invite, 200, body=ANSWER))
    assert alice.events_of(usage)[-1] == Answered(ANSWER)


def test_t07_each_fork_has_its_own_early_media() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 183, tag="b1", body=ANSWER))
    alice.hear(reply(invite, 183, tag="b2", body=OTHER))
    alice.hear(reply(invite, 200, tag="b1"))
    assert alice.events_of(usage)[-1] == Answered(ANSWER)


def test_forks_beyond_all_measure_are_ignored() -> None:
    alice, usage, invite = dialing()
    for number in range(100):
        alice.hear(reply(invite, 180, tag=f"b{number}"))
    assert len(alice.dialogs) == MAX_FORKS
    alice.hear(reply(invite, 200, tag="b3", body=ANSWER))
    assert usage.state is UsageState.CONFIRMED
    assert alice.hear(reply(invite, 200, tag="b99", body=ANSWER)) == []
    assert usage.state is UsageState.CONFIRMED


# --- reliable provisional responses ------------------------------------------------------------------------

RELIABLE = "Require: 100rel\r\nRSeq: {}\r\n"


def test_a_reliable_response_gets_prack() -> None:
    alice, usage, invite = dialing()
    assert "100rel" in invite.headers.items("supported")
    prack = only(alice.hear(reply(invite, 183, headers=RELIABLE.format(7), body=ANSWER)))
    assert (prack.method, prack.headers.get("rack"), prack.cseq[0]) == ("PRACK", "7 1 INVITE", 2)
    assert prack.to.tag == "b1"
    alice.hear(reply(prack, 200))
    ack = only(alice.hear(reply(invite, 200)))
    assert ack.cseq == (1, "ACK")
    assert alice.events_of(usage) == [Ringing(183, "Whatever", ANSWER), Answered(ANSWER)]
    usage.hangup(0.0)
    assert only(alice.said()).cseq[0] == 3


def test_reliable_responses_count_up() -> None:
    alice, usage, invite = dialing()
    assert len(alice.hear(reply(invite, 180, headers=RELIABLE.format(7)))) == 1
    assert alice.hear(reply(invite, 180, headers=RELIABLE.format(7))) == []  # repeated
    assert alice.hear(reply(invite, 183, headers=RELIABLE.format(9))) == []  # 8 is still to come
    assert len(alice.hear(reply(invite, 183, headers=RELIABLE.format(8)))) == 1
    assert len(alice.hear(reply(invite, 180, tag="b2", headers=RELIABLE.format(1)))) == 1  # another fork
    assert alice.kinds_of(usage) == ["Ringing"] * 3


@pytest.mark.parametrize("rseq", ["", "x", "9" * 30, "2147483648"])
def test_a_reliable_response_without_a_number_is_dropped(rseq: str) -> None:
    alice, usage, invite = dialing()
    assert alice.hear(reply(invite, 180, headers=RELIABLE.format(rseq))) == []
    assert alice.hear(reply(invite, 180, tag="", headers=RELIABLE.format(1))) == []
    assert alice.events_of(usage) == []


# --- other targets -----------------------------------------------------------------------------------------


def moved(invite: Request, *contacts: str) -> bytes:
    listed = ", ".join(contacts).encode()
    return reply(invite, 302).replace(b"<sip:bob@10.0.0.2:5060>", listed)


def test_a_redirection_is_followed_by_quality() -> None:
    alice, usage, invite = dialing()
    ack, second = alice.hear(moved(invite, "<sip:b@10.0.0.8>;q=0.1", "<sip:c@10.0.0.9:5070>;q=0.9"))
    assert isinstance(second, Request)
    assert (second.uri, second.cseq[0]) == ("sip:c@10.0.0.9:5070", 2)
    assert second.headers.get("to") == "<sip:bob@10.0.0.2>"
    assert (second.call_id, second.from_) == (invite.call_id, invite.from_)
    assert alice.sent[-1][1][:2] == ("10.0.0.9", 5070)
    _, third = alice.hear(reply(second, 486))
    assert isinstance(third, Request)
    assert third.uri == "sip:b@10.0.0.8"
    alice.hear(reply(third, 200, body=ANSWER))
    assert alice.kinds_of(usage) == ["Answered"]


def test_a_global_failure_ends_the_search() -> None:
    alice, usage, invite = dialing()
    _, second = alice.hear(moved(invite, "<sip:b@10.0.0.8>", "<sip:c@10.0.0.9>"))
    assert isinstance(second, Request)
    alice.hear(reply(second, 603))
    assert alice.kinds_of(usage) == ["Rejected", "Ended"]


def test_redirections_in_a_circle_end() -> None:
    alice, usage, invite = dialing()
    _, second = alice.hear(moved(invite, "<sip:b@10.0.0.8>"))
    assert isinstance(second, Request)
    alice.hear(moved(second, "<sip:bob@10.0.0.2>"))
    rejected, _ = alice.events_of(usage)
    assert isinstance(rejected, Rejected)
    assert rejected.status == 302


def test_each_target_at_our_server_may_ask_for_credentials() -> None:
    alice, usage, invite = dialing(credentials=Credentials("u", "p"))
    _, second = alice.hear(reply(invite, 401, headers=CHALLENGE))
    assert isinstance(second, Request)
    _, third = alice.hear(moved(second, "<sip:b@10.0.0.2>"))
    assert isinstance(third, Request)
    _, fourth = alice.hear(reply(third, 401, headers=CHALLENGE))
    assert isinstance(fourth, Request)
    assert "nc=00000001" in (fourth.headers.get("authorization") or "")
    alice.hear(reply(fourth, 200, body=ANSWER))
    assert alice.kinds_of(usage) == ["Answered"]


def test_a_password_goes_to_nobody_that_a_redirection_names() -> None:
    alice, usage, invite = dialing(credentials=Credentials("u", "p"))
    _, second = alice.hear(reply(invite, 401, headers=CHALLENGE))
    assert isinstance(second, Request)
    _, third = alice.hear(moved(second, "<sip:b@10.0.0.8>;q=1, <sip:c@10.0.0.2>;q=0.5"))
    assert isinstance(third, Request)
    assert "authorization" not in third.headers
    _, fourth = alice.hear(reply(third, 401, headers=CHALLENGE))
    assert isinstance(fourth, Request)
    assert (fourth.uri, "authorization" in fourth.headers) == ("sip:c@10.0.0.2", True)


def test_who_calls_anonymously_stays_unknown_to_who_a_redirection_names() -> None:
    headers = {"P-Asserted-Identity": "<sip:alice@example.com>", "Privacy": "id", "X-A": "1"}
    alice, _, invite = dialing(headers=headers)
    assert "p-asserted-identity" in invite.headers
    _, second = alice.hear(moved(invite, "<sip:b@10.0.0.8>"))
    assert {"p-asserted-identity", "privacy", "x-a"} & set(map(str.lower, dict(second.headers.fields))) == {
        "privacy",
        "x-a",
    }


def test_a_redirection_to_who_wants_a_password_says_that_it_gets_none() -> None:
    alice, usage, invite = dialing(credentials=Credentials("u", "p"))
    _, second = alice.hear(moved(invite, "<sip:b@10.0.0.8>"))
    assert isinstance(second, Request)
    alice.hear(reply(second, 401, headers=CHALLENGE))
    rejected, _ = alice.events_of(usage)
    assert isinstance(rejected, Rejected)
    assert "passwords go to the server that was called only" in rejected.reason


PUBLIC = Hop("93.184.216.34", 5060)


def calling_the_internet() -> tuple[Agent, OutboundUsage, Request]:
    alice = Agent(ALICE)
    alice.names = {"public.example": [PUBLIC], "inside.example": [Hop("10.0.0.7", 5060)]}
    usage = alice.stack.invite("sip:bob@public.example", caller="sip:alice@x", sdp=OFFER, now=0.0)
    return alice, usage, only(alice.said())


@pytest.mark.parametrize(
    "contact",
    [
        "<sip:b@127.0.0.1:6379;transport=tcp>",
        "<sip:b@other.example;maddr=192.168.0.1>",
        "<sip:b@inside.example>",
    ],
)
def test_nobody_in_the_internet_redirects_us_into_our_network(contact: str) -> None:
    alice, usage, invite = calling_the_internet()
    alice.sent.clear()
    (ack,) = alice.hear(moved(invite, contact), source=PUBLIC)
    assert isinstance(ack, Request)
    assert (ack.method, {hop for _, hop in alice.sent}) == ("ACK", {PUBLIC})
    rejected, _ = alice.events_of(usage)
    assert isinstance(rejected, Rejected)
    assert "in a private network" in rejected.reason


def test_redirections_within_the_internet_are_followed_and_stay_there() -> None:
    alice, usage, invite = calling_the_internet()
    _, second = alice.hear(moved(invite, "<sip:b@93.184.216.35>"), source=PUBLIC)
    assert isinstance(second, Request)
    assert alice.sent[-1][1] == Hop("93.184.216.35", 5060)
    assert len(alice.hear(moved(second, "<sip:b@10.0.0.7>"), source=PUBLIC)) == 1
    assert alice.kinds_of(usage) == ["Rejected", "Ended"]


def test_of_several_new_targets_one_that_is_not_found_is_skipped() -> None:
    alice, usage, invite = calling_the_internet()
    alice.names["nowhere.example"] = []
    _, third = alice.hear(
        moved(invite, "<sip:b@nowhere.example>;q=1, <sip:c@93.184.216.35>;q=0.5"), source=PUBLIC
    )
    assert isinstance(third, Request)
    assert third.uri == "sip:c@93.184.216.35"


def test_a_session_too_brief_for_the_callee_is_asked_for_again() -> None:
    alice, usage, invite = dialing()
    _, second = alice.hear(reply(invite, 422, headers="Min-SE: 3600\r\n"))
    assert second.headers.get("session-expires") == "3600"
    assert second.headers.get("min-se") == "3600"
    alice.hear(reply(second, 422, headers="Min-SE: 3600\r\n"))  # type: ignore[arg-type]
    assert alice.kinds_of(usage) == ["Rejected", "Ended"]


def test_a_callee_that_never_has_enough_is_left() -> None:
    alice, usage, invite = dialing()
    sent = 1
    while not alice.events_of(usage):
        said = alice.hear(reply(invite, 422, headers=f"Min-SE: {1800 + sent}\r\n"))
        if len(said) == 2:
            sent += 1
            invite = said[1]  # type: ignore[assignment]
    assert sent == MAX_INVITES


# --- what the owner may set --------------------------------------------------------------------------------


def test_a_ring_timeout_cancels_and_says_so() -> None:
    alice, usage, invite = dialing(ring_timeout=20.0)
    alice.hear(reply(invite, 180))
    cancel = only(alice.wait_until(20.0))
    assert cancel.method == "CANCEL"
    why = "it rang, but nobody picked up within 20 s (ring timeout)"
    assert cancel.headers.get("reason") == f'SIP;cause=408;text="{why}"'
    assert alice.events_of(usage)[-1] == Rejected(408, why, {}, ours=True)
    alice.hear(reply(invite, 487), 20.1)
    assert alice.events_of(usage)[-1] == Ended("timeout", f"408 {why}")


def test_a_ring_timeout_ends_with_the_answer() -> None:
    alice, usage, invite = dialing(ring_timeout=20.0)
    alice.hear(reply(invite, 200, body=ANSWER), 19.9)
    alice.wait_until(100.0)
    assert alice.kinds_of(usage) == ["Answered"]


def test_a_next_hop_is_only_where_it_is_sent_to() -> None:
    alice, _, invite = dialing(next_hop="10.0.0.9:5070")
    assert alice.sent[-1][1][:2] == ("10.0.0.9", 5070)
    assert invite.uri == "sip:bob@10.0.0.2"
    assert "route" not in invite.headers


def test_a_contact_of_the_owners() -> None:
    alice, usage, invite = dialing(contact="sip:me@203.0.113.5:5080")
    assert invite.headers.all("contact") == ["<sip:me@203.0.113.5:5080>"]
    alice.hear(reply(invite, 200, body=ANSWER))
    usage.local_offer.make(OFFER, 0.0)
    assert only(alice.said()).headers.get("contact") == "<sip:me@203.0.113.5:5080>"


def test_a_caller_that_wants_to_stay_unknown() -> None:
    headers = {"Privacy": "id", "P-Asserted-Identity": "<sip:+4930123@example.com>"}
    _, _, invite = dialing(headers=headers)
    value = invite.headers.get("from") or ""
    assert value.startswith('"Anonymous" <sip:anonymous@anonymous.invalid>;tag=')
    assert invite.headers.get("contact") == "<sip:anonymous@10.0.0.1:5060>"
    assert invite.headers.get("privacy") == "id"
    assert invite.headers.get("p-asserted-identity") == "<sip:+4930123@example.com>"


def test_t15_hanging_up_while_it_rings_is_over_with_the_487() -> None:
    pair = Pair()
    out, into = pair.ringing()
    into.ring(pair.net.now)
    pair.net.run(0.1)
    out.hangup(pair.net.now)
    pair.net.run(0.1)
    assert pair.alice.events_of(out)[-1] == Ended("local", "hung up")
    assert pair.bob.kinds_of(into) == ["Ended"]


def test_a_bye_of_the_callee_before_its_answer_ends_the_call() -> None:
    alice, usage, invite = dialing()
    alice.hear(reply(invite, 180))
    bye = message(
        "BYE", call_id=invite.call_id, from_tag="b1", to_tag=invite.from_.tag, cseq=1, branch="z9hG4bKb"
    )
    ok, cancel = alice.hear(bye, source=BOB)
    assert isinstance(cancel, Request)
    assert (ok.start_line, cancel.method) == ("SIP/2.0 200 OK", "CANCEL")
    alice.hear(reply(invite, 487))
    assert alice.events_of(usage)[-1] == Ended("peer", "BYE")


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
        ("sips:a@b;transport=udp", "sip:a@b", {}),
        ("sip:a@b;transport=sctp", "sip:a@b", {}),
        ("a b", "sip:a@b", {}),
        ("sip:a@b?Replaces=1", "sip:a@b", {}),
        ("sip:a@b", "<sip:a b>", {}),
        ("sip:a@b", "sip:a@b", {"To": "x"}),
        ("sip:a@b", "sip:a@b", {"Require": "x"}),
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
    assert alice.sent[0][1] == Hop("10.0.0.2", 5070)


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


def test_a_lost_connection_ends_a_call_that_nobody_takes_up_again() -> None:
    alice = Agent(ALICE)
    usage = alice.stack.invite(
        "sip:bob@10.0.0.2;transport=tcp", caller="sip:alice@example.com", sdp=OFFER, now=0.0
    )
    invite = only(alice.said())
    alice.hear(reply(invite, 180), source=BOB._replace(transport="tcp"))
    alice.stack.connection_closed(BOB._replace(transport="tcp"), "the connection was lost: closed", 5.0)
    alice.wait_until(37.0)
    words = "the connection was lost: closed, after 180 Ringing; no answer came in the 32 s since"
    assert alice.events_of(usage)[1:] == [Rejected(503, words, {}, ours=True), Ended("peer", f"503 {words}")]


def test_the_offer_names_the_address_that_the_callee_reaches_us_at() -> None:
    """On a host with several networks it is only known once the callee's name has been looked up."""
    alice = Agent(ALICE)
    alice.stack._layer.local = lambda hop: ("10.9.9.1" if hop.host.startswith("10.9.") else "10.0.0.1", 5060)
    alice.names["trunk.example"] = [Hop("10.9.0.2", 5060)]
    usage = alice.stack.invite(
        "sip:bob@trunk.example",
        caller="sip:a@b",
        sdp=OFFER,
        now=0.0,
        describe=lambda host: OFFER.replace(b"10.0.0.1", host.encode()),
    )
    invite = only(alice.said())
    assert (invite.via.host, invite.contact().host) == ("10.9.9.1", "10.9.9.1")
    assert invite.body == OFFER.replace(b"10.0.0.1", b"10.9.9.1") == usage.local_sdp


def test_a_180_without_record_route_does_not_change_the_way() -> None:
    alice, usage, invite = dialing()
    reliable = "Require: 100rel\r\nRSeq: {}\r\nRecord-Route: <sip:10.0.0.9;lr>\r\n"
    alice.hear(reply(invite, 183, headers=reliable.format(1), body=ANSWER), source=BOB)
    bare = reply(invite, 180).replace(b"Contact: <sip:bob@10.0.0.2:5060>\r\n", b"")
    assert alice.hear(bare, source=BOB) == []
    (prack,) = alice.hear(reply(invite, 183, headers=reliable.format(2)), source=BOB)
    assert isinstance(prack, Request)
    assert (prack.uri, prack.headers.all("route")) == ("sip:bob@10.0.0.2:5060", ["<sip:10.0.0.9;lr>"])
    assert prack.cseq == (3, "PRACK")
    ack = only(alice.hear(reply(invite, 200, headers="Record-Route: <sip:10.0.0.8;lr>\r\n"), source=BOB))
    assert ack.headers.all("route") == ["<sip:10.0.0.8;lr>"]
    assert usage.answered


def test_a_contact_that_nobody_can_look_up_is_reached_where_its_200_came_from() -> None:
    alice, usage, invite = dialing()
    alice.names["pbx.internal"] = []
    ok = reply(invite, 200, body=ANSWER).replace(b"<sip:bob@10.0.0.2:5060>", b"<sip:bob@pbx.internal>")
    ack = only(alice.hear(ok, source=BOB))
    assert (ack.uri, alice.sent[-1][1]) == ("sip:bob@pbx.internal", BOB)
    usage.hangup(0.0)
    assert only(alice.said()).method == "BYE"


def test_the_owner_may_name_another_user_agent() -> None:
    _, _, invite = dialing(headers={"user-agent": "PBX/2"})
    assert invite.headers.all("user-agent") == ["PBX/2"]
