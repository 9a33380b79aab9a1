import logging
import os
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.dsp.rtcp import build_report
from active_call.dsp.rtp import packet
from active_call.lanes.messages import SrtpKeys, SrtpSuite
from active_call.plane import srtp as srtp_module
from active_call.plane.srtp import SrtpLane, SrtpReceiver, SrtpSender

SUITES: tuple[SrtpSuite, ...] = get_args(SrtpSuite)
KEY_BYTES = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}
CM80: SrtpSuite = "AES_CM_128_HMAC_SHA1_80"
SSRC = 0xFEDC_BA98
INDEXES = (1, 0x7FFF, 0x8000, 0xFFFF, 0x1_0000, 0x1_0001, 0x1_7FFF, 0x1_FFFF, 0x2_8000, 0x5_FFFE)


def rtp(number: int, ssrc: int = SSRC) -> bytes:
    return packet(0, number, number * 160, ssrc, bytes(range(160)))


def key_of(suite: SrtpSuite, seed: int = 1) -> bytes:
    return bytes([seed]) * KEY_BYTES[suite]


def pair(suite: SrtpSuite = CM80, seed: int = 1) -> tuple[SrtpSender, SrtpReceiver]:
    return SrtpSender(suite, key_of(suite, seed), SSRC), SrtpReceiver(suite, key_of(suite, seed))


def carried(sender: SrtpSender, receiver: SrtpReceiver, number: int) -> bytes | None:
    data = sender.protect(rtp(number))
    assert data is not None
    return receiver.unprotect(data)


@pytest.mark.parametrize("suite", SUITES)
def test_each_suite_carries_rtp_and_rtcp(suite: SrtpSuite) -> None:
    sender, receiver = pair(suite)
    data = sender.protect(rtp(1))
    assert data is not None
    assert rtp(1)[12:] not in data
    assert receiver.unprotect(data) == rtp(1)
    report = build_report(ssrc=SSRC, cname="x", ntp=1, rtp_timestamp=1, packets=1, octets=1, source=None)
    protected = sender.protect_rtcp(report)
    assert protected is not None
    assert protected != report
    assert receiver.unprotect_rtcp(protected) == report


@pytest.mark.parametrize("suite", SUITES)
def test_a_key_identifier_in_the_packets_is_skipped(suite: SrtpSuite) -> None:
    sender, receiver = pair(suite)
    receiver.mki_bytes = 3
    data = sender.protect(rtp(1))
    report = sender.protect_rtcp(
        build_report(ssrc=SSRC, cname="x", ntp=1, rtp_timestamp=1, packets=1, octets=1, source=None)
    )
    assert data is not None
    assert report is not None
    tag, report_tag = {"AES_CM_128_HMAC_SHA1_80": (10, 10), "AES_CM_128_HMAC_SHA1_32": (4, 10)}.get(
        suite, (0, 0)
    )
    for length, sent, unprotect in (
        (tag, data, receiver.unprotect),
        (report_tag, report, receiver.unprotect_rtcp),
    ):
        at = len(sent) - length
        assert unprotect(sent[:at] + b"\x00\x00\x01" + sent[at:]) is not None
    plain = sender.protect(rtp(2))
    assert plain is not None
    assert receiver.unprotect(plain) == rtp(2)  # who names one in SDP may not send it
    assert receiver.unprotect(b"short") is None


def test_a_known_packet_becomes_what_everybody_makes_of_it() -> None:
    """The reference packet of libsrtp's own tests."""
    key = bytes.fromhex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6")
    plain = bytes.fromhex("800f1234decafbadcafebabe" + 16 * "ab")
    secret = "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"
    assert SrtpSender(CM80, key, 0xCAFE_BABE).protect(plain) == bytes.fromhex(secret)
    assert SrtpReceiver(CM80, key).unprotect(bytes.fromhex(secret)) == plain


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_plain_forged_cut_or_came_before_is_refused(suite: SrtpSuite) -> None:
    sender, receiver = pair(suite)
    data = sender.protect(rtp(1))
    assert data is not None
    assert receiver.unprotect(data) is not None
    assert receiver.unprotect(data) is None
    fresh = sender.protect(rtp(2))
    assert fresh is not None
    for bad in (
        rtp(3),
        b"",
        b"\x80",
        fresh[:-1],
        fresh[:20] + b"!" + fresh[21:],
        os.urandom(200),
        bytes(1_600),
    ):
        assert receiver.unprotect(bad) is None
        assert receiver.unprotect_rtcp(bad) is None
    assert receiver.unprotect(fresh) == rtp(2)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("index", INDEXES)
