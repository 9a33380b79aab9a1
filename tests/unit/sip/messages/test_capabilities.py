import pytest

from active_call.core.errors import RemoteProtocolError
from active_call.sip.messages.capabilities import allows, refusal_headers, requires, supports, unsupported
from active_call.sip.messages.message import Headers, Request


def request(*fields: tuple[str, str]) -> Request:
    return Request("INVITE", "sip:a@b", Headers(fields))


def test_what_a_peer_says_of_itself() -> None:
    invite = request(("k", "Timer, foo"), ("Require", "100rel"), ("Allow", "INVITE"), ("allow", "ACK, UPDATE"))
    assert supports(invite, "timer")
    assert supports(invite, "100rel")
    assert not supports(invite, "replaces")
    assert requires(invite, "100rel")
    assert not requires(invite, "timer")
    assert allows(invite, "UPDATE")
    assert not allows(invite, "INFO")


def test_a_list_that_can_not_be_read_says_nothing() -> None:
    assert not supports(request(("Supported", '"timer')), "timer")


def test_only_what_we_lack_is_unsupported() -> None:
    assert unsupported(request(("Require", "timer, foo, 100REL"), ("Require", "bar"))) == ["foo", "bar"]
    with pytest.raises(RemoteProtocolError):
        unsupported(request(("Require", '"')))


def test_refusals_that_must_say_more() -> None:
    assert refusal_headers(415) == (("Accept", "application/sdp"),)
    assert refusal_headers(422) == (("Min-SE", "90"),)
    assert refusal_headers(405)[0][0] == refusal_headers(501)[0][0] == "Allow"
    assert refusal_headers(486) == ()
