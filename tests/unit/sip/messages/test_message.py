import pytest

from active_call.core.errors import RemoteProtocolError
from active_call.sip.hop import Hop
from active_call.sip.messages.message import (
    MAX_HEADERS,
    BadMessage,
    Headers,
    Request,
    Response,
    check_request,
    check_response,
    make_response,
    parse_message,
)
from tests.unit.sip.support import message

RESPONSE = (
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n"
    b"Call-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)


def request(data: bytes) -> Request:
    parsed = parse_message(data)
    assert isinstance(parsed, Request)
    return parsed


def faulty(data: bytes) -> BadMessage:
    with pytest.raises(BadMessage) as error:
        parse_message(data)
    return error.value


def test_a_request_round_trips() -> None:
    data = message("INVITE", body=b"v=0\r\n")
    parsed = request(data)
    assert (parsed.method, parsed.uri, parsed.body) == ("INVITE", "sip:bob@10.0.0.2", b"v=0\r\n")
    assert bytes(parsed) == data
    assert parse_message(bytes(parsed)) == parsed


def test_a_response_round_trips() -> None:
    parsed = parse_message(RESPONSE)
    assert isinstance(parsed, Response)
    assert (parsed.status, parsed.reason) == (200, "OK")
    assert bytes(parsed) == RESPONSE


def test_compact_names_are_long_names() -> None:
    parsed = request(b"OPTIONS sip:x SIP/2.0\r\nv: a\r\nF: b\r\nt: c\r\ni: d\r\nm: e\r\nl: 0\r\n\r\n")
    assert [parsed.headers.get(key) for key in ("via", "from", "to", "call-id", "contact")] == list("abcde")


def test_folded_lines_are_joined() -> None:
    parsed = request(b"OPTIONS sip:x SIP/2.0\r\nSubject: a\r\n  b\r\n\tc\r\nTo :\r\n sip:x@y\r\n\r\n")
    assert parsed.headers.get("subject") == "a b c"
    assert parsed.headers.get("to") == "sip:x@y"


def test_bytes_that_are_no_utf8_survive() -> None:
    data = b"OPTIONS sip:x SIP/2.0\r\nSubject: gr\xfc\xdfe\r\nContent-Length: 0\r\n\r\n"
    assert bytes(parse_message(data)) == data


def test_lists_over_several_lines() -> None:
    headers = Headers([("Route", "<sip:a;lr>, <sip:b,c>"), ("route", "<sip:d>")])
    assert headers.items("route") == ["<sip:a;lr>", "<sip:b,c>", "<sip:d>"]


def test_what_follows_the_body_is_cut() -> None:
    assert request(message("INVITE", body=b"abc") + b"garbage").body == b"abc"


def test_without_content_length_all_is_body() -> None:
    assert request(b"OPTIONS sip:x SIP/2.0\r\nTo: <sip:x>\r\n\r\nabc").body == b"abc"


def test_empty_lines_before_a_message_are_skipped() -> None:
    assert parse_message(b"\r\n\r\n" + RESPONSE) == parse_message(RESPONSE)


def test_lines_may_end_in_lf_alone() -> None:
    assert request(b"OPTIONS sip:x SIP/2.0\nTo: <sip:a@b>\n").to.uri == "sip:a@b"


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        (b"Content-Length: 9\r\n", "Content-Length is 9, but only 0 octets follow"),
        (b"Content-Length: -1\r\n", 'Content-Length "-1" is no number'),
        (b"Content-Length: 0\r\nl: 0\r\n", "more than one Content-Length"),
        (b"Foobar roobar\r\n", 'malformed header field "Foobar roobar"'),
        (b"a b: c\r\n", "malformed header field"),
        (b"Subject: a\rb\r\n", "a carriage return stands alone"),
        (b"a: b\r\n" * (MAX_HEADERS + 1), "header fields"),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", "Content-Length is 9"),
    ],
)
def test_faults_in_headers_are_named(headers: bytes, text: str) -> None:
    error = faulty(b"OPTIONS sip:x SIP/2.0\r\nTo: <sip:x>\r\n" + headers + b"\r\n")
    assert error.status == 400
    assert text in str(error)
    assert error.request is not None
    assert error.request.headers.get("to") == "<sip:x>"


@pytest.mark.parametrize(
    "line", ["OPTIONS  sip:x SIP/2.0", "OPTIONS sip:x SIP/2.0 ", "OPTIONS sip:x", "A(B) sip:x SIP/2.0", "x"]
)
def test_malformed_request_lines(line: str) -> None:
    error = faulty(f"{line}\r\nTo: <sip:x>\r\n\r\n".encode())
    assert error.status == 400
    assert error.request is not None


def test_another_version_gets_505() -> None:
    assert faulty(b"OPTIONS sip:x SIP/7.0\r\n\r\n").status == 505


@pytest.mark.parametrize(
    "line", ["SIP/2.0 99 x", "SIP/2.0 700 x", "SIP/2.0 4294967301 x", "SIP/3.0 200 OK", "SIP/2.0 OK"]
)
def test_malformed_responses_are_not_answered(line: str) -> None:
    assert faulty(f"{line}\r\n\r\n".encode()).request is None


