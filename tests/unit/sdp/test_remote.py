import pytest

from active_call.core.errors import RemoteProtocolError
from active_call.lanes.messages import PCMA, PCMU
from active_call.sdp.remote import NoCommonCodec, RemoteAudio, address_in, pick_audio
from active_call.sdp.session import SessionDescription

HEAD = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nt=0 0\r\n"
HERE = "10.0.0.2"


def session(*lines: str) -> SessionDescription:
    return SessionDescription.parse((HEAD + "".join(f"{line}\r\n" for line in lines)).encode())


def audio(*lines: str) -> RemoteAudio:
    whole = session("m=audio 4000 RTP/AVP 0 8", "c=IN IP4 10.0.0.1", *lines)
    return RemoteAudio(whole, whole.media[0], HERE)


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (("c=IN IP4 10.0.0.1", "m=audio 4000 RTP/AVP 0"), "10.0.0.1"),
        (("c=IN IP4 10.0.0.1", "m=audio 4000 RTP/AVP 0", "c=IN IP6 ::1"), "::1"),
        (
            ("c=IN IP4 10.0.0.1", "m=video 4000 RTP/AVP 0", "m=audio 1 RTP/AVP 0", "c=IN IP4 10.0.0.9"),
            "10.0.0.9",
        ),
        (("c=IN IP4 0.0.0.0", "m=audio 4000 RTP/AVP 0"), None),
        (("c=IN IP4 name.example", "m=audio 4000 RTP/AVP 0"), None),
        (("m=audio 4000 RTP/AVP 0",), None),
        ((), None),
    ],
)
def test_the_address_of_a_description(lines: tuple[str, ...], address: str | None) -> None:
    assert address_in(bytes(session(*lines))) == address


def test_nonsense_has_no_address() -> None:
    assert address_in(b"") is None
    assert address_in(b"nonsense") is None


def test_what_is_named_is_bounded() -> None:
    """It is repeated in refusals."""
    many = " ".join(str(number % 128) for number in range(1000))
    long = session(f"m=audio 4000 RTP/AVP {many}", "c=IN IP4 10.0.0.1", f"a=rtpmap:0 {'x' * 1000}/8000")
    found = RemoteAudio(long, long.media[0], HERE)
    assert len(found.named) == 64
    assert max(map(len, found.named)) == 40
    assert len(found.formats) <= 64


def test_formats_are_in_the_peers_order_and_ours_alone() -> None:
    assert audio().audio(("pcma", "pcmu", "opus")) == [PCMU, PCMA]
    assert audio("a=rtpmap:0 AMR/8000").audio(("pcma", "pcmu")) == [PCMA]
    assert audio("a=rtpmap:x PCMU/8000", "a=rtpmap:", "a=rtpmap:999 PCMA/8000").formats == (PCMU, PCMA)


def test_the_first_stream_that_can_be_taken() -> None:
    whole = session("c=IN IP4 10.0.0.1", "m=audio 1 RTP/SAVP 0", "m=audio 2 RTP/AVP 9", "m=audio 3 RTP/AVP 8")
    assert pick_audio(whole, ("pcmu", "pcma"), HERE).rtp == ("10.0.0.1", 3)
    assert pick_audio(whole, ("pcmu",), HERE, also=("g722",)).rtp == ("10.0.0.1", 2)
    with pytest.raises(RemoteProtocolError, match="RTP/SAVP needs a usable a=crypto line"):
        pick_audio(whole, ("opus",), HERE)
    with pytest.raises(NoCommonCodec, match="theirs: PCMU/8000, PCMA/8000; ours: opus/48000/2"):
        pick_audio(session("c=IN IP4 10.0.0.1", "m=audio 2 RTP/AVP 0 8"), ("opus",), HERE)
