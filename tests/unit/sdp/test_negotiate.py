from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.core.errors import RemoteProtocolError
from active_call.lanes.messages import PCMA, PCMU, TELEPHONE_EVENT, RtpFormat
from active_call.sdp.crypto import crypto_value, fresh_keys, usable_lines
from active_call.sdp.negotiate import (
    LocalMedia,
    Negotiated,
    NoCommonCodec,
    Srtp,
    accept_answer,
    answer_offer,
    make_offer,
)
from active_call.sdp.session import SessionDescription

LOCAL = LocalMedia("10.0.0.2", 5000, ("pcmu", "pcma"), session_id=7)
WIDE = replace(LOCAL, codecs=("opus", "g722", "pcmu", "pcma", "g729"))
HEAD = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"
EVENT = "a=rtpmap:101 telephone-event/8000"


def sdp(*lines: str, head: str = HEAD) -> bytes:
    return (head + "".join(f"{line}\r\n" for line in lines)).encode()


def lines_of(answer: bytes) -> list[str]:
    return answer.decode().split("\r\n")


def media_line(answer: bytes) -> str:
    (line,) = [one for one in lines_of(answer) if one.startswith("m=audio")]
    return line


def numbers(formats: tuple[RtpFormat, ...]) -> list[int]:
    return [one.payload_type for one in formats]


# --- codecs -------------------------------------------------------------------------------------------


def test_our_offer() -> None:
    assert make_offer(LOCAL).decode() == (
        "v=0\r\no=- 7 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n"
        "m=audio 5000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
        "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=rtcp-mux\r\na=ptime:20\r\na=sendrecv\r\n"
    )
    wide = lines_of(make_offer(WIDE))
    assert "m=audio 5000 RTP/AVP 111 9 0 8 18 110 101" in wide
    assert "a=fmtp:111 useinbandfec=1;stereo=0" in wide
    assert "a=fmtp:18 annexb=no" in wide
    assert "a=rtpmap:110 telephone-event/48000" in wide


def test_two_of_us_agree() -> None:
    caller = replace(LOCAL, address="10.0.0.1", codecs=("pcma", "pcmu"))
    answer, callees = answer_offer(make_offer(caller), LOCAL)
    callers = accept_answer(answer, caller)
    assert (callers.codec, callees.codec) == ("pcma", "pcmu")  # each sends what it likes best
    assert set(callers.receives) == set(callees.receives) == {PCMU, PCMA, TELEPHONE_EVENT}
    assert callers.remote == callers.remote_rtcp == ("10.0.0.2", 5000)
    assert callees.remote == callees.remote_rtcp == ("10.0.0.1", 5000)
    assert callers.rtcp_mux
    assert callees.rtcp_mux
    assert callees.sends_events == callers.sends_events == TELEPHONE_EVENT
    assert callees.sending
    assert callees.receiving
    assert not callees.held


@pytest.mark.parametrize(
    ("media", "sends", "receives", "events"),
    [
        (("m=audio 4000 RTP/AVP 0",), PCMU, [0], None),
        (("m=audio 4000 RTP/AVP 8 0",), PCMU, [8, 0], None),
        (("m=audio 4000 RTP/AVP 18 8",), PCMA, [8], None),
        (("m=audio 4000 RTP/AVP 3 4 10 11 15 8",), PCMA, [8], None),
        (
            ("m=audio 4000 RTP/AVP 97 126", "a=rtpmap:97 pcmu/8000/1", "a=rtpmap:126 Telephone-Event/8000"),
            RtpFormat(97, "pcmu"),
            [97, 126],
            126,
        ),
        (
            (
                "m=audio 4000 RTP/AVP 96 8 110 97",
                "a=rtpmap:96 opus/48000/2",
                "a=rtpmap:110 telephone-event/48000",
                "a=rtpmap:97 telephone-event/8000",
            ),
            PCMA,
            [8, 97],
            97,
        ),
        (("m=audio 4000 RTP/AVPF 0",), PCMU, [0], None),
        (("m=audio 4000 RTP/AVP 0 * 0 200",), PCMU, [0], None),
        (("m=audio 4000/2 RTP/AVP 0",), PCMU, [0], None),
        (("m=audio 4000 RTP/AVP 0 13",), PCMU, [0, 13], None),
        (
            ("m=audio 4000 RTP/AVP 97 96", "a=rtpmap:96 L16/8000", "a=rtpmap:97 L16/16000"),
            RtpFormat(97, "l16", 16000),
            [97, 96],
            None,
        ),
    ],
)
def test_what_an_offer_is_answered_with(
    media: tuple[str, ...], sends: RtpFormat, receives: list[int], events: int | None
) -> None:
    answer, negotiated = answer_offer(sdp(*media), LOCAL)
    assert negotiated.sends == sends
    assert numbers(negotiated.receives) == receives
    assert (negotiated.sends_events.payload_type if negotiated.sends_events else None) == events
    assert media_line(answer).split()[3:] == [str(number) for number in receives]