def test_a_response_needs_no_reason() -> None:
    for data in (b"SIP/2.0 100 \r\n\r\n", b"SIP/2.0 100\r\n\r\n"):
        parsed = parse_message(data)
        assert isinstance(parsed, Response)
        assert parsed.reason == ""


@pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_requests_need_these_headers(name: str) -> None:
    lines = [line for line in message("INVITE").split(b"\r\n") if not line.startswith(name.encode() + b":")]
    with pytest.raises(RemoteProtocolError, match=f"{name} is missing"):
        check_request(request(b"\r\n".join(lines)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("From", "<sip:x@y>"),
        ("To", "<sip:x@y>"),
        ("Call-ID", "z"),
        ("CSeq", "1 INVITE"),
        ("Max-Forwards", "5"),
        ("Content-Type", "a/b"),
    ],
)
def test_headers_that_must_stand_alone(name: str, value: str) -> None:
    data = message("INVITE", headers=f"{name}: {value}\r\n", body=b"x")
    with pytest.raises(RemoteProtocolError, match=f"more than one {name}"):
        check_request(request(data))


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"CSeq: 1 INVITE", b"CSeq: 2147483648 INVITE", 400),
        (b"CSeq: 1 INVITE", b"CSeq: " + b"9" * 5000 + b" INVITE", 400),
        (b"CSeq: 1 INVITE", b"CSeq: INVITE", 400),
        (b"CSeq: 1 INVITE", b"CSeq: 1 OPTIONS", 400),
        (b"Max-Forwards: 70", b"Max-Forwards: 256", 400),
        (b"Max-Forwards: 70", b"Max-Forwards: " + b"0" * 5000 + b"300", 400),
        (b"Max-Forwards: 70", b"Max-Forwards: x", 400),
        (b"sip:bob@10.0.0.2 SIP", b"sip:bob@10.0.0.2?a=b SIP", 400),
        (b"sip:bob@10.0.0.2 SIP", b"<sip:bob@10.0.0.2> SIP", 400),
        (b"sip:bob@10.0.0.2 SIP", b"mailto:bob@10.0.0.2 SIP", 416),
        (b"Call-ID: c1", b"Call-ID:", 400),
    ],
)
def test_values_that_are_refused(old: bytes, new: bytes, status: int) -> None:
    data = message("INVITE")
    assert old in data
    with pytest.raises(RemoteProtocolError) as error:
        check_request(request(data.replace(old, new)))
    assert error.value.status == status


def test_a_new_method_with_another_cseq_is_not_implemented() -> None:
    with pytest.raises(RemoteProtocolError) as error:
        check_request(request(message("NEWMETHOD", cseq_method="INVITE")))
    assert error.value.status == 501


def test_max_forwards_may_be_zero_or_missing() -> None:
    data = message("OPTIONS")
    check_request(request(data.replace(b"Max-Forwards: 70", b"Max-Forwards: 0068")))
    check_request(request(data.replace(b"Max-Forwards: 70", b"Max-Forwards: 0")))
    check_request(request(data.replace(b"Max-Forwards: 70\r\n", b"")))


@pytest.mark.parametrize(
    "via", [b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP i", b"Via: SIP/2.0/UDP h, SIP/2.0/UDP i"]
)
def test_responses_for_others_are_refused(via: bytes) -> None:
    parsed = parse_message(RESPONSE.replace(b"Via: SIP/2.0/UDP h;branch=z9hG4bK1", via))
    assert isinstance(parsed, Response)
    with pytest.raises(RemoteProtocolError, match="more than one Via"):
        check_response(parsed)


def test_a_response_copies_what_it_answers() -> None:
    parsed = request(message("OPTIONS", headers="Via: SIP/2.0/UDP second;branch=z\r\n"))
    response = make_response(parsed, 200, tag="t")
    assert response.headers.all("via") == parsed.headers.all("via")
    assert response.headers.get("to") == "<sip:bob@10.0.0.2>;tag=t"
    assert response.start_line == "SIP/2.0 200 OK"


def test_a_response_keeps_the_tag_that_is_there() -> None:
    assert make_response(request(message("BYE", to_tag="x")), 200, tag="t").to.tag == "x"


def test_a_reason_can_not_break_the_line() -> None:
    assert make_response(request(message("BYE")), 400, "a\r\nb").reason == "a b"


def test_only_the_topmost_via_is_stamped() -> None:
    parsed = request(message("OPTIONS", via="SIP/2.0/UDP pc;rport, SIP/2.0/UDP second"))
    parsed.headers.replace_first("via", "SIP/2.0/UDP pc;rport, SIP/2.0/UDP second")
    parsed.stamp(Hop("10.0.0.9", 7))
    assert parsed.headers.get("via") == "SIP/2.0/UDP pc;rport=7;received=10.0.0.9, SIP/2.0/UDP second"
    assert bytes(parsed).count(b"received=10.0.0.9") == 1


def test_hostile_folding_takes_linear_time() -> None:
    data = b"OPTIONS sip:x SIP/2.0\r\nSubject: " + b" " * 60_000 + b"\r\n" + b" x\r\n" * 1000 + b"\r\n"
    assert request(data).headers.get("subject") == " ".join("x" * 1000)