def test_a_new_process_goes_on_at_any_index(suite: SrtpSuite, index: int) -> None:
    sender, receiver = pair(suite)
    sender.resume(index, 0)
    receiver.resume((index - 1) << 32 | SSRC)
    for number in range(index, index + 3):
        assert carried(sender, receiver, number) == rtp(number)
        assert receiver.position == number << 32 | SSRC


def test_a_resumed_sender_sends_what_the_other_would_have() -> None:
    alive, receiver = pair()
    for number in range(20_000, 150_000):
        assert carried(alive, receiver, number) is not None
    assert receiver.position == 149_999 << 32 | SSRC
    resumed, _ = pair()
    resumed.resume(150_000, 0)
    assert resumed.protect(rtp(150_000)) == alive.protect(rtp(150_000))


def test_packets_of_before_a_takeover_are_not_taken_again() -> None:
    sender, receiver = pair()
    sent = [sender.protect(rtp(number)) or b"" for number in range(10)]
    assert all(receiver.unprotect(data) for data in sent)
    _, resumed = pair()
    resumed.resume(receiver.position)
    assert [resumed.unprotect(data) for data in sent] == [None] * 10
    assert carried(sender, resumed, 10) == rtp(10)


def test_a_receiver_that_heard_nothing_resumes_with_nothing() -> None:
    sender, receiver = pair()
    receiver.resume(0)
    assert receiver.position == 0
    assert carried(sender, receiver, 5) == rtp(5)


def test_report_numbers_are_never_used_twice() -> None:
    nothing = b"\x80\xc9\x00\x01" + SSRC.to_bytes(4, "big")
    sender, receiver = pair()
    last = [sender.protect_rtcp(nothing) for _ in range(900)][-1]
    assert last is not None
    assert receiver.unprotect_rtcp(last) == nothing
    resumed, _ = pair()
    resumed.resume(7, 900)
    waits = [resumed.protect_rtcp(nothing), resumed.protect_rtcp(nothing)]
    assert waits == [None, None]  # the way there is long: it is gone in parts
    data = resumed.protect_rtcp(nothing)
    assert data is not None
    assert receiver.unprotect_rtcp(data) == nothing
    assert data == sender.protect_rtcp(nothing)


def test_a_peer_may_start_another_stream_and_come_back() -> None:
    sender, receiver = pair()
    other = SrtpSender(CM80, key_of(CM80), 5)
    assert carried(sender, receiver, 70) == rtp(70)
    data = other.protect(rtp(9, 5))
    assert data is not None
    assert receiver.unprotect(data) == rtp(9, 5)
    assert receiver.position == 9 << 32 | 5
    assert carried(sender, receiver, 71) == rtp(71)
    assert receiver.position == 71 << 32 | SSRC


def test_a_peer_with_endless_streams_costs_no_memory() -> None:
    sender, receiver = pair()
    for ssrc in range(200):
        data = sender.protect(rtp(1, ssrc + 1))
        report = sender.protect_rtcp(b"\x80\xc9\x00\x01" + (ssrc + 500).to_bytes(4, "big"))
        assert data is not None
        assert report is not None
        assert receiver.unprotect(data) is not None
        assert receiver.unprotect_rtcp(report) is not None
    assert len(receiver._new[0]._known) == 16


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("takeover", [False, True])
def test_a_new_key_is_taken_with_or_without_the_rollover_counter(goes_on: bool, takeover: bool) -> None:
    old, receiver = pair()
    index = 0x2_0005
    old.resume(index, 0)
    receiver.resume((index - 1) << 32 | SSRC)
    renewed = SrtpReceiver(CM80, key_of(CM80, 2), before=receiver)
    assert carried(old, renewed, index) == rtp(index)  # was on its way
    if takeover:
        position, renewed = (
            renewed.position,
            SrtpReceiver(CM80, key_of(CM80, 2), before=SrtpReceiver(CM80, b"0" * 30)),
        )
        renewed.resume(position)
    new = SrtpSender(CM80, key_of(CM80, 2), SSRC)
    if goes_on:
        new.resume(index + 1, 0)
    for number in range(index + 1, index + 4):
        assert carried(new, renewed, number) == rtp(number)
    assert carried(old, renewed, index + 4) is None