def test_t27_linphone_is_sent_our_first_choice() -> None:
    answer, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 18 0 101", EVENT), LOCAL)
    assert negotiated.sends == PCMU
    assert media_line(answer) == "m=audio 5000 RTP/AVP 0 101"


def test_t27_opus_at_payload_type_96() -> None:
    offer = sdp("m=audio 4000 RTP/AVP 96 0 97", "a=rtpmap:96 opus/48000/2", "a=rtpmap:97 telephone-event/48000")
    answer, negotiated = answer_offer(offer, WIDE)
    assert negotiated.sends == RtpFormat(96, "opus", 48000)
    assert negotiated.sends_events == RtpFormat(97, "telephone-event", 48000)
    assert "a=rtpmap:96 opus/48000/2" in lines_of(answer)
    assert "a=fmtp:96 useinbandfec=1;stereo=0" in lines_of(answer)
    back = accept_answer(sdp("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2"), WIDE)
    assert back.sends == RtpFormat(96, "opus", 48000)  # its number for what it gets,
    assert numbers(back.receives) == [111, 96]  # ours for what we get, or its own if it insists


def test_t27_telephone_event_is_never_the_codec() -> None:
    _, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 101 0 8", EVENT), LOCAL)
    assert negotiated.sends == PCMU
    with pytest.raises(NoCommonCodec):
        answer_offer(sdp("m=audio 4000 RTP/AVP 101 13", EVENT), LOCAL)


@pytest.mark.parametrize(
    ("offered", "answered", "sent"),
    [
        ({110: 48000, 101: 8000}, [96, 0, 110, 101], 110),
        ({101: 8000}, [96, 0, 101], 101),
        ({101: 16000}, [96, 0, 101], 101),
    ],
)
def test_t02_keys_have_the_clock_of_the_codec_if_possible(
    offered: dict[int, int], answered: list[int], sent: int
) -> None:
    formats = " ".join(map(str, offered))
    maps = [f"a=rtpmap:{number} telephone-event/{clock}" for number, clock in offered.items()]
    offer = sdp(f"m=audio 4000 RTP/AVP 96 0 {formats}", "a=rtpmap:96 opus/48000/2", *maps)
    _, negotiated = answer_offer(offer, WIDE)
    assert numbers(negotiated.receives) == answered
    assert negotiated.sends_events is not None
    assert negotiated.sends_events.payload_type == sent


def test_without_dtmf_none_is_answered() -> None:
    answer, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 0 101", EVENT), replace(LOCAL, dtmf=False))
    assert negotiated.sends_events is None
    assert media_line(answer) == "m=audio 5000 RTP/AVP 0"
    assert b"telephone-event" not in make_offer(replace(LOCAL, dtmf=False))


def test_as_offerer_our_first_choice_wins() -> None:
    assert accept_answer(sdp("m=audio 4000 RTP/AVP 8 0"), LOCAL).codec == "pcmu"
    only = accept_answer(sdp("m=audio 4000 RTP/AVP 8"), LOCAL)
    assert only.codec == "pcma"
    assert only.receives == (PCMA,)
    assert only.sends_events is None


def test_an_answer_may_leave_numbers_unexplained_that_we_offered() -> None:
    assert accept_answer(sdp("m=audio 4000 RTP/AVP 111 110"), WIDE).codec == "opus"


def test_an_answer_with_what_was_never_offered_is_refused() -> None:
    with pytest.raises(NoCommonCodec, match="theirs: G722/8000; ours: PCMU/8000, PCMA/8000"):
        accept_answer(sdp("m=audio 4000 RTP/AVP 9"), LOCAL)
    with pytest.raises(NoCommonCodec):
        accept_answer(sdp("m=audio 4000 RTP/AVP 99", "a=rtpmap:99 L16/44100"), replace(LOCAL, codecs=("pcm",)))


