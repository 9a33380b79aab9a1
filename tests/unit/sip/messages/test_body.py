import pytest

from active_call.core.errors import RemoteProtocolError
from active_call.sip.messages.body import accepts_sdp, sdp_of
from active_call.sip.messages.message import Headers, Request

MULTIPART = (
    b"preamble\r\n--b1\r\nContent-Type: application/isup\r\n\r\n\x01\x02\r\n"
    b"--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b1--\r\n"
)


def carrying(body: bytes, *headers: tuple[str, str]) -> Request:
    return Request("INVITE", "sip:x", Headers(headers), body)


def test_no_body_is_no_sdp() -> None:
    assert sdp_of(carrying(b"", ("Content-Type", "application/sdp"))) is None


@pytest.mark.parametrize("kind", ["application/sdp", "Application/SDP ; charset=utf-8"])
def test_a_plain_body(kind: str) -> None:
    assert sdp_of(carrying(b"v=0", ("c", kind))) == b"v=0"


@pytest.mark.parametrize("kind", ["mixed", "alternative", "related"])
@pytest.mark.parametrize("boundary", ["b1", '"b1"'])
def test_sdp_among_other_parts(kind: str, boundary: str) -> None:
    assert sdp_of(carrying(MULTIPART, ("Content-Type", f"multipart/{kind};boundary={boundary}"))) == b"v=0\r\n"


@pytest.mark.parametrize("disposition", ["signal;handling=optional", 'signal ; Handling = "optional"'])
def test_what_may_be_ignored_is(disposition: str) -> None:
    headers = (("Content-Type", "application/isup;version=itu-t92+"), ("Content-Disposition", disposition))
    assert sdp_of(carrying(b"\x01", *headers)) is None


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Content-Type", "application/unknownformat")],
        [("Content-Type", "multipart/mixed")],
        [("Content-Type", "multipart/mixed;boundary=other")],
        [("Content-Type", "application/sdp"), ("Content-Encoding", "gzip")],
    ],
)
def test_other_bodies_get_415(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(RemoteProtocolError) as error:
        sdp_of(carrying(b"x", *headers))
    assert error.value.status == 415


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [("application/sdp", True), ("text/plain, */*;q=0.1", True), ("text/nobodyKnowsThis", False), ("", False)],
)
def test_whether_our_answer_would_be_read(accept: str, accepted: bool) -> None:
    assert accepts_sdp(Headers([("Accept", accept)])) is accepted
    assert accepts_sdp(Headers())
