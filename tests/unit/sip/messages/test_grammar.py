import pytest

from active_call.core.errors import RemoteProtocolError
from active_call.sip.messages.grammar import (
    format_params,
    is_token,
    one_line,
    parse_params,
    printable,
    quote,
    salvage_params,
    split_list,
    unquote,
)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a, b", ["a", "b"]),
        ("a", ["a"]),
        ('"x, y" <sip:a,b@c>, <sip:d>', ['"x, y" <sip:a,b@c>', "<sip:d>"]),
        (r'"a\", b", c', [r'"a\", b"', "c"]),
    ],
)
def test_lists_are_cut_outside_quotes_and_brackets(text: str, items: list[str]) -> None:
    assert split_list(text) == items


@pytest.mark.parametrize("text", ['"open, <a>', "<open, a", 'a"'])
def test_an_open_quote_or_bracket_is_an_error(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        split_list(text)


def test_parameters_round_trip() -> None:
    params = parse_params(';tag=abc;lr;x="a;b"')
    assert params == {"tag": "abc", "lr": None, "x": '"a;b"'}
    assert format_params(params) == ';tag=abc;lr;x="a;b"'


def test_parameters_may_have_space_around_and_any_case() -> None:
    assert parse_params(" ; Tag  =  x ; LR ") == {"tag": "x", "lr": None}


def test_the_first_of_two_equal_parameters_counts() -> None:
    assert parse_params(";a=1;a=2") == {"a": "1"}


@pytest.mark.parametrize("text", [";;", ";a=b c", "x", ";", ";a b", ';a="x'])
def test_malformed_parameters(text: str) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed parameters"):
        parse_params(text)


def test_what_is_well_formed_can_be_salvaged() -> None:
    assert salvage_params(";;,;rport;,branch=z;= ;a b") == {"rport": None, "branch": "z"}


def test_quoting_round_trips() -> None:
    assert unquote(quote('say "\\"')) == 'say "\\"'
    assert unquote("plain") == "plain"


def test_tokens() -> None:
    assert is_token("a-.!%*_+`'~Z9")
    assert not is_token("")
    assert not is_token("a b")
    assert not is_token("a:b")


def test_nothing_gets_out_of_a_line() -> None:
    assert one_line("a\r\nVia: b\x00\tc ") == "a Via: b \tc"


def test_printable_text_can_be_encoded() -> None:
    assert printable("gr\udcfc\udcdfe") == "gr\ufffd\ufffde"
    assert printable("grüße") == "grüße"


@pytest.mark.parametrize(
    "text", ['"' + "a" * 60_000, " " * 60_000 + "x", ";a" + " " * 60_000 + "x", "<" * 60_000]
)
def test_hostile_input_takes_linear_time(text: str) -> None:
    # Quadratic patterns would take minutes here.
    for parse in (split_list, parse_params):
        try:
            parse(text)
        except RemoteProtocolError:
            continue
    salvage_params(text)


def test_printable_text_can_not_steer_a_terminal() -> None:
    assert printable("a\x1b[2J\x00b") == "a [2J b"