@pytest.mark.parametrize(
    ("media", "theirs"),
    [
        (("m=audio 4000 RTP/AVP 18 96", "a=rtpmap:96 AMR/8000"), ("G729/8000", "AMR/8000")),
        (("m=audio 4000 RTP/AVP 99",), ("payload type 99",)),
        (("m=audio 0 RTP/AVP 0",), ("audio (refused)",)),
        (("m=video 4000 RTP/AVP 31",), ("video",)),
        ((), ()),
    ],
)
def test_nothing_in_common(media: tuple[str, ...], theirs: tuple[str, ...]) -> None:
    for negotiate in (answer_offer, accept_answer):
        with pytest.raises(NoCommonCodec) as error:
            negotiate(sdp(*media), LOCAL)
        assert error.value.theirs == theirs
        assert error.value.ours == ("PCMU/8000", "PCMA/8000")
        text = f"no common codec; theirs: {', '.join(theirs) or 'none'}; ours: PCMU/8000, PCMA/8000"
        assert str(error.value) == text
        assert error.value.status == 488


@pytest.mark.parametrize(
    ("timing", "answered"), [("3034423619 3042462419", "3034423619 3042462419"), ("now never", "0 0")]
)
def test_an_answer_has_the_times_of_the_offer(timing: str, answered: str) -> None:
    head = HEAD.replace("t=0 0", f"t={timing}\r\nt=1 2")
    answer, _ = answer_offer(sdp("m=audio 4000 RTP/AVP 0", head=head), LOCAL)
    assert [one for one in lines_of(answer) if one.startswith("t=")] == [f"t={answered}"]


def test_a_refused_stream_without_formats_is_refused_again() -> None:
    answer, _ = answer_offer(sdp("m=audio 4000 RTP/AVP 0", "m=video 0 RTP/AVP"), LOCAL)
    assert "m=video 0 RTP/AVP 0" in lines_of(answer)


# --- directions and times -----------------------------------------------------------------------------


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
@pytest.mark.parametrize("where", ["session", "media"])
def test_t04_directions_are_mirrored(
    offered: str, answered: str, sending: bool, receiving: bool, held: bool, where: str
) -> None:
    attribute = f"a={offered}" if offered else "a=x"
    if where == "media":
        offer = sdp("m=audio 4000 RTP/AVP 0", attribute)
    else:
        offer = sdp(attribute, "m=audio 4000 RTP/AVP 0")
    answer, negotiated = answer_offer(offer, LOCAL)
    assert f"a={answered}" in lines_of(answer)
    assert (negotiated.sending, negotiated.receiving, negotiated.held) == (sending, receiving, held)
    back = accept_answer(offer, LOCAL)
    assert (back.sending, back.receiving, back.held) == (sending, receiving, held)


def test_t05_a_new_offer_to_send_and_receive_is_answered_the_same() -> None:
    """An offer with ICE, as WebRTC gateways repeat it, is one for plain RTP all the same."""
    ice = ("a=ice-ufrag:x", "a=ice-pwd:y", "a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host", "a=sendrecv")
    answer, _ = answer_offer(sdp("m=audio 4000 RTP/AVP 0", *ice), LOCAL)
    assert "a=sendrecv" in lines_of(answer)
    assert b"ice" not in answer
    assert b"candidate" not in answer


@pytest.mark.parametrize(
    ("offered", "answered"),
    [("sendrecv", "sendonly"), ("sendonly", "inactive"), ("recvonly", "sendonly"), ("inactive", "inactive")],
)
def test_we_can_hold(offered: str, answered: str) -> None:
    holding = replace(LOCAL, hold=True)
    answer, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 0", f"a={offered}"), holding)
    assert f"a={answered}" in lines_of(answer)
    assert not negotiated.receiving
    assert "a=sendonly" in lines_of(make_offer(holding))
    assert not accept_answer(sdp("m=audio 4000 RTP/AVP 0", f"a={offered}"), holding).receiving


@pytest.mark.parametrize("where", ["session", "media"])
def test_t04_the_address_zero_is_hold(where: str) -> None:
    if where == "session":
        offer = sdp("m=audio 4000 RTP/AVP 0", head=HEAD.replace("c=IN IP4 10.0.0.1", "c=IN IP4 0.0.0.0"))
    else:
        offer = sdp("m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0")
    _, negotiated = answer_offer(offer, LOCAL)
    assert negotiated.held
    assert not negotiated.sending
    assert negotiated.remote is None
    assert negotiated.remote_rtcp is None


