"""What was agreed on, as the lane and as people are told."""

from dataclasses import replace

import pytest

from active_call.call.session import configuration, describe, is_loopback
from active_call.lanes.messages import PCMU, TELEPHONE_EVENT
from active_call.lanes.table import LaneRef
from active_call.sdp.negotiate import LocalMedia, Negotiated, answer_offer, make_offer

US = LocalMedia("192.0.2.1", 5000, ("pcmu",), session_id=1)
PEER = LocalMedia("192.0.2.7", 4000, ("pcmu",), session_id=1)


def agreed(peer: LocalMedia = PEER, us: LocalMedia = US) -> Negotiated:
    return answer_offer(make_offer(peer), us)[1]


def test_what_a_lane_is_told() -> None:
    told = configuration(LaneRef(3, 7), agreed(), latching=False, jitter_ms=60, peer_host="192.0.2.9")
    assert (told.row, told.generation, told.latching, told.jitter_ms) == (3, 7, False, 60)
    assert (told.sends, told.receives, told.sends_events) == (PCMU, (PCMU, TELEPHONE_EVENT), TELEPHONE_EVENT)
    assert (told.remote, told.remote_rtcp, told.rtcp_mux) == (("192.0.2.7", 4000), ("192.0.2.7", 4000), True)
    assert (told.sending, told.receiving, told.inband_digits, told.srtp) == (True, True, False, None)


def test_t04_who_holds_us_is_not_heard() -> None:
    held = agreed(replace(PEER, hold=True))
    assert held.receiving
    told = configuration(LaneRef(3, 7), held, latching=True, jitter_ms=40, peer_host="192.0.2.9")
    assert (told.sending, told.receiving) == (False, False)


def test_a_session_in_one_line() -> None:
    assert describe(agreed(), private=True) == (
        "pcmu as 0, 20 ms, to 192.0.2.7:4000 (private), keys as 101, not encrypted, rtcp-mux"
    )
    encrypted = agreed(replace(PEER, srtp=True, dtmf=False, hold=True))
    assert describe(encrypted) == (
        "pcmu as 0, 20 ms, to 192.0.2.7:4000, no telephone-event, encrypted by AES_CM_128_HMAC_SHA1_80, "
        "rtcp-mux, sends nothing, receives"
    )
    six = agreed(replace(PEER, address="2001:db8::7"), replace(US, address="2001:db8::1", hold=True))
    assert "to [2001:db8::7]:4000" in describe(six)
    assert describe(six).endswith("sends, receives nothing")


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.5", True), ("::1", True), ("10.0.0.1", False), ("x", False)]
)
def test_loopback_addresses(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
