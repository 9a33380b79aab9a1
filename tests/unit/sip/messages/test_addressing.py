import pytest

from active_call.core.errors import LocalProtocolError
from active_call.sip.hop import Target
from active_call.sip.messages.addressing import (
    caller_address,
    contact_value,
    hides_caller,
    next_hop_target,
    target_uri,
    to_uri,
)


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:bob@x", "sip:bob@x"),
        (" bob@x:5070 ", "sip:bob@x:5070"),
        ('"Bob" <sips:bob@x>', "sips:bob@x"),
        ("sip:bob@x;transport=TLS", "sip:bob@x;transport=TLS"),
    ],
)
def test_callees(text: str, uri: str) -> None:
    assert str(target_uri(text)) == uri


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("tel:+12", "tel"),
        ("a b", "malformed"),
        ("<sip:a@b", "malformed"),
        ("sip:a@b?Replaces=1", "header fields"),
        ("sip:a@b;transport=sctp", "udp, tcp or tls"),
        ("sips:a@b;transport=udp", "TLS"),
    ],
)
def test_callees_that_can_not_be_called(text: str, fault: str) -> None:
    with pytest.raises(LocalProtocolError, match=fault):
        target_uri(text)


def test_to_says_whom_not_how() -> None:
    assert (
        str(to_uri(target_uri("sips:bob@x:5070;transport=tls;lr;user=phone"))) == "sips:bob@x:5070;user=phone"
    )


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("10.0.0.9:5080", Target("10.0.0.9", 5080, None)),
        ("proxy.example", Target("proxy.example", None, None)),
        ("sip:proxy.example;transport=tcp", Target("proxy.example", None, "tcp")),
        ("sips:[::1]:5061", Target("::1", 5061, "tls")),
    ],
)
def test_next_hops(text: str, target: Target) -> None:
    assert next_hop_target(text) == target


@pytest.mark.parametrize("text", ["", "a b", "tel:+1", "sip:x?a=b", "sip:x;transport=ws"])
def test_next_hops_that_lead_nowhere(text: str) -> None:
    with pytest.raises(LocalProtocolError, match="next hop"):
        next_hop_target(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("agent", "<sip:agent@h>"),
        ("agent@x", "<sip:agent@x>"),
        ("sips:agent@x", "<sips:agent@x>"),
        ('"The Agent" <sip:agent@x>;tag=evil', '"The Agent" <sip:agent@x>'),
    ],
)
def test_callers(text: str, address: str) -> None:
    assert str(caller_address(text, "h")) == address
    with pytest.raises(LocalProtocolError, match="caller"):
        caller_address("<sip:a b>", "h")


def test_a_caller_at_an_ipv6_address() -> None:
    assert str(caller_address("agent", "fd00::1")) == "<sip:agent@[fd00::1]>"


def test_contacts() -> None:
    assert contact_value("sip:me@x:5060") == "<sip:me@x:5060>"
    assert contact_value("<sip:me@x>;expires=60") == "<sip:me@x>;expires=60"
    with pytest.raises(LocalProtocolError, match="contact"):
        contact_value("tel:1")


@pytest.mark.parametrize(
    ("headers", "hidden"),
    [
        ([], False),
        ([("Privacy", "none")], False),
        ([("X-Privacy", "id")], False),
        ([("privacy", "header; ID")], True),
        ([("Privacy", "user")], True),
    ],
)
def test_who_wants_to_stay_unknown(headers: list[tuple[str, str]], hidden: bool) -> None:
    assert hides_caller(headers) is hidden


def test_a_contact_stays_on_its_line() -> None:
    assert contact_value('<sip:a@b>;x="\r\nRoute: <sip:evil>"') == '<sip:a@b>;x=" Route: <sip:evil>"'