@pytest.mark.parametrize(
    ("attributes", "ptime_ms"),
    [((), 20), (("a=ptime:30",), 30), (("a=ptime:20.0",), 20), (("a=ptime:200",), 60), (("a=ptime:x",), 20)]
    + [(("a=ptime:40", "a=maxptime:20"), 20), (("a=maxptime:10",), 10), (("a=ptime:1",), 20)],
)
def test_packet_durations(attributes: tuple[str, ...], ptime_ms: int) -> None:
    answer, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 0", *attributes), LOCAL)
    assert negotiated.ptime_ms == ptime_ms
    assert f"a=ptime:{ptime_ms}" in lines_of(answer)


def test_opus_has_no_packets_of_30_ms() -> None:
    offer = sdp("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2", "a=ptime:30")
    assert answer_offer(offer, WIDE)[1].ptime_ms == 20


def test_packets_of_16_khz_l16_have_40_ms_at_most() -> None:
    offer = sdp("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 L16/16000", "a=ptime:60")
    assert answer_offer(offer, LOCAL)[1].ptime_ms == 40
    asked = replace(LOCAL, ptime_ms=60)
    assert "a=ptime:60" in lines_of(make_offer(asked))
    assert "a=ptime:40" in lines_of(make_offer(replace(asked, codecs=("pcm", "pcmu"))))


def test_we_can_ask_for_other_durations() -> None:
    assert "a=ptime:40" in lines_of(make_offer(replace(LOCAL, ptime_ms=40)))


# --- addresses ----------------------------------------------------------------------------------------


def test_every_offered_medium_gets_an_answer() -> None:
    offer = sdp(
        "m=video 4002 RTP/AVP 31", "m=audio 4000 RTP/AVP 0", "m=audio 4004 RTP/AVP 8", "m=image 1 udptl t38"
    )
    answer, negotiated = answer_offer(offer, LOCAL)
    refused = ["m=video 0 RTP/AVP 31", "m=audio 0 RTP/AVP 8", "m=image 0 udptl t38"]
    lines = [line for line in lines_of(answer) if line.startswith("m=")]
    assert lines == [refused[0], "m=audio 5000 RTP/AVP 0", *refused[1:]]
    # An offer of ours later on has the same media in the same places (RFC 3264 §8).
    later = [line for line in lines_of(make_offer(LOCAL, negotiated)) if line.startswith("m=")]
    assert later == [refused[0], "m=audio 5000 RTP/AVP 0 8 101", *refused[1:]]


def test_the_address_family_is_ours() -> None:
    six = replace(LOCAL, address="2001:db8::1")
    _, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::5"), six)
    assert negotiated.remote == ("2001:db8::5", 4000)
    assert b"c=IN IP6 2001:db8::1\r\n" in make_offer(six)


def test_an_address_of_the_other_family_is_left_to_latching() -> None:
    answer, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::5"), LOCAL)
    assert b"c=IN IP4 " in answer
    assert (negotiated.remote, negotiated.remote_rtcp) == (None, None)
    assert (negotiated.sending, negotiated.held) == (True, False)


@pytest.mark.parametrize(
    ("attribute", "rtcp", "mux"),
    [
        ("a=rtcp:6000", ("10.0.0.1", 6000), False),
        ("a=rtcp:6000 IN IP4 10.0.0.9", ("10.0.0.9", 6000), False),
        ("a=rtcp:6000 IN IP6 2001:db8::5", ("10.0.0.1", 6000), False),
        ("a=rtcp:x", ("10.0.0.1", 4001), False),
        ("a=rtcp-mux", ("10.0.0.1", 4000), True),
    ],
)
def test_where_rtcp_goes(attribute: str, rtcp: tuple[str, int], mux: bool) -> None:
    answer, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 0", attribute), LOCAL)
    assert negotiated.remote_rtcp == rtcp
    assert negotiated.rtcp_mux is mux
    assert (b"rtcp-mux" in answer) is mux


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


@pytest.mark.parametrize("address", ["224.2.1.1/127", "255.255.255.255"])
def test_media_are_sent_to_one_host_only(address: str) -> None:
    with pytest.raises(RemoteProtocolError, match="no single host"):
        answer_offer(sdp("m=audio 4000 RTP/AVP 0", f"c=IN IP4 {address}"), LOCAL)


# --- encryption ---------------------------------------------------------------------------------------

