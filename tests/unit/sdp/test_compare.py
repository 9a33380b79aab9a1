import pytest

from active_call.sdp.compare import same_session

SDP = (
    b"v=0\r\no=- 7 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0\r\na=ssrc:1 cname:x\r\n"
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b""),
        (b"o=- 7 1 IN IP4 10.0.0.1", b"o=bob 7 1 IN IP4 pbx.example"),
        (b"t=0 0", b"t=1 2"),
        (b"a=ssrc:1 cname:x\r\n", b"a=ssrc:2 cname:y\r\na=msid:z\r\n\r\n"),
        (b"\r\n", b"\n"),
    ],
)
def test_what_changes_nothing(old: bytes, new: bytes) -> None:
    assert same_session(SDP, SDP.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"o=- 7 1", b"o=- 7 2"),
        (b"4000", b"4002"),
        (b"AVP 0", b"AVP 8"),
        (b"c=IN IP4 10.0.0.1", b"c=IN IP4 10.0.0.2"),
    ],
)
def test_what_is_news(old: bytes, new: bytes) -> None:
    assert not same_session(SDP, SDP.replace(old, new))
