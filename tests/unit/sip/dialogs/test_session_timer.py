import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.core.errors import RemoteProtocolError
from active_call.sip.dialogs.session_timer import Refresher, SessionExpires, SessionTimer
from active_call.sip.messages.message import Headers, Request, Response


def request(**headers: str) -> Request:
    return Request("INVITE", "sip:a@b", Headers((k.replace("_", "-"), v) for k, v in headers.items()))


def response(status: int = 200, **headers: str) -> Response:
    return Response(status, "", Headers((k.replace("_", "-"), v) for k, v in headers.items()))


@given(st.integers(0, 2**31), st.sampled_from(["uac", "uas", None]))
def test_what_is_printed_can_be_read(seconds: int, refresher: Refresher | None) -> None:
    value = SessionExpires(seconds, refresher)
    assert SessionExpires.of(Headers([("Session-Expires", str(value))])) == value


def test_the_compact_name_and_unknown_parameters() -> None:
    assert SessionExpires.of(Headers([("x", "90 ; Refresher=UAC;a=b")])) == SessionExpires(90, "uac")
    assert SessionExpires.of(Headers()) is None


@pytest.mark.parametrize("value", ["", "x", "-1", "9" * 11, "90;;", "1.5"])
def test_a_useless_header(value: str) -> None:
    with pytest.raises(RemoteProtocolError):
        SessionExpires.of(Headers([("Session-Expires", value)]))


# --- as client ---------------------------------------------------------------------------------------------


def test_half_an_hour_is_asked_for() -> None:
    assert SessionTimer().asks() == [("Session-Expires", "1800")]


def test_the_answer_says_who_refreshes() -> None:
    timer = SessionTimer()
    timer.answered(response(Session_Expires="600;refresher=uac"))
    assert (timer.refresh_after, timer.expires_after) == (300.0, 568.0)
    assert timer.asks() == [("Session-Expires", "600;refresher=uac")]
    timer.answered(response(Session_Expires="90;refresher=uas"))
    assert (timer.refresh_after, timer.expires_after) == (None, 60.0)
    assert timer.asks() == [("Session-Expires", "90;refresher=uas")]


def test_without_a_header_in_the_answer_nothing_expires() -> None:
    timer = SessionTimer()
    timer.answered(response(Session_Expires="600;refresher=uac"))
    timer.answered(response())
    assert (timer.refresh_after, timer.expires_after) == (None, None)


def test_an_answer_briefer_than_allowed_is_stretched() -> None:
    timer = SessionTimer()
    timer.answered(response(Session_Expires="1;refresher=uac"))
    assert timer.refresh_after == 45.0


def test_too_brief_for_the_peer() -> None:
    timer = SessionTimer(90)
    assert timer.too_brief(response(422, Min_SE="3600"))
    assert timer.asks() == [("Session-Expires", "3600"), ("Min-SE", "3600")]
    assert not timer.too_brief(response(422, Min_SE="3600"))


@pytest.mark.parametrize("headers", [{}, {"Min_SE": "x"}, {"Min_SE": "90"}, {"Min_SE": "9999999999"}])
def test_a_422_that_leads_nowhere(headers: dict[str, str]) -> None:
    assert not SessionTimer().too_brief(response(422, **headers))


# --- as server ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "answered", "refreshing"),
    [
        ({}, [], False),
        ({"Session_Expires": "x", "Supported": "timer"}, [], False),
        ({"Session_Expires": "600"}, [("Session-Expires", "600;refresher=uas")], True),
        ({"Session_Expires": "600;refresher=uac"}, [("Session-Expires", "600;refresher=uas")], True),
        (
            {"Session_Expires": "600", "Supported": "timer"},
            [("Require", "timer"), ("Session-Expires", "600;refresher=uac")],
            False,
        ),
        (
            {"Session_Expires": "600;refresher=uas", "Supported": "timer"},
            [("Require", "timer"), ("Session-Expires", "600;refresher=uas")],
            True,
        ),
    ],
)
def test_what_is_agreed_to(asked: dict[str, str], answered: list[tuple[str, str]], refreshing: bool) -> None:
    timer = SessionTimer()
    assert timer.answers(request(**asked)) == answered
    assert timer.refreshing is refreshing


def test_roles_stay_if_a_refresh_does_not_name_them() -> None:
    timer = SessionTimer()
    timer.answered(response(Session_Expires="600;refresher=uac"))
    timer.answers(request(Session_Expires="600", Supported="timer"))
    assert timer.refreshing


def test_an_interval_that_is_too_brief() -> None:
    with pytest.raises(RemoteProtocolError, match="89") as caught:
        SessionTimer.check(request(Session_Expires="89", Supported="100rel, timer"))
    assert caught.value.status == 422
    SessionTimer.check(request(Session_Expires="90", Supported="timer"))
    SessionTimer.check(request(Session_Expires="89"))  # a proxy asked: the peer could not mend it


def test_a_request_without_a_header_leaves_the_session_as_it_is() -> None:
    """An UPDATE that only shows another name, say: the peer still counts on who refreshes."""
    timer = SessionTimer()
    timer.answers(request(Supported="timer", Session_Expires="600;refresher=uas"))
    assert timer.answers(request(Supported="timer")) == [
        ("Require", "timer"),
        ("Session-Expires", "600;refresher=uas"),
    ]
    assert (timer.refreshing, timer.refresh_after) == (True, 300.0)
    assert SessionTimer().answers(request(Supported="timer")) == []
