"""What is kept of an ended call."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from active_call.call.call import Call
from active_call.call.leg import MediaPolicy, SipLeg
from active_call.call.reasons import CRASHED, ending_by_peer
from active_call.call.record import record_of
from active_call.call.services import CallServices
from active_call.lanes.messages import RecordingClosed
from active_call.media.lane import Lane
from active_call.media.supervisor import MediaPlane
from active_call.records.dump import Dump
from active_call.sip.agent import SipAgent, SipCall
from tests.unit.call.fakes import NotingSip
from tests.unit.media.fakes import NotingPlane


class StoppedClock:
    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 1_700_000_000.0


@pytest.fixture
def call() -> Call:
    sip = NotingSip()
    plane = cast("MediaPlane", NotingPlane())
    leg = SipLeg.open(plane, "192.0.2.1", MediaPolicy())
    leg.negotiate(cast("SipCall", sip))
    return Call(
        "c1",
        CallServices(plane=plane, agent=lambda: cast("SipAgent", sip), clock=StoppedClock()),
        call_type="sip",
        dump=Dump.null(),
        variables={"session_id": "c1"},
        leg=leg,
        caller=sip.caller,
        callee=sip.callee,
    )


@pytest.fixture
def lane(call: Call) -> Lane:
    assert call.leg is not None
    return call.leg.lane


def test_t31_a_record_tells_who_when_and_why(call: Call) -> None:
    call.times.answer, call.times.end = 1_700_000_001.0, 1_700_000_009.5
    call.ending = ending_by_peer(inbound=True)
    call.news.errors += ["first", "last"]
    record = record_of(call)
    assert (record.caller, record.callee) == ("sip:alice@example.com", "sip:bot@example.com")
    assert record.answer_time is not None
    assert (record.end_time - record.answer_time).total_seconds() == 8.5
    assert (record.hangup_reason, record.hangup_by, record.status_code) == ("byCaller", "caller", 200)
    assert (record.error, record.codec, record.extras) == ("last", "pcmu", {"session_id": "c1"})
    assert (record.ring_time, record.recorder, record.media) == (None, None, None)


def test_a_call_without_an_ending_has_crashed(call: Call) -> None:
    assert record_of(call).hangup_detail == CRASHED.detail


def test_quality_counts_loss_and_real_delay(call: Call, lane: Lane) -> None:
    counters = replace(lane.snapshot(), packets_received=900, lost=100, delay_ms=40, rtt_ms=30.0)
    lane.statistics = counters
    media = record_of(call).media
    assert media is not None
    assert media.mos == 3.32
    lane.statistics = replace(counters, jitter_ms=15.0)
    jittery = record_of(call).media
    assert jittery is not None
    assert jittery.mos == media.mos


def test_what_the_peer_reports_and_what_did_not_authenticate_is_told(call: Call, lane: Lane) -> None:
    lane.statistics = replace(lane.snapshot(), remote_lost=7, remote_jitter_ms=4.5, srtp_rejected=3)
    media = record_of(call).media
    assert media is not None
    assert (media.remote_lost, media.remote_jitter_ms, media.srtp_rejected) == (7, 4.5, 3)


def test_a_line_without_packets_has_no_quality(call: Call, lane: Lane) -> None:
    lane.statistics = lane.snapshot()
    media = record_of(call).media
    assert media is not None
    assert (media.mos, media.rtt_ms) == (None, None)


def test_a_recording_is_listed_unless_it_failed(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "r.wav"
    path.write_bytes(bytes(44))
    call.on_lane(RecordingClosed(0, 7, 5, str(path), 16_000))
    (file,) = record_of(call).recorder or []
    assert (file.path, file.size, file.extra) == (str(path), 44, {"samples": 16_000})
    call.on_lane(RecordingClosed(0, 7, 5, str(path), 0, "disk full"))
    assert [each.path for each in record_of(call).recorder or []] == [str(path)]


def test_a_clients_audio_that_was_lost_is_counted(call: Call, lane: Lane) -> None:
    lane.statistics = replace(lane.snapshot(), dropped=3, missed=2)
    media = record_of(call).media
    assert media is not None
    assert (media.dropped, media.missed) == (3, 2)
