"""Many accounts."""

from active_call.core.tokens import token_source
from active_call.sip.registrations import AT_ONCE, KEEP_ALIVE, PER_SECOND
from active_call.sip.stack import SipStack
from tests.unit.sip.registrar import OURS, REGISTRAR, Phone, account


def test_a_thousand_accounts_come_one_after_another() -> None:
    phone = Phone(*(account(user=str(number)) for number in range(1_000)))
    first = phone.wait(0)
    assert len(first) == AT_ONCE
    within = phone.wait(1)
    assert (
        PER_SECOND
        <= len({request.to.uri for request in within} - {one.to.uri for one in first})
        <= PER_SECOND + 1
    )
    everybody = {request.to.uri for request in (*first, *within, *phone.wait(1_000 / PER_SECOND))}
    assert len(everybody) == 1_000


def test_one_keep_alive_for_all_accounts_of_a_registrar() -> None:
    phone = Phone(account(user="1"), account(user="2"))
    for request in phone.wait(0):
        phone.accept(request)
    phone.raw.clear()
    phone.wait(80)
    assert phone.raw == [(KEEP_ALIVE, REGISTRAR)] * 3


def test_no_keep_alive_where_nobody_is_registered() -> None:
    phone = Phone()
    phone.answer(phone.next(), 403)
    phone.raw.clear()
    phone.wait(30)
    assert phone.raw == []


def test_the_state_of_each_account() -> None:
    phone = Phone(account(user="1"), account(user="2"))
    one, two = phone.wait(0)
    phone.accept(one, 100)
    phone.answer(two, 404)
    phone.wait(10)
    first, second = phone.status(0), phone.status(1)
    assert (first.account, first.server, first.state, first.expires) == (
        "sip:1@10.0.0.9",
        "sip:10.0.0.9",
        "registered",
        90,
    )
    assert (second.state, second.expires, second.last_error) == ("failed", 0, "404 Whatever")


def test_without_accounts_there_is_nothing_to_do() -> None:
    stack = SipStack(local=lambda _: OURS, tokens=token_source(1))
    stack.registrations.start([], 0.0)
    assert stack.next_deadline() is None
    stack.registrations.stop(0.0)
    assert stack.registrations.ended
