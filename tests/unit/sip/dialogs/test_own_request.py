import pytest

from active_call.sip.events import Ended, MessageAnswered, OfferAnswered, OfferRefused
from active_call.sip.messages.auth import Credentials
from active_call.sip.messages.message import Request
from active_call.sip.messages.uri import SipUri
from tests.unit.sip.support import ANSWER, OFFER
from tests.unit.sip.talk import Dialed, only

CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="{}", qop="auth"{}\r\n'
PROXY = 'Proxy-Authenticate: Digest realm="p", nonce="m", algorithm=SHA-256\r\n'
WHO = Credentials("u", "p")


def challenge(nonce: str = "n", more: str = "") -> str:
    return CHALLENGE.format(nonce, more)


def send(dialed: Dialed, method: str) -> Request:
    match method:
        case "INVITE":
            dialed.usage.local_offer.make(OFFER, 0.0)
        case "BYE":
            dialed.usage.hangup(0.0)
        case "REFER":
            dialed.usage.transfer.send("sip:c@d", None, (), 0.0)
        case _:
            dialed.usage.say(method, b"x", "text/plain", (), 0.0)
    return dialed.said()


@pytest.mark.parametrize("method", ["INVITE", "BYE", "REFER", "MESSAGE", "INFO"])
def test_every_request_answers_challenges(method: str) -> None:
    dialed = Dialed(credentials=WHO)
    first = send(dialed, method)
    second = dialed.hear(first, 401, headers=challenge())[-1]
    third = dialed.hear(second, 407, headers=PROXY)[-1]  # type: ignore[arg-type]
    assert isinstance(third, Request)
    assert third.method == method
    assert third.cseq[0] == first.cseq[0] + 2
    assert 'uri="sip:bob@10.0.0.2:5060"' in (third.headers.get("authorization") or "")
    assert "algorithm=SHA-256" in (third.headers.get("proxy-authorization") or "")
    assert third.body == first.body


def test_the_next_request_needs_no_challenge() -> None:
    dialed = Dialed(credentials=WHO)
    dialed.usage.say("INFO", b"1", "text/plain", (), 0.0)
    (second,) = dialed.hear(dialed.said(), 401, headers=challenge())
    assert "nc=00000001" in (second.headers.get("authorization") or "")
    dialed.usage.say("INFO", b"2", "text/plain", (), 0.0)
    assert "nc=00000002" in (dialed.said().headers.get("authorization") or "")
    dialed.usage.hangup(0.0)
    assert "nc=00000003" in (dialed.said().headers.get("authorization") or "")


def test_the_ack_carries_the_credentials_of_its_invite() -> None:
    dialed = Dialed(credentials=WHO)
    dialed.usage.local_offer.make(OFFER, 0.0)
    _, invite = dialed.hear(dialed.said(), 401, headers=challenge())
    assert isinstance(invite, Request)
    ack = only(dialed.hear(invite, 200, body=ANSWER))
    assert ack.headers.get("authorization") == invite.headers.get("authorization")
    assert dialed.events == [OfferAnswered(ANSWER)]


def test_a_second_challenge_is_final_and_says_so() -> None:
    dialed = Dialed(credentials=WHO)
    dialed.usage.say("MESSAGE", b"1", "text/plain", (), 0.0)
    second = only(dialed.hear(dialed.said(), 401, headers=challenge()))
    assert dialed.hear(second, 401, headers=challenge("other")) == []
    words = "401 twice for realm r: user u or its password is wrong"
    assert dialed.events == [MessageAnswered("MESSAGE", 401, words)]


def test_a_stale_nonce_is_replaced_once() -> None:
    dialed = Dialed(credentials=WHO)
    dialed.usage.say("MESSAGE", b"1", "text/plain", (), 0.0)
    second = only(dialed.hear(dialed.said(), 401, headers=challenge()))
    third = only(dialed.hear(second, 401, headers=challenge("fresh", ", stale=true")))
    assert 'nonce="fresh"' in (third.headers.get("authorization") or "")
    assert dialed.hear(third, 401, headers=challenge("more", ", stale=true")) == []


def test_a_remembered_nonce_that_is_refused_is_no_second_refusal() -> None:
    dialed = Dialed(credentials=WHO)
    dialed.usage.say("INFO", b"1", "text/plain", (), 0.0)
    dialed.hear(only(dialed.hear(dialed.said(), 401, headers=challenge())), 200)
    dialed.usage.say("INFO", b"2", "text/plain", (), 0.0)
    again = only(dialed.hear(dialed.said(), 401, headers=challenge("new")))
    assert 'nonce="new"' in (again.headers.get("authorization") or "")


def test_the_servers_next_nonce_is_used() -> None:
    dialed = Dialed(credentials=WHO)
    dialed.usage.say("INFO", b"1", "text/plain", (), 0.0)
    second = only(dialed.hear(dialed.said(), 401, headers=challenge()))
    dialed.hear(second, 200, headers='Authentication-Info: nextnonce="next", qop=auth\r\n')
    dialed.usage.say("INFO", b"2", "text/plain", (), 0.0)
    value = dialed.said().headers.get("authorization") or ""
    assert 'nonce="next"' in value
    assert "nc=00000001" in value


def test_without_credentials_the_reason_names_the_realm() -> None:
    dialed = Dialed()
    dialed.usage.local_offer.make(OFFER, 0.0)
    dialed.hear(dialed.said(), 407, headers=PROXY)
    assert dialed.events == [OfferRefused(407, "407 for realm p: no user and password are given")]


def test_a_challenge_after_the_end_is_not_answered() -> None:
    dialed = Dialed(credentials=WHO)
    dialed.usage.say("INFO", b"1", "text/plain", (), 0.0)
    info = dialed.said()
    dialed.request("BYE")
    assert dialed.hear(info, 401, headers=challenge()) == []
    assert dialed.events == [Ended("peer", "BYE")]


def test_a_callee_elsewhere_gets_no_password() -> None:
    dialed = Dialed(credentials=WHO)
    assert dialed.usage.dialog is not None
    dialed.usage.dialog.remote_target = SipUri.parse("sip:bob@10.0.0.9")
    dialed.usage.say("MESSAGE", b"1", "text/plain", (), 0.0)
    assert dialed.hear(dialed.said(), 401, headers=challenge()) == []
    words = "401 by another server than was called: it gets no password"
    assert dialed.events == [MessageAnswered("MESSAGE", 401, words)]


def test_a_proxy_elsewhere_may_ask_again_what_our_server_has_asked() -> None:
    dialed = Dialed(credentials=WHO)
    dialed.usage.say("INFO", b"1", "text/plain", (), 0.0)
    dialed.hear(only(dialed.hear(dialed.said(), 401, headers=challenge())), 200)
    assert dialed.usage.dialog is not None
    dialed.usage.dialog.remote_target = SipUri.parse("sip:bob@10.0.0.9")
    dialed.usage.say("INFO", b"2", "text/plain", (), 0.0)
    again = only(dialed.hear(dialed.said(), 401, headers=challenge("new")))
    assert 'nonce="new"' in (again.headers.get("authorization") or "")


def test_a_type_of_content_can_not_smuggle_lines() -> None:
    dialed = Dialed()
    dialed.usage.say("MESSAGE", b"1", "text/plain\r\nRoute: <sip:evil>", (), 0.0)
    assert "route" not in dialed.said().headers
