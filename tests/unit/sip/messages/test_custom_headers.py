import pytest

from active_call.core.errors import LocalProtocolError
from active_call.sip.messages.custom_headers import checked_headers, explained, usable_headers


def test_headers_that_carry_the_protocol_are_ours() -> None:
    assert checked_headers([("X-A", "b\r\nc")]) == (("X-A", "b c"),)
    for name in ("Via", "CSeq", "content-length", "A B", ""):
        with pytest.raises(LocalProtocolError):
            checked_headers([(name, "x")])


def test_no_header_keeps_a_call_from_ending() -> None:
    assert usable_headers([("To", "x"), ("X-A", "1")]) == (("X-A", "1"),)


def test_a_refusal_says_why_in_warning_and_reason() -> None:
    assert explained(488, 'no "common" codec', "10.0.0.2", [("X-A", "1")]) == [
        ("X-A", "1"),
        ("Warning", '305 10.0.0.2 "no \\"common\\" codec"'),
        ("Reason", 'SIP;cause=488;text="no \\"common\\" codec"'),
    ]
    assert explained(503, "webhook down", "h", [("reason", "x")])[1:] == [("Warning", '399 h "webhook down"')]


def test_a_success_and_a_standard_phrase_need_no_explanation() -> None:
    for status, words in ((200, "fine"), (486, "Busy Here"), (486, ""), (183, "early")):
        assert explained(status, words, "h", []) == []


def test_an_explanation_stays_on_its_line() -> None:
    for _, value in explained(500, "a\r\nVia: evil", "h", []):
        assert "\n" not in value
