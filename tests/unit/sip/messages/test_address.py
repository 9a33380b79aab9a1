import pytest

from active_call.core.errors import RemoteProtocolError
from active_call.sip.messages.address import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("<sip:a@b>", Address("sip:a@b")),
        ('"A \\"B\\"" <sip:a@b;lr>;tag=1', Address("sip:a@b;lr", 'A "B"', {"tag": "1"})),
        ("<isbn:2983792873>", Address("isbn:2983792873")),
    ],
)
def test_parse_value_string(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("sip:a@b;tag=1", Address("sip:a@b", "", {"tag": "1"})),
        ("sip:a@b ;  tag = 1", Address("sip:a@b", "", {"tag": "1"})),
        ("caller<sip:a@b>;tag=1", Address("sip:a@b", "caller", {"tag": "1"})),
        ("J. Rosen  <sip:a@b>", Address("sip:a@b", "J. Rosen")),
        ("Bell, Alexander <sip:a@b>", Address("sip:a@b", "Bell, Alexander")),
        ("Anna & Bob (Sales) <sip:a@b>", Address("sip:a@b", "Anna & Bob (Sales)")),
        ("Jürgen <sip:a@b>", Address("sip:a@b", "Jürgen")),
        ('"<x>" <sip:a@b>', Address("sip:a@b", "<x>")),
    ],
)
def test_other_spellings(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alan@jasomi.com",
        '"open <sip:a@b>',
        'Al "Bell <sip:a@b>',
        "< sip:a@b >",
        "<sip:a@b",
        "<sip:a@b>;;",
        "<sip:a@b> x",
        "sip:a@b?Route=x",
        "sip:a@b, sip:c@d",
        "sip:a b@c",
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Address.parse(text)


def test_the_tag() -> None:
    assert Address.parse("<sip:a@b>;tag=x").tag == "x"
    assert Address.parse("<sip:a@b;tag=x>").tag == ""


def test_hostile_input_takes_linear_time() -> None:
    for text in ("a" + " " * 60_000 + "b", '"' + "\\" * 60_001, "a " * 30_000 + "b"):
        with pytest.raises(RemoteProtocolError):
            Address.parse(text)
