"""Offer and answer as the RFCs' own examples have them: RFC 3264 §10, RFC 4317 §2, RFC 4568 §7.1."""

from dataclasses import replace

from active_call.lanes.messages import PCMA, PCMU
from active_call.sdp.negotiate import LocalMedia, accept_answer, answer_offer, make_offer

BOB = LocalMedia("192.0.2.2", 49_920, ("pcmu", "pcma"), session_id=2890844730)
HEAD = "v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.1\r\ns=\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"


def sdp(*lines: str) -> bytes:
    return (HEAD + "".join(f"{line}\r\n" for line in lines)).encode()


def media_of(description: bytes) -> list[str]:
    return [line for line in description.decode().split("\r\n") if line.startswith("m=")]


def test_rfc3264_10_1_audio_and_two_videos() -> None:
    """Bob takes the audio. Codecs nobody has heard of, and all video, are refused one by one."""
    offer = sdp(
        "m=audio 49170 RTP/AVP 0",
        "a=rtpmap:0 PCMU/8000",
        "m=video 51372 RTP/AVP 31",
        "a=rtpmap:31 H261/90000",
        "m=video 53000 RTP/AVP 32",
        "a=rtpmap:32 MPV/90000",
    )
    answer, session = answer_offer(offer, BOB)
    assert media_of(answer) == ["m=audio 49920 RTP/AVP 0", "m=video 0 RTP/AVP 31", "m=video 0 RTP/AVP 32"]
    assert session.remote == ("192.0.2.1", 49170)
    assert (session.sends, session.sending, session.receiving) == (PCMU, True, True)


def test_rfc3264_10_2_one_of_several_codecs() -> None:
    """§10.2's second exchange: the offerer asks for one codec at a time, in the same session."""
    offer = sdp(
        "m=audio 62986 RTP/AVP 0 4 18", "a=rtpmap:0 PCMU/8000", "a=rtpmap:4 G723/8000", "a=rtpmap:18 G729/8000"
    )
    answer, session = answer_offer(offer, replace(BOB, codecs=("pcmu", "g729")))
    assert media_of(answer) == ["m=audio 49920 RTP/AVP 0 18"]
    assert "a=fmtp:18 annexb=no" in answer.decode()
    inactive = sdp("m=audio 62986 RTP/AVP 0 18", "a=inactive")
    answer, session = answer_offer(inactive, BOB)
    assert "a=inactive" in answer.decode()
    assert (session.sending, session.receiving, session.held) == (False, False, True)


def test_rfc4317_2_1_and_2_2_audio_in_offers_with_video() -> None:
    offer = sdp(
        "m=audio 49170 RTP/AVP 0 8 97",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:97 iLBC/8000",
        "m=video 51372 RTP/AVP 31 32",
        "a=rtpmap:31 H261/90000",
        "a=rtpmap:32 MPV/90000",
    )
    answer, session = answer_offer(offer, replace(BOB, codecs=("pcma", "pcmu")))
    assert media_of(answer) == ["m=audio 49920 RTP/AVP 0 8", "m=video 0 RTP/AVP 31 32"]
    assert session.sends == PCMA  # of all that both have, ours first


def test_rfc4317_2_4_two_audio_streams() -> None:
    """The second is for telephone-event alone, and only one stream is taken."""
    offer = sdp(
        "m=audio 49170 RTP/AVP 0 97",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:97 iLBC/8000",
        "m=audio 49172 RTP/AVP 98",
        "a=rtpmap:98 telephone-event/8000",
        "a=sendonly",
    )
    answer, session = answer_offer(offer, BOB)
    assert media_of(answer) == ["m=audio 49920 RTP/AVP 0", "m=audio 0 RTP/AVP 98"]
    assert session.sends_events is None


def test_rfc4317_3_1_hold_and_unhold() -> None:
    first = sdp("m=audio 49170 RTP/AVP 0 97", "a=rtpmap:97 iLBC/8000")
    hold = sdp("m=audio 49170 RTP/AVP 0 97", "a=rtpmap:97 iLBC/8000", "a=sendonly")
    for offer, direction, held in (
        (first, "sendrecv", False),
        (hold, "recvonly", True),
        (first, "sendrecv", False),
    ):
        answer, session = answer_offer(offer, BOB)
        assert f"a={direction}" in answer.decode()
        assert session.held is held
    # The other way round: our own hold is answered.
    holding = replace(BOB, hold=True)
    answer, theirs = answer_offer(make_offer(holding), replace(BOB, address="192.0.2.1"))
    ours = accept_answer(answer, holding)
    assert theirs.held
    assert (ours.sending, ours.receiving, ours.held) == (True, False, False)


def test_rfc4568_7_1_1_a_key_with_lifetime_and_identifier() -> None:
    """The answer takes the second of the two lines that are offered: the first is for a suite unknown here."""
    offer = sdp(
        "m=audio 49170 RTP/SAVP 0",
        "a=crypto:1 F8_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm|2^20|1:4;"
        "inline:QUJjZGVmMTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5|2^20|2:4 FEC_ORDER=FEC_SRTP",
        "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^20|1:32",
    )
    answer, session = answer_offer(offer, BOB)
    assert media_of(answer) == ["m=audio 49920 RTP/SAVP 0"]
    assert "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:" in answer.decode()
    assert session.srtp is not None
    assert session.srtp.receive == b"=-n@%^x!Bjufr9)?,#5h\\`=&]{qiPQ"
    assert session.srtp.receive_mki == 32