KEYS = fresh_keys()
CRYPTO = "a=crypto:" + crypto_value("3", "AES_CM_128_HMAC_SHA1_32", KEYS["AES_CM_128_HMAC_SHA1_32"])
GCM = "a=crypto:" + crypto_value("4", "AEAD_AES_128_GCM", KEYS["AEAD_AES_128_GCM"])
DTLS = ("m=audio 4000 UDP/TLS/RTP/SAVPF 0", "a=fingerprint:sha-256 AB:CD", "a=setup:actpass")


@pytest.mark.parametrize("srtp", [False, True, "require"])
@pytest.mark.parametrize(
    ("media", "outcome"),
    [
        (("m=audio 4000 RTP/AVP 0",), "plain"),
        (("m=audio 4000 RTP/AVPF 0",), "plain"),
        (("m=audio 4000 RTP/AVP 0", "a=crypto:1 NEW inline:x"), "plain"),
        (("m=audio 4000 RTP/SAVP 0", CRYPTO), "AES_CM_128_HMAC_SHA1_32"),
        (("m=audio 4000 RTP/SAVPF 0", GCM, CRYPTO), "AEAD_AES_128_GCM"),
        (("m=audio 4000 RTP/SAVP 0", "a=crypto:1 NEW inline:x", CRYPTO), "AES_CM_128_HMAC_SHA1_32"),
        (("m=audio 4000 RTP/AVP 0", CRYPTO), "AES_CM_128_HMAC_SHA1_32"),
        (("m=audio 4000 RTP/SAVP 0",), "needs a usable a=crypto line: there is none"),
        (("m=audio 4000 RTP/SAVP 0", "a=crypto:1 NEW inline:x"), "suite NEW is not known"),
        (DTLS, "WebRTC over SIP comes later"),
        (("m=audio 4000 RTP/SAVPF 0", "a=fingerprint:sha-256 AB:CD"), "WebRTC over SIP comes later"),
        (("m=audio 4000 TCP/RTP/AVP 0",), "audio over TCP/RTP/AVP can't be had"),
    ],
)
def test_t28_answered_is_what_was_offered(media: tuple[str, ...], outcome: str, srtp: Srtp) -> None:
    local = replace(LOCAL, srtp=srtp)
    if outcome == "plain" and srtp == "require":
        profile = media[0].split()[2]
        outcome = rf"encryption is required here \(enable_srtp = require\) and {profile} was offered"
    if " " in outcome:
        with pytest.raises(RemoteProtocolError, match=outcome) as error:
            answer_offer(sdp(*media), local)
        assert error.value.status == 488
        return
    answer, negotiated = answer_offer(sdp(*media), local)
    assert media_line(answer).split()[2] == media[0].split()[2]
    if outcome == "plain":
        assert negotiated.srtp is None
        assert b"crypto" not in answer
        return
    assert negotiated.srtp is not None
    assert negotiated.srtp.suite == outcome
    (line,), _ = usable_lines(SessionDescription.parse(answer).media[0].values("crypto"))
    assert line.tag in ("3", "4")
    assert (line.suite, line.key) == (outcome, negotiated.srtp.send)
    assert negotiated.srtp.receive == KEYS[line.suite]
    assert negotiated.srtp.send == local.keys[line.suite]


@pytest.mark.parametrize("callee", [False, True, "require"])
@pytest.mark.parametrize("caller", [False, True, "require"])
def test_t28_two_of_us(caller: Srtp, callee: Srtp) -> None:
    """The caller decides, unless the callee requires encryption."""
    calling = replace(LOCAL, srtp=caller, keys=fresh_keys())
    called = replace(LOCAL, srtp=callee, keys=fresh_keys())
    offer = make_offer(calling)
    assert (b"RTP/SAVP" in offer) is (b"a=crypto" in offer) is bool(caller)
    if not caller and callee == "require":
        with pytest.raises(RemoteProtocolError, match="encryption is required here"):
            answer_offer(offer, called)
        return
    answer, callees = answer_offer(offer, called)
    callers = accept_answer(answer, calling)
    if not caller:
        assert callers.srtp is callees.srtp is None
        return
    assert callers.srtp is not None
    assert callees.srtp is not None
    assert callers.srtp.suite == callees.srtp.suite == "AES_CM_128_HMAC_SHA1_80"
    assert callers.srtp.send == callees.srtp.receive != callees.srtp.send == callers.srtp.receive


