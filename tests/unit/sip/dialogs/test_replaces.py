import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.core.errors import RemoteProtocolError
from active_call.sip.dialogs.replaces import Replaces, with_replaces, without_replaces
from active_call.sip.messages.grammar import TOKEN_CHARS
from active_call.sip.messages.message import Headers

TOKENS = st.from_regex(f"[{TOKEN_CHARS}]+", fullmatch=True)


def test_the_examples_of_rfc_3891() -> None:
    assert Replaces.parse("98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff") == Replaces(
        "98732@sip.example.com", "ff87ff", "r33th4x0r"
    )
    assert Replaces.parse("12adf2f34456gs5;to-tag=12345;from-tag=54321;early-only").early_only
    assert Replaces.parse("87134@171.161.34.23;to-tag=24796;from-tag=0").dialog_id == (
        "87134@171.161.34.23", "24796", "0",
    )  # fmt: skip


@given(TOKENS, TOKENS, TOKENS, st.booleans())
def test_what_is_printed_can_be_read(call_id: str, to_tag: str, from_tag: str, early: bool) -> None:
    replaces = Replaces(call_id, to_tag, from_tag, early)
    assert Replaces.parse(str(replaces)) == replaces


@pytest.mark.parametrize("text", ["", "a", "a;to-tag=1", "a;from-tag=1", ";to-tag=1;from-tag=2", "a;to-tag=<"])
def test_a_useless_header(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Replaces.parse(text)


def test_at_most_one() -> None:
    one = ("Replaces", "a;to-tag=1;from-tag=2")
    assert Replaces.of(Headers()) is None
    assert Replaces.of(Headers([one])) == Replaces("a", "1", "2")
    with pytest.raises(RemoteProtocolError, match="more than one"):
        Replaces.of(Headers([one, one]))


@given(TOKENS, TOKENS, TOKENS)
def test_refer_to_can_carry_it(call_id: str, to_tag: str, from_tag: str) -> None:
    replaces = str(Replaces(call_id, to_tag, from_tag))
    uri = with_replaces("sip:c@d;transport=tcp", replaces)
    assert ";" not in uri.partition("?")[2]
    assert without_replaces(uri) == ("sip:c@d;transport=tcp", replaces)


def test_other_header_fields_of_refer_to_are_left_out() -> None:
    assert without_replaces("sip:c@d?Subject=x&replaces=a%3Bto-tag%3D1&Y") == ("sip:c@d", "a;to-tag=1")
    assert without_replaces("sip:c@d?Subject=x") == ("sip:c@d", None)
    assert without_replaces("sip:c@d") == ("sip:c@d", None)
    assert without_replaces("sip:c@d?Replaces=a%0d%0aVia:x") == ("sip:c@d", "a Via:x")
