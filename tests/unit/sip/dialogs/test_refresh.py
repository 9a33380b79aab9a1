import pytest

from active_call.sip.events import Ended, OfferAnswered
from active_call.sip.messages.message import Request, Response
from tests.unit.sip.support import ANSWER, BOB, OFFER, Agent, message
from tests.unit.sip.talk import Dialed, Talk, only

WE_REFRESH = "Session-Expires: 600;refresher=uac\r\n"
THEY_REFRESH = "Session-Expires: 600;refresher=uas\r\n"
UPDATE = "Allow: INVITE, ACK, BYE, UPDATE\r\n"


def methods(said: list[Request | Response]) -> list[str]:
    return [one.method for one in said if isinstance(one, Request)]


def test_our_invite_asks_for_a_session_timer() -> None:
    dialed = Dialed()
    assert dialed.invite.headers.get("session-expires") == "1800"
    assert "timer" in dialed.invite.headers.items("supported")


def test_without_a_word_of_the_peer_nothing_expires() -> None:
    dialed = Dialed()
    assert dialed.alice.wait_until(100_000.0) == []


def test_we_refresh_by_update_if_the_peer_takes_it() -> None:
    dialed = Dialed(headers=WE_REFRESH + UPDATE)
    update = only(dialed.alice.wait_until(300.0))
    assert (update.method, update.body) == ("UPDATE", b"")
    assert update.headers.get("session-expires") == "600;refresher=uac"
    dialed.hear(update, 200, headers=WE_REFRESH, now=300.0)
    assert dialed.alice.wait_until(590.0) == []
    assert methods(dialed.alice.wait_until(600.0)) == ["UPDATE"]
    assert dialed.events == []


def test_we_refresh_by_reinvite_otherwise_with_the_same_description() -> None:
    dialed = Dialed(headers=WE_REFRESH)
    invite = only(dialed.alice.wait_until(300.0))
    assert (invite.method, invite.body) == ("INVITE", OFFER)
    dialed.hear(invite, 200, headers=WE_REFRESH, body=ANSWER, now=300.0)
    assert dialed.events == []
    assert methods(dialed.alice.wait_until(600.0)) == ["INVITE"]


def test_an_answer_to_a_refresh_that_brings_news_is_told() -> None:
    dialed = Dialed(headers=WE_REFRESH)
    invite = only(dialed.alice.wait_until(300.0))
    news = ANSWER.replace(b"5000", b"5002")
    dialed.hear(invite, 200, headers=WE_REFRESH, body=news, now=300.0)
    assert dialed.events == [OfferAnswered(news)]


def test_a_peer_that_does_not_refresh_is_hung_up_on() -> None:
    dialed = Dialed(headers=THEY_REFRESH)
    assert dialed.alice.wait_until(567.9) == []
    bye = only(dialed.alice.wait_until(568.0))
    assert (bye.method, bye.headers.get("reason")) == (
        "BYE",
        'SIP;cause=408;text="the session expired: no refresh came in its 600 s"',
    )
    assert dialed.events == [Ended("timeout", "the session expired: no refresh came in its 600 s")]


def test_the_peers_refresh_keeps_the_call() -> None:
    talk = Talk("Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n")
    assert talk.ok.headers.get("session-expires") == "600;refresher=uac"
    assert talk.ok.headers.get("require") == "timer"
    headers = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n"
    (ok,) = talk.request("UPDATE", headers=headers, now=300.0)
    assert ok.headers.get("session-expires") == "600;refresher=uac"
    assert methods(talk.bob.wait_until(867.0)) == []
    assert methods(talk.bob.wait_until(868.0)) == ["BYE"]


def test_a_reinvite_is_a_refresh_too() -> None:
    headers = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n"
    talk = Talk(headers)
    talk.request("INVITE", headers=headers, body=OFFER, now=500.0)
    talk.usage.remote_offer.answer(ANSWER, 200, "", 500.0)
    assert talk.bob.said()[0].headers.get("session-expires") == "600;refresher=uac"
    talk.ack(2, now=500.0)
    assert methods(talk.bob.wait_until(1067.0)) == []


def test_for_a_peer_without_session_timers_we_refresh() -> None:
    talk = Talk("Session-Expires: 600\r\n")
    assert talk.ok.headers.get("session-expires") == "600;refresher=uas"
    assert "require" not in talk.ok.headers
    assert methods(talk.bob.wait_until(300.0)) == ["INVITE"]


def test_a_session_that_would_be_too_brief() -> None:
    bob = Agent(BOB)
    headers = "Supported: timer\r\nSession-Expires: 60\r\n"
    (refused,) = bob.hear(message("INVITE", body=OFFER, headers=headers))
    assert refused.start_line == "SIP/2.0 422 Session-Expires is 60, must be 90 or more"
    assert refused.headers.get("min-se") == "90"
    talk = Talk()
    assert talk.answer("UPDATE", headers=headers).startswith("SIP/2.0 422")
    assert talk.answer("INVITE", headers=headers, body=OFFER).startswith("SIP/2.0 422")


def test_a_refresh_that_is_refused_is_tried_again_until_the_session_expires() -> None:
    dialed = Dialed(headers=WE_REFRESH + UPDATE)
    tries, now = 0, 300.0
    for one in dialed.alice.wait_until(now):
        dialed.hear(only([one]), 500, now=now)
    while not dialed.events:
        now += 1.0
        for one in dialed.alice.wait_until(now):
            if isinstance(one, Request) and one.method == "UPDATE":
                tries += 1
                dialed.hear(one, 500, now=now)
    assert (tries, now) == (26, 568.0)


@pytest.mark.parametrize("status", [408, 481])
def test_a_refresh_that_finds_no_call_ends_it(status: int) -> None:
    dialed = Dialed(headers=WE_REFRESH + UPDATE)
    dialed.hear(only(dialed.alice.wait_until(300.0)), status, now=300.0)
    assert dialed.events == [Ended("timeout" if status == 408 else "peer", f"{status} to session refresh")]


def test_a_peer_that_does_not_take_update_after_all() -> None:
    dialed = Dialed(headers=WE_REFRESH + UPDATE)
    update = only(dialed.alice.wait_until(300.0))
    assert methods(dialed.hear(update, 405, now=300.0)) == ["INVITE"]


def test_a_longer_session_if_the_peer_wants_that() -> None:
    dialed = Dialed(headers=WE_REFRESH + UPDATE)
    update = only(dialed.alice.wait_until(300.0))
    again = only(dialed.hear(update, 422, headers="Min-SE: 900\r\n", now=300.0))
    assert again.headers.get("session-expires") == "900;refresher=uac"
    assert again.headers.get("min-se") == "900"


def test_before_the_answer_nothing_expires() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER))
    usage = bob.incoming[0]
    assert usage.dialog is not None
    headers = "Supported: timer\r\nSession-Expires: 90;refresher=uas\r\n"
    (ok,) = bob.hear(
        message("UPDATE", to_tag=usage.dialog.local_tag, cseq=2, branch="z9hG4bK2", headers=headers)
    )
    assert "session-expires" not in ok.headers
    assert bob.wait_until(1000.0) == []
    assert str(usage.state) == "calling"
