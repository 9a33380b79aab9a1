"""One account, from its first REGISTER to its last."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from active_call.sip.hop import Hop
from active_call.sip.messages.auth import Credentials
from active_call.sip.registration import MOVE_PAUSE, RETRY_MOST
from tests.unit.sip.registrar import CHALLENGE, Phone, account, contacts

SECRET = account(credentials=Credentials("1001", "hush", "pbx"))


def test_a_register_says_who_is_where() -> None:
    [request] = Phone(account(contact_user="bot", display_name="Bot")).wait(0)
    assert request.start_line == "REGISTER sip:10.0.0.9 SIP/2.0"
    assert request.headers.get("to") == '"Bot" <sip:1001@10.0.0.9>'
    assert request.from_.uri == "sip:1001@10.0.0.9"
    assert contacts(request) == ["<sip:bot@10.0.0.1:25060>"]
    assert request.headers.get("expires") == "3600"


@pytest.mark.parametrize(
    ("server", "line", "to", "contact", "hop"),
    [
        (
            "sip:pbx.example:5070",
            "sip:pbx.example:5070",
            "sip:1001@pbx.example",
            "<sip:1001@10.0.0.1:25060>",
            5070,
        ),
        (
            "sip:pbx.example;transport=tcp",
            "sip:pbx.example",
            "sip:1001@pbx.example",
            "<sip:1001@10.0.0.1:25060;transport=tcp>",
            5060,
        ),
        ("sips:pbx.example", "sips:pbx.example", "sips:1001@pbx.example", "<sips:1001@10.0.0.1:25060>", 5061),
    ],
)
def test_servers_are_written_in_many_ways(server: str, line: str, to: str, contact: str, hop: int) -> None:
    phone = Phone(account(server))
    [request] = phone.wait(0)
    assert (request.uri, request.to.uri, contacts(request)) == (line, to, [contact])
    assert phone.raw[0][1].port == hop


def test_the_password_answers_a_challenge_and_shows_nowhere() -> None:
    phone = Phone(SECRET)
    [again] = phone.answer(phone.next(), 401, CHALLENGE.format("n1"))
    authorization = again.headers.get("authorization") or ""
    assert 'username="1001"' in authorization
    assert again.cseq[0] == 2
    phone.accept(again)
    assert phone.status().state == "registered"
    assert "hush" not in repr(SECRET)


def test_a_refresh_uses_the_nonce_again() -> None:
    phone = Phone(SECRET)
    [again] = phone.answer(phone.next(), 401, CHALLENGE.format("n1"))
    phone.accept(again)
    assert "nc=00000002" in (phone.next().headers.get("authorization") or "")


def test_a_wrong_password_is_said_and_tried_again_later() -> None:
    phone = Phone(SECRET)
    [again] = phone.answer(phone.next(), 401, CHALLENGE.format("n1"))
    assert phone.answer(again, 401, CHALLENGE.format("n2")) == []
    assert phone.status().state == "failed"
    assert phone.status().last_error == "401 twice for realm pbx: user 1001 or its password is wrong"
    before = phone.now
    phone.next()
    assert 48 <= phone.now - before <= 60


def test_without_a_password_a_challenge_is_a_failure() -> None:
    phone = Phone()
    phone.answer(phone.next(), 401, CHALLENGE.format("n1"))
    assert phone.status().last_error == "401 for realm pbx: no user and password are given"


@pytest.mark.parametrize(
    ("headers", "granted"),
    [
        ("Contact: <sip:1001@10.0.0.1:25060>;expires=120\r\nExpires: 900\r\n", 120),
        ("Contact: <sip:other@10.0.0.7>;expires=20, <sip:1001@10.0.0.1:25060;x=1>;expires=300\r\n", 300),
        ("Contact: <sip:1001@10.0.0.1:25060>\r\nExpires: 900\r\n", 900),
        ("Contact: <sip:1001@198.51.100.9:777>;expires=50\r\nExpires: 600\r\n", 600),
        ("Contact: <sip:10%301@10.0.0.1:25060>;expires=90, <sip:o@10.0.0.7>;expires=20\r\n", 90),
        ("Contact: <sip:1001@198.51.100.9:777>;expires=50\r\n", 50),
        ("Contact: garbage <\r\nExpires: 700\r\n", 700),
        ("Contact: <sip:1001@10.0.0.1:25060>;expires=x\r\nExpires: 800 \r\n", 800),
        ("", 3600),
    ],
)
def test_the_registrar_says_how_long(headers: str, granted: int) -> None:
    phone = Phone()
    phone.answer(phone.next(), 200, headers)
    assert phone.status().expires == granted


@pytest.mark.parametrize("granted", [8, 60, 3600])
def test_a_refresh_comes_in_time(granted: int) -> None:
    phone = Phone()
    phone.registered(granted)
    request = phone.next()
    assert granted / 2 <= phone.now <= max(granted / 2, min(0.9 * granted, granted - 5))
    phone.accept(request, granted)
    assert phone.status().state == "registered"


def test_nothing_is_granted() -> None:
    phone = Phone()
    phone.accept(phone.next(), 0)
    assert phone.status().state == "failed"
    assert "0 seconds" in phone.status().last_error


def test_too_brief_an_interval_is_asked_for_again() -> None:
    phone = Phone(account(expires=60))
    [again] = phone.answer(phone.next(), 423, "Min-Expires: 1800\r\n")
    assert again.headers.get("expires") == "1800"
    assert phone.answer(again, 423, "Min-Expires: 7200\r\n") == []
    assert phone.status().last_error == "423 Whatever"


@pytest.mark.parametrize("least", ["", "Min-Expires: 10\r\n", "Min-Expires: 99999999\r\n"])
def test_a_423_that_makes_no_sense_is_a_failure(least: str) -> None:
    phone = Phone(account(expires=60))
    assert phone.answer(phone.next(), 423, least) == []
    assert phone.status().state == "failed"


def test_a_redirection_is_followed_once() -> None:
    phone = Phone()
    [again] = phone.answer(phone.next(), 302, "Contact: <sip:10.0.0.8:5080>\r\n")
    assert again.uri == "sip:10.0.0.8:5080"
    assert phone.raw[-1][1] == Hop("10.0.0.8", 5080)
    assert phone.answer(again, 302, "Contact: <sip:10.0.0.7>\r\n") == []
    assert phone.status().state == "failed"
    assert phone.next().uri == "sip:10.0.0.9"


def test_refusals_are_retried_ever_later() -> None:
    phone = Phone()
    request, pauses = phone.next(), []
    for _ in range(5):
        before = phone.now
        phone.answer(request, 403)
        request = phone.next()
        pauses.append(phone.now - before)
    assert pauses == sorted(pauses)
    assert 48 <= pauses[0] <= 60
    assert 0.8 * RETRY_MOST <= pauses[-1] <= RETRY_MOST


def test_retry_after_is_waited_for() -> None:
    phone = Phone()
    phone.answer(phone.next(), 503, "Retry-After: 900 (lunch)\r\n")
    phone.next()
    assert phone.now == 900


def test_of_several_addresses_one_that_works_is_found() -> None:
    phone = Phone(account("sip:pbx.example"))
    phone.stack.handle_timer(0.0)
    [target] = phone.stack.lookups_to_make()
    bad, good = Hop("10.0.0.7", 5060), Hop("10.0.0.8", 5060)
    phone.stack.looked_up(target, [bad, good], "", 0.0)
    phone.sent()
    phone.stack.transport_failed(bad, "can't send", 0.0)
    [request] = phone.sent()
    assert phone.raw[-1][1] == good
    phone.accept(request)
    assert phone.status().state == "registered"


def test_a_name_without_an_address_is_said() -> None:
    phone = Phone(account("sip:pbx.example"))
    phone.stack.handle_timer(0.0)
    [target] = phone.stack.lookups_to_make()
    phone.stack.looked_up(target, [], "DNS: no address for pbx.example (NXDOMAIN)", 0.0)
    assert phone.status().state == "failed"
    assert phone.status().last_error == "DNS: no address for pbx.example (NXDOMAIN)"


def test_silence_is_retried_soon() -> None:
    phone = Phone()
    phone.next()
    phone.wait(32)
    assert (phone.status().state, phone.status().last_error) == (
        "failed",
        "no response from 10.0.0.9:5060 in 32 s",
    )
    phone.next()
    assert phone.now <= 42


def test_a_registrar_that_is_away_for_a_while_costs_nothing() -> None:
    phone = Phone()
    phone.registered(3600)
    phone.next()
    phone.wait(32)
    assert phone.status().state == "registered"
    assert phone.status().last_error == "no response from 10.0.0.9:5060 in 32 s"
    phone.accept(phone.next())
    assert phone.status().last_error == ""


def test_a_binding_that_is_never_refreshed_expires() -> None:
    phone = Phone()
    phone.registered(60)
    phone.wait(61)
    assert (phone.status().state, phone.status().expires) == ("failed", 0)


def test_a_restarted_registrar_asks_with_a_new_nonce() -> None:
    phone = Phone(SECRET)
    [again] = phone.answer(phone.next(), 401, CHALLENGE.format("n1"))
    phone.accept(again, 60)
    refresh = phone.next()
    [again] = phone.answer(refresh, 401, CHALLENGE.format("n2"))
    assert 'nonce="n2"' in (again.headers.get("authorization") or "")
    phone.accept(again, 60)
    assert phone.status().state == "registered"


def test_a_new_address_is_registered_at_once_and_the_old_one_removed() -> None:
    phone = Phone()
    phone.registered()
    phone.own = ("203.0.113.5", 40000)
    phone.stack.registrations.check_addresses(phone.now)
    request = phone.next(limit=0.0)
    assert contacts(request) == ["<sip:1001@203.0.113.5:40000>", "<sip:1001@10.0.0.1:25060>;expires=0"]
    phone.accept(request)
    phone.stack.registrations.check_addresses(phone.now)
    assert phone.wait(1) == []


def test_an_address_that_changes_all_the_time_is_not_chased() -> None:
    phone = Phone()
    request = phone.registered()
    count = 0
    while phone.now < 60:
        count += 1
        phone.own = ("203.0.113.5", 40000 + count)
        phone.stack.registrations.check_addresses(phone.now)
        request = phone.next()
        phone.accept(request)
    assert count <= 60 / MOVE_PAUSE + 1


def test_an_address_learned_from_the_challenge_is_registered() -> None:
    phone = Phone(SECRET)
    first = phone.next()
    phone.own = ("203.0.113.5", 40000)
    [again] = phone.answer(first, 401, CHALLENGE.format("n1"))
    assert contacts(again) == ["<sip:1001@203.0.113.5:40000>"]


def test_a_lost_connection_is_made_again() -> None:
    phone = Phone(account("sip:10.0.0.9;transport=tcp"))
    over = Hop("10.0.0.9", 5060, "tcp")
    phone.answer(phone.next(), 200, "Expires: 3600\r\n", source=over)
    phone.stack.registrations.connection_lost(Hop("10.0.0.8", 5060, "tcp"), phone.now)
    assert phone.wait(5) == []
    phone.stack.registrations.connection_lost(over, phone.now)
    assert len(phone.wait(5)) == 1


def test_t24_unregistering_takes_our_binding_away() -> None:
    phone = Phone(SECRET)
    [again] = phone.answer(phone.next(), 401, CHALLENGE.format("n1"))
    phone.accept(again)
    phone.stack.registrations.stop(phone.now)
    [request] = phone.sent()
    assert request.headers.get("expires") == "0"
    assert contacts(request) == ["<sip:1001@10.0.0.1:25060>"]
    assert request.headers.get("authorization")
    assert not phone.ended()
    [request] = phone.answer(request, 401, CHALLENGE.format("n2"))
    phone.answer(request, 200)
    assert phone.ended()
    assert phone.wait(100) == []


def test_a_registration_under_way_is_taken_back() -> None:
    phone = Phone()
    first = phone.next()
    phone.stack.registrations.stop(phone.now)
    [last] = phone.sent()
    assert last.cseq[0] == 2
    phone.accept(first)  # too late
    assert phone.status().state == "unregistering"
    assert [request.cseq[0] for request in phone.wait(1)] == [2]
    phone.answer(last, 200)
    assert phone.status().state == "ended"


@pytest.mark.parametrize("status", [403, 404, 500])
def test_what_was_never_registered_needs_no_goodbye(status: int) -> None:
    phone = Phone()
    phone.answer(phone.next(), status)
    phone.stack.registrations.stop(phone.now)
    assert phone.sent() == []
    assert phone.ended()


def test_a_silent_registrar_ends_it_too() -> None:
    phone = Phone()
    phone.registered()
    phone.stack.registrations.stop(phone.now)
    phone.wait(33)
    assert phone.ended()
    assert phone.stack.transactions == 0


def test_t24_an_unreachable_registrar_is_not_waited_for() -> None:
    phone = Phone()
    phone.registered()
    phone.stack.registrations.stop(phone.now)
    assert phone.stack.busy
    phone.stack.registrations.give_up()
    assert phone.ended()
    assert not phone.stack.busy


def test_changes_are_logged_once_and_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    phone = Phone(SECRET)
    [again] = phone.answer(phone.next(), 401, CHALLENGE.format("n1"))
    phone.accept(again)
    phone.accept(phone.next())
    phone.answer(phone.next(), 403)
    assert [record.getMessage() for record in caplog.records] == [
        "- sip:1001@10.0.0.9 is registered at sip:10.0.0.9 for 3600 s",
        "- sip:1001@10.0.0.9 is not registered at sip:10.0.0.9: 403 Whatever",
    ]


def test_a_registrar_that_closes_every_connection_is_not_hammered() -> None:
    phone = Phone(account("sip:10.0.0.9;transport=tcp"))
    over = Hop("10.0.0.9", 5060, "tcp")
    request, count = phone.next(), 0
    while phone.now < 3_000:
        count += 1
        phone.answer(request, 200, "Expires: 3600\r\n", source=over)
        phone.stack.registrations.connection_lost(over, phone.now)
        request = phone.next()
    assert count < 25


def test_a_registrar_that_grants_a_second_is_asked_every_second() -> None:
    phone = Phone()
    for _ in range(10):
        phone.accept(phone.next(), 1)
    assert phone.now >= 9


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(200, 699), st.text(st.characters(codec="utf-8", exclude_characters="\r\n"))),
        max_size=6,
    ),
    st.sampled_from(
        ["Contact", "Expires", "Min-Expires", "Retry-After", "WWW-Authenticate", "Authentication-Info"]
    ),
)
def test_nothing_that_a_registrar_answers_breaks_it(answers: list[tuple[int, str]], header: str) -> None:
    phone = Phone(SECRET)
    request = phone.next()
    for status, value in answers:
        sent = phone.answer(request, status, f"{header}: {value}\r\n")
        request = sent[-1] if sent else phone.next()
    phone.stack.registrations.stop(phone.now)
    phone.sent()
    phone.wait(40)
    assert phone.ended()
    assert phone.stack.transactions == 0
