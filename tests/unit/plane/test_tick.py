import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.dsp.g711 import A_LAW, MU_LAW
from active_call.dsp.rtcp import SenderReport, build_report, parse
from active_call.dsp.rtp import packet
from active_call.lanes.messages import (
    PCMA,
    PCMU,
    AdjustLane,
    DigitReceived,
    RtcpByeReceived,
    StartRecording,
    StopRecording,
)
from active_call.plane.orders import SendRtcp
from tests.unit.plane.reference import ReferenceExternal, ReferenceLane
from tests.unit.plane.rig import Rig, speech, tone


def test_the_sent_ring_is_written_only_for_those_who_read_it() -> None:
    rig = Rig()
    rig.open()
    rig.media.apply(AdjustLane(0, 1))
    rig.play(tone(6))
    rig.ticks(2)
    assert not rig.sent(2).any()
    assert rig.table.sent_from[0] == -1
    rig.media.apply(StartRecording(0, 1, "a.wav"))
    rig.ticks(2)
    assert rig.table.sent_from[0] == 640
    rig.media.apply(AdjustLane(0, 1, tapped=True))
    rig.media.apply(StopRecording(0, 1))
    rig.ticks(2)
    assert rig.table.sent_from[0] == 640
    assert np.array_equal(rig.sent(4), tone(6)[640:1920])
    rig.media.apply(AdjustLane(0, 1))
    rig.tick()
    assert rig.table.sent_from[0] == -1


def test_keys_are_told_while_the_caller_is_muted() -> None:
    rig = Rig()
    rig.open()
    rig.media.apply(AdjustLane(0, 1, mute_received=True))
    rig.arrive(packet(101, 1, 800, 9, bytes((7, 10, 0, 160))))
    rig.tick()
    assert [event.digit for event in rig.told(DigitReceived)] == ["7"]


def test_each_lane_reports_every_five_seconds() -> None:
    rig = Rig()
    for row in range(3):
        rig.open(row)
    rig.ticks(500)
    reports = [order for order in rig.orders if isinstance(order, SendRtcp)]
    assert sorted(order.row for order in reports) == [0, 0, 1, 1, 2, 2]
    assert isinstance(parse(reports[-1].data)[0], SenderReport)


def test_the_peer_says_goodbye() -> None:
    rig = Rig()
    rig.open()
    data = build_report(
        ssrc=9, cname="x", ntp=1 << 40, rtp_timestamp=0, packets=1, octets=1, source=None, bye=True
    )
    rig.media.receive_rtcp(0, 0, data, 1_700_000_000_000_000_000)
    rig.tick()
    assert rig.told(RtcpByeReceived) == [RtcpByeReceived(0, 1, 0)]


@pytest.mark.parametrize("seed", range(3))
def test_the_tick_does_what_the_plain_reference_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    rig, telephones, others = Rig(), 12, 5
    references: list[ReferenceLane] = []
    for row in range(telephones):
        law = int(random.integers(2))
        rig.open(row, sends=(PCMU, PCMA)[law])
        references.append(ReferenceLane((MU_LAW, A_LAW)[law]))
    for row in range(telephones, telephones + others):
        rig.open_external(row)
        references.append(ReferenceExternal())
    for tick in range(60):
        for row, reference in enumerate(references):
            if random.random() < 0.8:
                samples = noise(random, int(random.integers(1, 700)))
                if int(rig.table.play_write[row] - rig.table.play_read[row]) < 20_000:
                    rig.play(samples, row)
                    reference.play(samples)
            if random.random() < 0.05:
                rig.flush(int(random.integers(0, 500)), row)
                reference.flush(int(rig.table.flush_fade[row]))
            if random.random() < 0.1:
                adjusted = any_adjustment(random, row)
                rig.media.apply(adjusted)
                reference.adjusted = adjusted
            if isinstance(reference, ReferenceExternal):
                if random.random() < 0.9:
                    samples = noise(random, 320 * int(random.choice([1, 1, 1, 2, 15])))
                    rig.feed(samples.tobytes(), row)
                    reference.feed(samples)
                continue
            codes = bytes(random.integers(0, 256, 160, np.uint8))
            if tick == 0 or random.random() > 0.1:
                payload_type = 8 if reference.law == A_LAW else 0
                rig.arrive(packet(payload_type, tick, tick * 160, 9, codes), row)
                reference.receive(tick, codes)
        sent = rig.tick()
        for row, reference in enumerate(references):
            played, payload, heard = reference.tick()
            assert np.array_equal(rig.sent(1, row), played)
            if isinstance(reference, ReferenceExternal):
                assert rig.delivered(row) == played.tobytes()
            else:
                difference = np.frombuffer(sent[row][12:], np.uint8) != payload
                assert difference.mean() < 0.02  # single precision may round to the neighbouring step
            assert np.abs(rig.heard(1, row).astype(int) - heard).max() <= 1


def noise(random: np.random.Generator, count: int) -> Pcm:
    """Loud enough that it is never taken for silence."""
    samples: Pcm = random.integers(-20_000, 20_000, count).astype(np.int16)
    return samples


def any_adjustment(random: np.random.Generator, row: int) -> AdjustLane:
    """Usually nothing muted or paused, so that there is something to compare."""
    mute_received, mute_sent, paused = (random.random(3) < 0.2).tolist()
    gain = float(random.choice([0.0, 0.5, 1.0, 1.0, 2.0]))
    return AdjustLane(row, 1, mute_received, mute_sent, paused, gain, tapped=True)


def test_after_a_stall_nothing_old_is_heard() -> None:
    rig = Rig()
    rig.open(jitter_ms=100)
    for number in range(6):
        rig.say(number, speech(number))
        rig.tick()
    rig.media.skip(8)
    rig.ticks(40)
    assert not rig.heard(36).any()  # but for three frames of concealment