def test_of_two_streams_the_encrypted_one_is_taken_where_that_is_required() -> None:
    offer = sdp("m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/SAVP 0", CRYPTO)
    assert answer_offer(offer, LOCAL)[1].remote == ("10.0.0.1", 4000)
    assert answer_offer(offer, replace(LOCAL, srtp="require"))[1].remote == ("10.0.0.1", 4002)


@pytest.mark.parametrize(("srtp", "refused"), [(False, False), (True, True), ("require", True)])
def test_an_encrypted_call_is_not_made_plain(srtp: Srtp, refused: bool) -> None:
    local = replace(LOCAL, srtp=srtp)
    _, before = answer_offer(sdp("m=audio 4000 RTP/SAVP 0", CRYPTO), local)
    plain = sdp("m=audio 4000 RTP/AVP 0")
    if not refused:
        assert answer_offer(plain, local, before)[1].srtp is None
        return
    with pytest.raises(RemoteProtocolError, match="encrypt.* and RTP/AVP was offered") as caught:
        answer_offer(plain, local, before)
    assert caught.value.status == 488


def test_a_plain_call_may_be_encrypted_later() -> None:
    local = replace(LOCAL, srtp=True)
    _, before = answer_offer(sdp("m=audio 4000 RTP/AVP 0"), local)
    assert answer_offer(sdp("m=audio 4000 RTP/SAVP 0", CRYPTO), local, before)[1].srtp is not None
    assert answer_offer(sdp("m=audio 4002 RTP/AVP 0"), local, before)[1].srtp is None


@pytest.mark.parametrize("srtp", [True, "require"])
def test_an_answer_without_a_key_is_no_answer_to_encryption(srtp: Srtp) -> None:
    for media in ("m=audio 4000 RTP/AVP 0", "m=audio 4000 RTP/SAVP 0"):
        with pytest.raises(RemoteProtocolError) as error:
            accept_answer(sdp(media), replace(LOCAL, srtp=srtp))
        assert error.value.status == 488
    with pytest.raises(RemoteProtocolError, match="plain RTP offered"):
        accept_answer(sdp("m=audio 4000 RTP/SAVP 0", CRYPTO), LOCAL)
    assert accept_answer(sdp("m=audio 4000 RTP/AVP 0", CRYPTO), LOCAL).srtp is None


def test_the_length_of_a_key_identifier_is_kept() -> None:
    _, negotiated = answer_offer(sdp("m=audio 4000 RTP/SAVP 0", f"{CRYPTO}|2^31|1:4"), LOCAL)
    assert negotiated.srtp is not None
    assert negotiated.srtp.receive_mki == 4


def test_keys_and_profile_stay_in_later_offers() -> None:
    _, negotiated = answer_offer(sdp("m=audio 4000 RTP/AVP 0", GCM), LOCAL)
    later = SessionDescription.parse(make_offer(LOCAL, negotiated)).media[0]
    lines, _ = usable_lines(later.values("crypto"))
    assert later.profile == "RTP/AVP"
    assert lines[0].suite == "AEAD_AES_128_GCM"
    assert {line.suite: line.key for line in lines} == LOCAL.keys
    _, plain = answer_offer(sdp("m=audio 4000 RTP/AVP 0"), replace(LOCAL, srtp=True))
    assert b"crypto" not in make_offer(replace(LOCAL, srtp=True), plain)


def test_keys_are_never_shown() -> None:
    _, negotiated = answer_offer(sdp("m=audio 4000 RTP/SAVP 0", CRYPTO), LOCAL)
    for shown in (repr(LOCAL), repr(negotiated)):
        for key in (*LOCAL.keys.values(), *KEYS.values()):
            assert repr(key)[2:-1] not in shown


# --- whatever comes -----------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.integers(0, 500), st.integers(0, 20), st.sampled_from([False, True]))
def test_no_description_breaks_us(noise: bytes, start: int, length: int, srtp: bool) -> None:
    local = replace(WIDE, srtp=srtp)
    offer = bytearray(make_offer(local))
    offer[start : start + length] = noise
    before: Negotiated | None = None
    try:
        answer, before = answer_offer(bytes(offer), local)
    except RemoteProtocolError:
        return
    later = make_offer(local, before)
    try:
        accept_answer(answer, local)
        accept_answer(bytes(offer), local, before)
    except RemoteProtocolError:
        pass
    assert len(SessionDescription.parse(later).media) == len(SessionDescription.parse(bytes(offer)).media)