def test_equal_keys_keep_the_replay_window_and_each_direction_its_own() -> None:
    lane, keys = SrtpLane(0, SSRC), SrtpKeys(CM80, key_of(CM80, 1), key_of(CM80, 2))
    assert lane.configure(keys)
    peer = SrtpSender(CM80, key_of(CM80, 2), 4)
    data = peer.protect(rtp(1, 4))
    sender, receiver = lane.sender, lane.receiver
    assert sender is not None
    assert receiver is not None
    assert data is not None
    assert receiver.unprotect(data) is not None
    assert not lane.configure(SrtpKeys(CM80, key_of(CM80, 1), key_of(CM80, 2)))
    assert lane.receiver is receiver
    assert receiver.unprotect(data) is None
    assert not lane.configure(SrtpKeys(CM80, key_of(CM80, 1), key_of(CM80, 3)))
    assert lane.sender is sender
    assert lane.receiver is not receiver


def test_the_peer_may_say_that_its_packets_have_a_key_identifier() -> None:
    lane = SrtpLane(0, SSRC)
    lane.configure(SrtpKeys(CM80, key_of(CM80, 1), key_of(CM80, 2), receive_mki=4))
    data = SrtpSender(CM80, key_of(CM80, 2), 4).protect(rtp(1, 4))
    assert lane.receiver is not None
    assert data is not None
    assert lane.receiver.unprotect(data[:-10] + b"mki4" + data[-10:]) == rtp(1, 4)


def test_rollovers_that_no_speech_has_are_not_walked() -> None:
    sender, before = pair()
    walked = srtp_module._FURTHEST // srtp_module._STRIDE + 1
    for number in range(walked + 1):
        assert carried(sender, before, number * srtp_module._STRIDE)
    assert SrtpReceiver(CM80, key_of(CM80, 3), before=before)._new[-1].index == 0
    taking_over = SrtpReceiver(CM80, key_of(CM80))
    taking_over.resume(before.position)
    assert taking_over.position == 0


def test_directions_may_have_different_suites() -> None:
    lane = SrtpLane(0, SSRC)
    lane.configure(
        SrtpKeys("AEAD_AES_256_GCM", key_of("AEAD_AES_256_GCM"), key_of(CM80, 2), receive_suite=CM80)
    )
    data = SrtpSender(CM80, key_of(CM80, 2), 4).protect(rtp(1, 4))
    assert lane.sender is not None
    assert lane.receiver is not None
    assert data is not None
    assert lane.receiver.unprotect(data) == rtp(1, 4)
    assert len(lane.sender.protect(rtp(1)) or b"") == len(rtp(1)) + 16


def test_unusable_keys_leave_nothing_that_could_send_and_are_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lane = SrtpLane(3, SSRC)
    with caplog.at_level(logging.DEBUG):
        assert not lane.configure(SrtpKeys(CM80, b"secret short key", b"secret short key"))
    assert lane.sender is None
    assert lane.receiver is None
    assert "lane 3: unusable SRTP keys" in caplog.text
    assert "secret" not in caplog.text
    assert "secret" not in repr(SrtpKeys(CM80, b"secret", b"secret"))


def test_unusable_keys_end_what_was_there_and_may_be_followed_by_good_ones() -> None:
    lane = SrtpLane(3, SSRC)
    good = SrtpKeys(CM80, key_of(CM80, 1), key_of(CM80, 2))
    assert lane.configure(good)
    for bad in (SrtpKeys(CM80, key_of(CM80, 3), b"short"), SrtpKeys(CM80, b"short", key_of(CM80, 2))):
        assert not lane.configure(bad)
        assert lane.sender is None
        assert lane.receiver is None
    assert lane.configure(good)


@given(st.binary(max_size=1_700))
def test_no_bytes_of_a_peer_raise(data: bytes) -> None:
    sender, receiver = pair()
    assert receiver.unprotect(data) is None
    assert receiver.unprotect_rtcp(data) is None
    assert carried(sender, receiver, 1) == rtp(1)
