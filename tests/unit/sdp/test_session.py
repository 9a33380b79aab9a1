import pytest

from active_call.core.errors import RemoteProtocolError
from active_call.sdp.session import Attribute, Media, Origin, SessionDescription

TEXT = (
    "v=0\r\no=alice 1 2 IN IP4 10.0.0.1\r\ns=a call\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\na=sendonly\r\n"
    "m=audio 4000 RTP/AVP 0 101\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:101 telephone-event/8000\r\na=recvonly\r\n"
    "m=video 0 RTP/AVP 31\r\n"
)
VALUE = SessionDescription(
    Origin("alice", "1", "2", "10.0.0.1"),
    (
        Media(
            "audio",
            4000,
            "RTP/AVP",
            ("0", "101"),
            "2001:db8::1",
            (Attribute("rtpmap", "101 telephone-event/8000"), Attribute("recvonly")),
        ),
        Media("video", 0, "RTP/AVP", ("31",)),
    ),
    "10.0.0.1",
    (Attribute("sendonly"),),
    "a call",
)


def test_parse_value_string() -> None:
    assert SessionDescription.parse(TEXT.encode()) == VALUE
    assert str(VALUE) == TEXT


def test_media_override_the_session() -> None:
    audio, video = VALUE.media
    assert (VALUE.address_of(audio), VALUE.direction_of(audio)) == ("2001:db8::1", "recvonly")
    assert (VALUE.address_of(video), VALUE.direction_of(video)) == ("10.0.0.1", "sendonly")


def test_line_ends_and_unknown_lines_are_tolerated() -> None:
    odd = TEXT.replace("\r\n", "\n").replace("t=0 0", "b=AS:64\nt=0 0\nk=clear:x\nx=y\n") + "\n\n"
    assert SessionDescription.parse(odd.encode()) == VALUE


def test_attributes_are_found_by_name() -> None:
    media = Media(
        "audio", 1, "RTP/AVP", ("0",), attributes=(Attribute("a", "1"), Attribute("b"), Attribute("a", "2"))
    )
    assert media.attribute("a") == "1"
    assert list(media.values("a")) == ["1", "2"]
    assert media.attribute("b") is None


def test_refused_media_may_lack_formats() -> None:
    session = SessionDescription.parse((TEXT + "m=video 0 RTP/AVP\r\n").encode())
    assert (session.media[-1].kind, session.media[-1].formats) == ("video", ())
    with pytest.raises(RemoteProtocolError, match="needs kind, port, profile and formats"):
        SessionDescription.parse((TEXT + "m=video 4002 RTP/AVP\r\n").encode())


def test_multicast_addresses_lose_their_ttl() -> None:
    session = SessionDescription.parse(TEXT.replace("c=IN IP4 10.0.0.1", "c=IN IP4 224.2.1.1/127/3").encode())
    assert session.address == "224.2.1.1"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("v=0", "v=1", "does not begin with v=0"),
        ("o=alice 1 2 IN IP4 10.0.0.1\r\n", "", "no o= line"),
        ("m=audio 4000", "m=audio", "SDP line 7"),
        ("m=audio 4000", "m=audio 70000", "the port is no number below 65536"),
        ("m=audio 4000", "m=audio x", "the port is no number"),
        ("m=audio", "m =audio", "no type=value"),
        ("c=IN IP4 10.0.0.1", "c=IN IP5 10.0.0.1", 'SDP line 4 "c=IN IP5 10.0.0.1"'),
        ("c=IN IP4 10.0.0.1", "c=", "SDP line 4"),
    ],
)
def test_malformed_lines_are_named(old: str, new: str, text: str) -> None:
    with pytest.raises(RemoteProtocolError) as error:
        SessionDescription.parse(TEXT.replace(old, new, 1).encode())
    assert text in str(error.value)
    assert error.value.status == 400


@pytest.mark.parametrize(
    ("line", "origin"),
    [
        ("o=", Origin("-", "0", "0", "0.0.0.0")),
        ("o=bob", Origin("bob", "0", "0", "0.0.0.0")),
        ("o=- 1 2 IN IP4", Origin("-", "1", "2", "0.0.0.0")),
        ("o=my phone 1 2 IN IP4 10.0.0.9", Origin("my", "phone", "1", "IP4")),
    ],
)
def test_t08_a_malformed_origin_is_tolerated(line: str, origin: Origin) -> None:
    """Nothing depends on it."""
    text = TEXT.replace("o=alice 1 2 IN IP4 10.0.0.1", line)
    assert SessionDescription.parse(text.encode()).origin == origin


def test_an_attribute_of_the_session_is_one_of_its_media() -> None:
    session = SessionDescription.parse((TEXT.replace("t=0 0", "t=0 0\na=fingerprint:x")).encode())
    audio, video = session.media
    assert session.has(audio, "fingerprint")
    assert session.has(video, "fingerprint")
    assert session.has(audio, "recvonly")
    assert not session.has(video, "recvonly")
