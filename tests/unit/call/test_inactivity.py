"""A peer that falls silent: when that ends the call, and what is said of it."""

import pytest

from active_call.call.leg import SipLeg
from active_call.call.reasons import KILLED
from active_call.sip.events import OfferAnswered
from active_call.wire.options import CallOption
from tests.unit.call.fakes import OFFER, NotingSip
from tests.unit.call.scene import Scene

LIMIT = CallOption(inactivity_timeout=8)


def silent(**counters: int) -> Scene:
    """A call whose lane counts these, but no packet any more."""

    async def script(scene: Scene) -> None:
        for name, value in counters.items():
            getattr(scene.plane.table, name)[scene.lane.ref.row] = value
        await scene.pass_seconds(10)

    return Scene(option=LIMIT).play(script)


@pytest.mark.parametrize(
    ("counters", "evidence"),
    [
        ({}, "; their SDP asked for audio at 192.0.2.7:4000, ours at 192.0.2.1:"),
        ({"rx_packets": 400}, ", after 400 packets to our 192.0.2.1:"),
        ({"srtp_rejected": 7}, "; 7 packets could not be decrypted"),
        ({"rx_stranger": 7}, "; 7 packets came from elsewhere, not from 192.0.2.7:4000 as in their SDP"),
        ({"rx_invalid": 7}, "; 7 packets came with no payload type"),
    ],
)
def test_what_the_lane_counted_is_evidence(counters: dict[str, int], evidence: str) -> None:
    assert silent(**counters).ending.detail.startswith(f"no RTP arrived for 8 s{evidence}")


@pytest.mark.parametrize(("peer", "private"), [("192.0.2.7", True), ("10.0.0.5", False)])
def test_a_private_address_is_told_if_the_sip_comes_from_elsewhere(peer: str, private: bool) -> None:
    scene = Scene(option=LIMIT)
    scene.sip = NotingSip(OFFER.replace(b"192.0.2.7", b"10.0.0.5"))
    scene.sip.peer = (peer, 5060)

    async def script(scene: Scene) -> None:
        await scene.pass_seconds(10)

    detail = scene.play(script).ending.detail
    assert ("10.0.0.5:4000 (private)" in detail) is private
    assert "10.0.0.5:4000" in detail


def test_a_peer_that_we_hold_may_be_silent() -> None:
    async def script(scene: Scene) -> None:
        assert isinstance(scene.call.leg, SipLeg)
        scene.call.leg.hold(True)
        scene.sip.happens(OfferAnswered(OFFER + b"a=recvonly\r\n"))
        await scene.pass_seconds(100)
        scene.call.end(KILLED)

    assert Scene(option=LIMIT).play(script).ending is KILLED


def test_a_client_that_is_itself_the_peer_sends_no_rtp() -> None:
    async def script(scene: Scene) -> None:
        await scene.start(inactivity_timeout=8)
        await scene.pass_seconds(10)

    assert Scene("audio").play(script).ending.detail == "the client sent no audio for 8 s"
