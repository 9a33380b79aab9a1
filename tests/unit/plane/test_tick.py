import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.dsp.g711 import A_LAW, MU_LAW
from active_call.dsp.rtcp import Bye, SenderReport, build_report, parse
from active_call.dsp.rtp import packet
from active_call.lanes.messages import (
    PCMA,
    PCMU,
    AdjustLane,
    CloseLane,
    DigitReceived,
    LaneClosed,
    MarkPlayed,
    PutMark,
    RtcpByeReceived,
    SendDigits,
    StartRecording,
    StopRecording,
)
from active_call.plane.tick import Drop, SendRtcp
from tests.unit.plane.reference import ReferenceExternal, ReferenceLane
from tests.unit.plane.rig import REMOTE, Rig, numbers, speech, tone


def test_closing_says_goodbye_and_drops_the_sockets() -> None:
    rig = Rig()
    rig.open()
    rig.ticks(2)
    rig.media.take_orders()
    rig.media.apply(CloseLane(0, 1))
    goodbye, drop = rig.media.take_orders()
    assert isinstance(goodbye, SendRtcp)
    assert goodbye.address == (REMOTE[0], REMOTE[1] + 1)
    assert any(isinstance(part, Bye) for part in parse(goodbye.data))
    assert isinstance(drop, Drop)
    assert rig.tick() == {}
    assert rig.told(LaneClosed) == [LaneClosed(0, 1, 2, True)]
    assert rig.table.opened_tick[0] == -1
    assert rig.table.get("highest_row") == -1


def test_messages_for_another_generation_are_ignored() -> None:
    rig = Rig()
    rig.open()
    rig.media.apply(CloseLane(0, 99))
    assert 0 in rig.tick()


def test_a_reused_row_starts_afresh() -> None:
    rig = Rig()
    rig.open()
    rig.say(0, speech(0))
    rig.ticks(5)
    rig.media.apply(CloseLane(0, 1))
    rig.open()
    sent = rig.tick()[0]
    assert numbers(sent) == (65_530, 2**32 - 800)
    assert rig.table.position[0] == 320
    assert rig.table.rx_packets[0] == 0


def test_recording_starts_and_stops_at_the_lane_position() -> None:
    rig = Rig()
    rig.open()
    rig.ticks(2)
    rig.media.apply(StartRecording(0, 1, "a.wav"))
    rig.ticks(3)
    rig.media.apply(StopRecording(0, 1))
    assert rig.recorder.calls == [("start", 0, 640), ("stop", 0, 1600)]


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


def test_muting_lasts_until_it_is_lifted_and_ends_with_the_lane() -> None:
    rig = Rig()
    rig.open()
    rig.media.apply(AdjustLane(0, 1, mute_received=True, mute_sent=True, paused=True, gain=0.5, tapped=True))
    rig.media.apply(CloseLane(0, 1))
    rig.open()
    rig.play(tone(2))
    rig.say(0, speech(0))
    rig.ticks(2)
    rig.say(1, speech(1))
    rig.tick()
    assert np.array_equal(rig.sent(3)[:640], tone(2))
    assert rig.heard(1).any()


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


def test_a_spare_goes_on_where_the_other_process_died() -> None:
    old, audio = Rig(), tone(40)
    spare = Rig(old.table, active=False)
    old.open()
    spare.tell()
    old.play(audio)
    old.media.apply(StartRecording(0, 1, "a.wav"))
    spare.media.apply(StartRecording(0, 1, "a.wav"))
    old.table.record_from[0] = 0  # the recorder's column
    for rig in (old, spare):
        rig.media.apply(PutMark(0, 1, 1, 10 * 320))
    last = [old.tick() for _ in range(5)][-1][0]
    old.prepare()  # and dies before the commit
    spare.media.promote(7, {0: REMOTE})
    first = spare.tick()[0]
    assert (numbers(first)[0] - numbers(last)[0]) % 65_536 == 1
    assert (numbers(first)[1] - numbers(last)[1]) % 2**32 == 3 * 160
    assert np.array_equal(spare.sent(1), audio[5 * 320 : 6 * 320])
    assert not spare.sent(3)[:640].any()
    assert spare.table.opened_tick[0] == 0
    assert spare.recorder.calls == [("start", 0, 0)]
    spare.ticks(4)
    assert [event.tick for event in spare.told(MarkPlayed)] == [11]


def test_a_spare_leaves_the_table_alone() -> None:
    old = Rig()
    old.open()
    old.ticks(3)
    before = {name: int(getattr(old.table, name)[0]) for name in ("position", "tx_sequence", "opened_tick")}
    spare = Rig(old.table, active=False)
    spare.tell()
    spare.media.apply(SendDigits(0, 1, "1"))
    assert before == {name: int(getattr(old.table, name)[0]) for name in before}
    assert spare.media.take_orders() == []


def test_a_spare_initialises_what_nobody_has_opened_yet() -> None:
    old = Rig()
    old.table.generation[0] = 1
    spare = Rig(old.table, active=False)
    spare.tell()
    spare.media.promote(4, {0: None})
    assert numbers(spare.tick()[0]) == (65_530, 2**32 - 800)
    assert spare.table.opened_tick[0] == 4


def test_the_successor_tells_the_close_again() -> None:
    old = Rig()
    old.open()
    spare = Rig(old.table, active=False)
    spare.tell()
    spare.media.apply(CloseLane(0, 1))
    spare.media.promote(3, {})
    spare.media.apply(CloseLane(0, 1))
    spare.tick()
    assert [event.active for event in spare.told(LaneClosed)] == [False, True]


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
