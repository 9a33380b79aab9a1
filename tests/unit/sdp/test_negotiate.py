from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.core.errors import RemoteProtocolError
from active_call.sdp.negotiate import LocalMedia, NoCommonCodec, accept_answer, answer_offer, make_offer

LOCAL = LocalMedia("10.0.0.2", 5000, ("pcmu", "pcma"), session_id=7)
HEAD = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"


def sdp(*lines: str, head: str = HEAD) -> bytes:
    return (head + "".join(f"{line}\r\n" for line in lines)).encode()


def lines_of(answer: bytes) -> list[str]:
    return answer.decode().split("\r\n")


def test_our_offer() -> None:
    assert make_offer(LOCAL).decode() == (
        "v=0\r\no=- 7 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n"
        "m=audio 5000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
        "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    )


def test_two_of_us_agree() -> None:
    caller = replace(LOCAL, address="10.0.0.1", codecs=("pcma", "pcmu"))
    answer, callees = answer_offer(make_offer(caller), LOCAL)
    callers = accept_answer(answer, caller)
    assert callees.codec == callers.codec == "pcma"
    assert callers.remote == ("10.0.0.2", 5000)
    assert callees.remote == ("10.0.0.1", 5000)
    assert callees.remote_rtcp == ("10.0.0.1", 5001)
    assert callees.dtmf_payload_type == callers.dtmf_payload_type == 101
    assert callees.sending
    assert callees.receiving
    assert not callees.held


@pytest.mark.parametrize(
    ("media", "codec", "payload_type", "dtmf"),
    [
        (("m=audio 4000 RTP/AVP 0",), "pcmu", 0, None),
        (("m=audio 4000 RTP/AVP 8 0",), "pcma", 8, None),
        (("m=audio 4000 RTP/AVP 18 8",), "pcma", 8, None),
        (("m=audio 4000 RTP/AVP 101 0 8", "a=rtpmap:101 telephone-event/8000"), "pcmu", 0, 101),
        (
            ("m=audio 4000 RTP/AVP 97 126", "a=rtpmap:97 pcmu/8000/1", "a=rtpmap:126 Telephone-Event/8000"),
            "pcmu",
            97,
            126,
        ),
        (
            (
                "m=audio 4000 RTP/AVP 96 8 110 97",
                "a=rtpmap:96 opus/48000/2",
                "a=rtpmap:110 telephone-event/48000",
                "a=rtpmap:97 telephone-event/8000",
            ),
            "pcma",
            8,
            97,
        ),
        (("m=audio 4000 RTP/AVPF 0",), "pcmu", 0, None),
        (("m=audio 4000 RTP/AVP 0 *",), "pcmu", 0, None),
    ],
)
def test_codecs_in_the_offers_order(
    media: tuple[str, ...], codec: str, payload_type: int, dtmf: int | None
) -> None:
    answer, negotiated = answer_offer(sdp(*media), LOCAL)
    assert (negotiated.codec, negotiated.payload_type, negotiated.dtmf_payload_type) == (
        codec,
        payload_type,
        dtmf,
    )
    (line,) = [one for one in lines_of(answer) if one.startswith("m=")]
    assert line.split()[3] == str(payload_type)
    assert ("telephone-event" in answer.decode().lower()) is (dtmf is not None)
    assert (str(dtmf) in line.split()) is (dtmf is not None)


def test_a_dynamic_codec_keeps_its_clock() -> None:
    local = replace(LOCAL, codecs=("opus", "pcmu"))
    offer = sdp(
        "m=audio 4000 RTP/AVP 107 101 110",
        "a=rtpmap:107 OPUS/48000/2",
        "a=rtpmap:101 telephone-event/8000",
        "a=rtpmap:110 telephone-event/48000",
    )
    answer, negotiated = answer_offer(offer, local)
    assert (negotiated.codec, negotiated.payload_type, negotiated.dtmf_payload_type) == ("opus", 107, 110)
    assert "m=audio 5000 RTP/AVP 107 110" in lines_of(answer)


def test_without_dtmf_none_is_answered() -> None:
    offer = sdp("m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000")
    answer, negotiated = answer_offer(offer, replace(LOCAL, dtmf=False))
    assert negotiated.dtmf_payload_type is None
    assert "m=audio 5000 RTP/AVP 0" in lines_of(answer)
    assert b"telephone-event" not in make_offer(replace(LOCAL, dtmf=False))


@pytest.mark.parametrize(
    ("offered", "answered", "sending", "receiving", "held"),
    [
        ("sendrecv", "sendrecv", True, True, False),
        ("sendonly", "recvonly", False, True, True),
        ("recvonly", "sendonly", True, False, False),
        ("inactive", "inactive", False, False, True),
        ("", "sendrecv", True, True, False),
    ],
)
def test_directions_are_mirrored(
    offered: str, answered: str, sending: bool, receiving: bool, held: bool
) -> None:
    attribute = (f"a={offered}",) if offered else ()
    answer, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 0", *attribute), LOCAL)
    assert f"a={answered}" in lines_of(answer)
    assert (negotiated.sending, negotiated.receiving, negotiated.held) == (sending, receiving, held)
    back = accept_answer(sdp("m=audio 4000 RTP/AVP 0", *attribute), LOCAL)
    assert (back.sending, back.receiving, back.held) == (sending, receiving, held)


@pytest.mark.parametrize(
    ("offered", "answered"),
    [("sendrecv", "sendonly"), ("sendonly", "inactive"), ("recvonly", "sendonly"), ("inactive", "inactive")],
)
def test_we_can_hold(offered: str, answered: str) -> None:
    answer, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 0", f"a={offered}"), LOCAL, hold=True)
    assert f"a={answered}" in lines_of(answer)
    assert not negotiated.receiving


@pytest.mark.parametrize("where", ["session", "media"])
def test_the_address_zero_is_hold(where: str) -> None:
    if where == "session":
        offer = sdp("m=audio 4000 RTP/AVP 0", head=HEAD.replace("c=IN IP4 10.0.0.1", "c=IN IP4 0.0.0.0"))
    else:
        offer = sdp("m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0")
    _, negotiated = answer_offer(offer, LOCAL)
    assert negotiated.held
    assert not negotiated.sending
    assert negotiated.remote is None
    assert negotiated.remote_rtcp is None


def test_every_offered_medium_gets_an_answer() -> None:
    offer = sdp(
        "m=video 4002 RTP/AVP 31", "m=audio 4000 RTP/AVP 0", "m=audio 4004 RTP/AVP 8", "m=image 1 udptl t38"
    )
    answer, _ = answer_offer(offer, LOCAL)
    assert [line for line in lines_of(answer) if line.startswith("m=")] == [
        "m=video 0 RTP/AVP 31",
        "m=audio 5000 RTP/AVP 0",
        "m=audio 0 RTP/AVP 8",
        "m=image 0 udptl t38",
    ]


def test_the_media_address_wins_and_may_be_ipv6() -> None:
    _, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::5"), LOCAL)
    assert negotiated.remote == ("2001:db8::5", 4000)
    assert b"c=IN IP6 ::1" in make_offer(replace(LOCAL, address="::1"))


@pytest.mark.parametrize(
    ("attribute", "rtcp"),
    [
        ("a=rtcp:6000", ("10.0.0.1", 6000)),
        ("a=rtcp:6000 IN IP4 10.0.0.9", ("10.0.0.9", 6000)),
        ("a=rtcp:x", ("10.0.0.1", 4001)),
        ("a=rtcp-mux", ("10.0.0.1", 4001)),
    ],
)
def test_where_rtcp_goes(attribute: str, rtcp: tuple[str, int]) -> None:
    answer, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 0", attribute), LOCAL)
    assert negotiated.remote_rtcp == rtcp
    assert b"rtcp-mux" not in answer


@pytest.mark.parametrize(
    ("attributes", "ptime_ms"),
    [((), 20), (("a=ptime:30",), 30), (("a=ptime:20.0",), 20), (("a=ptime:200",), 60), (("a=ptime:x",), 20)]
    + [(("a=ptime:40", "a=maxptime:20"), 20), (("a=maxptime:10",), 10), (("a=ptime:1",), 20)],
)
def test_packet_durations(attributes: tuple[str, ...], ptime_ms: int) -> None:
    _, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 0", *attributes), LOCAL)
    assert negotiated.ptime_ms == ptime_ms


@pytest.mark.parametrize(
    ("media", "theirs"),
    [
        (("m=audio 4000 RTP/AVP 18 96", "a=rtpmap:96 AMR/8000"), "G729/8000, AMR/8000"),
        (("m=audio 4000 RTP/AVP 99",), "payload type 99"),
        (("m=audio 0 RTP/AVP 0",), "audio (refused)"),
        (("m=audio 4000 RTP/SAVP 0",), "audio over RTP/SAVP"),
        (("m=video 4000 RTP/AVP 31",), "video"),
        ((), "none"),
    ],
)
def test_nothing_in_common(media: tuple[str, ...], theirs: str) -> None:
    for negotiate in (answer_offer, accept_answer):
        with pytest.raises(NoCommonCodec) as error:
            negotiate(sdp(*media), LOCAL)
        assert str(error.value) == f"no common codec; theirs: {theirs}; ours: PCMU/8000, PCMA/8000"
        assert error.value.status == 488


def test_audio_without_an_address_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="no c= line"):
        answer_offer(sdp("m=audio 4000 RTP/AVP 0", head=HEAD.replace("c=IN IP4 10.0.0.1\r\n", "")), LOCAL)


