import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.lanes.messages import PCMA, PCMU, TELEPHONE_EVENT, RtpFormat
from active_call.sdp.codecs import (
    CODECS,
    STATIC,
    fmtp_of,
    format_of,
    formats_to_offer,
    is_audio,
    name_of,
    rtpmap_of,
)

OPUS = RtpFormat(111, "opus", 48000)


@pytest.mark.parametrize(
    ("rtpmap", "codec", "clock_hz"),
    [
        ("PCMU/8000", "pcmu", 8000),
        ("pcma/8000/1", "pcma", 8000),
        ("G722/8000", "g722", 8000),
        ("G722/16000", "g722", 8000),
        ("opus/48000/2", "opus", 48000),
        ("OPUS/48000", "opus", 48000),
        ("G729/8000", "g729", 8000),
        ("G729A/8000", "g729", 8000),
        ("L16/16000", "l16", 16000),
        ("L16/8000/1", "l16", 8000),
        ("Telephone-Event/48000", "telephone-event", 48000),
        ("CN/8000", "cn", 8000),
    ],
)
def test_what_an_rtpmap_means(rtpmap: str, codec: str, clock_hz: int) -> None:
    found = format_of(99, rtpmap)
    assert found is not None
    assert (found.payload_type, found.codec, found.clock_hz) == (99, codec, clock_hz)


@pytest.mark.parametrize(
    "rtpmap",
    ["", "PCMU", "PCMU/16000", "PCMU/8000/2", "L16/44100", "L16/16000/2", "opus/16000", "AMR/8000", "/", "///"],
)
def test_what_we_are_not(rtpmap: str) -> None:
    assert format_of(99, rtpmap) is None


def test_every_codec_is_recognised_by_its_own_name() -> None:
    for name, formats in CODECS.items():
        for one in formats:
            assert format_of(one.payload_type, rtpmap_of(one)) == one
            assert name_of(one) == name
            assert is_audio(one)
    assert not is_audio(TELEPHONE_EVENT)
    assert format_of(13, STATIC[13]) == RtpFormat(13, "cn")


@given(st.text(max_size=30))
def test_no_rtpmap_breaks_us(rtpmap: str) -> None:
    found = format_of(99, rtpmap)
    assert found is None or format_of(99, rtpmap_of(found)) == found


def test_offers_have_telephone_event_with_each_clock() -> None:
    offered = formats_to_offer(("opus", "pcmu", "pcma"), dtmf=True, before=())
    assert offered == (OPUS, PCMU, PCMA, RtpFormat(110, "telephone-event", 48000), TELEPHONE_EVENT)
    assert formats_to_offer(("pcmu",), dtmf=False, before=()) == (PCMU,)


def test_payload_types_keep_their_meaning_in_a_session() -> None:
    """RFC 3264 §8.3.2: a number is never given to another codec."""
    before = (
        RtpFormat(107, "opus", 48000),
        RtpFormat(111, "telephone-event"),
        RtpFormat(96, "telephone-event", 48000),
    )
    offered = formats_to_offer(("opus", "pcm"), dtmf=True, before=before)
    assert offered == (
        RtpFormat(107, "opus", 48000),
        RtpFormat(97, "l16", 16000),
        RtpFormat(98, "l16", 8000),
        RtpFormat(96, "telephone-event", 48000),
        RtpFormat(102, "telephone-event", 16000),
        RtpFormat(111, "telephone-event"),
    )


def test_a_codec_without_a_free_number_is_left_out() -> None:
    before = tuple(RtpFormat(number, "cn") for number in range(96, 128))
    assert formats_to_offer(("opus", "pcmu"), dtmf=False, before=before) == (PCMU,)


def test_parameters() -> None:
    assert fmtp_of(OPUS) == "useinbandfec=1;stereo=0"
    assert fmtp_of(RtpFormat(18, "g729")) == "annexb=no"
    assert fmtp_of(TELEPHONE_EVENT) == "0-15"
    assert fmtp_of(PCMU) is None
