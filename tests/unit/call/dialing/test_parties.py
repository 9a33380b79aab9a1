"""Who calls whom."""

import pytest

from active_call.call.dialing.parties import attendee, callee_uri, caller_uri, host_of
from active_call.core.errors import LocalProtocolError
from active_call.wire.options import CallOption, SipOption

REALM = SipOption(username="agent", realm="pbx.example.com")


@pytest.mark.parametrize(
    ("callee", "sip", "registrars", "uri"),
    [
        ("sip:bob@b.example", None, (), "sip:bob@b.example"),
        (" bob@b.example ", None, (), "bob@b.example"),
        ("1001", REALM, ("other.example",), "sip:1001@pbx.example.com"),
        ("+49 30", None, (), "+49 30"),
        ("tel:+4930", None, ("only.example",), "sip:+4930@only.example"),
        ("*97", None, ("only.example",), "sip:*97@only.example"),
    ],
)
def test_whom_to_call(callee: str, sip: SipOption | None, registrars: tuple[str, ...], uri: str) -> None:
    assert callee_uri(CallOption(callee=callee, sip=sip), registrars) == uri


@pytest.mark.parametrize("registrars", [(), ("a.example", "b.example")])
def test_a_bare_number_needs_one_server(registrars: tuple[str, ...]) -> None:
    with pytest.raises(LocalProtocolError, match=r'"1001" is a bare number.*sip\.realm.*exactly one server'):
        callee_uri(CallOption(callee="1001"), registrars)


def test_somebody_must_be_called() -> None:
    with pytest.raises(LocalProtocolError, match="callee is missing"):
        callee_uri(CallOption(), ())


@pytest.mark.parametrize(
    ("caller", "sip", "uri"),
    [
        (None, None, "sip:active-call@192.0.2.1"),
        (None, REALM, "sip:agent@pbx.example.com"),
        (None, SipOption(username="agent"), "sip:agent@192.0.2.1"),
        ("alice@a.example", None, "sip:alice@a.example"),
        ("1000", REALM, "sip:1000@pbx.example.com"),
        ("1000", None, "sip:1000@192.0.2.1"),
        ("sips:alice@a.example", None, "sips:alice@a.example"),
        ('"Alice" <sip:alice@a.example>', REALM, '"Alice" <sip:alice@a.example>'),
    ],
)
def test_as_whom(caller: str | None, sip: SipOption | None, uri: str) -> None:
    assert caller_uri(CallOption(caller=caller, sip=sip), "192.0.2.1") == uri


def test_our_own_address_may_be_one_of_ipv6() -> None:
    assert caller_uri(CallOption(), "2001:db8::1") == "sip:active-call@[2001:db8::1]"
    assert caller_uri(CallOption(caller="1000"), "2001:db8::1") == "sip:1000@[2001:db8::1]"


@pytest.mark.parametrize(
    ("source", "username", "realm"),
    [
        ("sip:bob@b.example:5060;transport=udp", "bob", "b.example"),
        ('"Bob" <sip:bob@b.example>;tag=1', "bob", "b.example"),
        ("sip:b.example", "", "b.example"),
        ("sip:bob@[2001:db8::1]:5060;x=1", "bob", "[2001:db8::1]"),
        ("tel:+4930123;phone-context=x", "+4930123", ""),
        ("", "", ""),
    ],
)
def test_how_events_tell_a_party(source: str, username: str, realm: str) -> None:
    party = attendee(source)
    assert (party.username, party.realm, party.source) == (username, realm, source)


@pytest.mark.parametrize("uri", ["sip:b@h.example:5070;x=1", "<sip:b@h.example:5070>", "b@h.example:5070"])
def test_the_host_of_an_address(uri: str) -> None:
    assert host_of(uri) == "h.example:5070"


def test_the_host_of_an_address_without_a_user() -> None:
    assert host_of("sip:h.example") == "h.example"
    assert host_of("<sip:h.example;lr>") == "h.example"