@pytest.mark.parametrize("address", ["media.example.com", "1", "0x7f.1", "10.0.0.256"])
def test_media_are_sent_to_addresses_only(address: str) -> None:
    """The media plane must never look up a name: that would stop all calls."""
    offer = sdp("m=audio 4000 RTP/AVP 0", f"c=IN IP4 {address}")
    for negotiate in (answer_offer, accept_answer):
        with pytest.raises(RemoteProtocolError, match="no IP address") as error:
            negotiate(offer, LOCAL)
        assert error.value.status == 488
    _, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 0", f"a=rtcp:6000 IN IP4 {address}"), LOCAL)
    assert negotiated.remote_rtcp == ("10.0.0.1", 6000)


def test_only_what_we_can_hear_is_answered() -> None:
    """The media plane decodes one payload type: whatever the answer lists, the peer may send."""
    answer, _ = answer_offer(sdp("m=audio 4000 RTP/AVP 8 0 101", "a=rtpmap:101 telephone-event/8000"), LOCAL)
    assert "m=audio 5000 RTP/AVP 8 101" in lines_of(answer)
    assert b"PCMU" not in answer


def test_as_offerer_our_first_choice_wins() -> None:
    assert accept_answer(sdp("m=audio 4000 RTP/AVP 8 0"), LOCAL).codec == "pcmu"
    assert accept_answer(sdp("m=audio 4000 RTP/AVP 8"), LOCAL).codec == "pcma"


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 20))
def test_no_description_breaks_us(noise: bytes, start: int, length: int) -> None:
    offer = bytearray(make_offer(LOCAL))
    offer[start : start + length] = noise
    try:
        answer, _ = answer_offer(bytes(offer), LOCAL)
    except RemoteProtocolError:
        return
    accept_answer(answer, LOCAL)
