import numpy as np
import pytest

from active_call.dsp.rtcp import Bye, parse
from active_call.lanes.messages import (
    AdjustLane,
    CloseLane,
    LaneClosed,
    MarkPlayed,
    PutMark,
    SendDigits,
    StartRecording,
    StopRecording,
)
from active_call.plane.orders import Drop, SendRtcp
from tests.unit.dsp.voice import OPUS
from tests.unit.plane.rig import REMOTE, Rig, numbers, speech, tone
from tests.unit.plane.turmoil import Turmoil


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


def test_a_spare_that_came_after_a_change_of_clocks_goes_on_with_the_timestamps() -> None:
    rig = Rig()
    rig.open()
    rig.ticks(50)
    rig.configure(sends=OPUS)
    before = numbers(rig.ticks(10)[-1][0])
    spare = Rig(rig.table, active=False)
    spare.tell(sends=OPUS)
    spare.media.promote(rig.media.next_tick, {0: REMOTE})
    after = numbers(spare.tick()[0])
    assert (after[1] - before[1]) % 2**32 == 960


@pytest.mark.parametrize("seed", range(8))
def test_neither_orders_nor_packets_break_the_tick_whatever_their_order(seed: int) -> None:
    turmoil = Turmoil(seed)
    for number in range(60):
        turmoil.step()
        if number % 20 == 19:
            turmoil.take_over()
    table = turmoil.rig.table
    assert table.get("tick") >= 59
    assert table.rx_packets.sum() > 0
    assert table.tx_packets.sum() > 0
