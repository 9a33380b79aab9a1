import pytest

from active_call.core.errors import RemoteProtocolError
from active_call.sip.hop import Hop, Target, Transport
from active_call.sip.messages.uri import SipUri, bracketed, contact, tel_number


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:example.com", SipUri("example.com")),
        ("sip:alice@example.com", SipUri("example.com", "alice")),
        ("sips:a:pw@h:5061;lr;x=1", SipUri("h", "a:pw", 5061, {"lr": None, "x": "1"}, scheme="sips")),
        ("sip:a@[2001:db8::1]:5070", SipUri("[2001:db8::1]", "a", 5070)),
        ("sip:a@h?Route=%3Csip:x%3E", SipUri("h", "a", headers="Route=%3Csip:x%3E")),
        ("sip:user;par=u%40example.net@example.com", SipUri("example.com", "user;par=u%40example.net")),
        ("sip:null-%00-null@example.com", SipUri("example.com", "null-%00-null")),
    ],
)
def test_parse_value_string(text: str, uri: SipUri) -> None:
    assert SipUri.parse(text) == uri
    assert str(uri) == text


@pytest.mark.parametrize(
    "text",
    [
        "sip:",
        "sip:a b@h",
        "sip:@h",
        "<sip:h>",
        "sip:h:99999",
        "sip:h:0",
        "h",
        "",
        "sip:a@h@i",
        "sip:[::1",
        "sip:a\x00@h",
        "sip:a@h;x=\x7f",
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as error:
        SipUri.parse(text)
    assert error.value.status == 400


@pytest.mark.parametrize("text", ["tel:+12", "nobodyKnowsThisScheme:x", "soap.beep://192.0.2.103:3002"])
def test_other_schemes_get_416(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as error:
        SipUri.parse(text)
    assert error.value.status == 416


def test_where_requests_go() -> None:
    assert SipUri.parse("sip:a@h").address == Hop("h", 5060, "udp", "h")
    assert SipUri.parse("sip:a@[::1]:5").address == Hop("::1", 5)
    assert SipUri.parse("sip:a@h;maddr=10.0.0.1").address == Hop("10.0.0.1", 5060)
    assert SipUri.parse("sips:a@h").address == Hop("h", 5061, "tls", "h")
    assert SipUri.parse("sips:a@h:5;transport=tcp").address == Hop("h", 5, "tls", "h")
    assert SipUri.parse("sip:a@h;transport=TCP").address == Hop("h", 5060, "tcp", "h")


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("sip:a@h", Target("h")),
        ("sip:a@h:5060", Target("h", 5060)),
        ("sip:a@h;transport=udp", Target("h", None, "udp")),
        ("sip:a@h;transport=tls", Target("h", None, "tls")),
        ("sips:a@h;transport=tcp", Target("h", None, "tls")),
        ("sip:a@h;transport=sctp", Target("h")),
    ],
)
def test_a_target_keeps_what_the_uri_leaves_open(uri: str, target: Target) -> None:
    assert SipUri.parse(uri).target == target


@pytest.mark.parametrize(
    ("transport", "sips", "written"),
    [
        ("udp", False, "<sip:bob@[::1]:5060>"),
        ("tcp", False, "<sip:bob@[::1]:5060;transport=tcp>"),
        ("tls", False, "<sip:bob@[::1]:5060;transport=tls>"),
        ("tls", True, "<sips:bob@[::1]:5060>"),
    ],
)
def test_a_contact_of_ours(transport: Transport, sips: bool, written: str) -> None:
    assert contact("bob", ("::1", 5060), transport, sips=sips) == written


def test_only_ipv6_gets_brackets() -> None:
    assert bracketed("::1") == "[::1]"
    assert bracketed("10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize(
    ("uri", "number"),
    [
        ("tel:+4930123", "+4930123"),
        ("TEL:7042;phone-context=example.com", "7042"),
        ("tel:", None),
        ("tel:+49 30", None),
        ("sip:+4930123@example.com", None),
    ],
)
def test_the_number_of_a_tel_uri(uri: str, number: str | None) -> None:
    assert tel_number(uri) == number
