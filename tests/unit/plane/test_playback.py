import numpy as np

from active_call.lanes.messages import (
    AdjustLane,
    Flushed,
    MarkPlayed,
    PutMark,
)
from tests.unit.plane.rig import Rig, tone

LOUD = np.full(320, 8000, np.int16)


def test_flush_fades_out_and_drops_the_rest() -> None:
    rig = Rig()
    rig.open()
    rig.play(np.tile(LOUD, 20))
    rig.ticks(3)
    rig.flush(320)
    rig.ticks(2)
    heard = rig.sent(3)
    assert heard[0] == 8000
    assert (np.diff(heard[320:640].astype(int)) <= 0).all()
    assert heard[639] == 0
    assert not heard[640:].any()
    assert rig.told(Flushed) == [Flushed(0, 1, 3, 4 * 320, 20 * 320)]
    assert rig.table.play_read[0] == 20 * 320


def test_flush_between_prepare_and_send_takes_effect_in_this_tick() -> None:
    rig = Rig()
    rig.open()
    rig.play(np.tile(LOUD, 20))
    rig.tick()
    rig.prepare()
    rig.flush(0)
    sent = rig.finish()
    assert not rig.sent(1).any()
    assert sent[0][40:] == b"\xff" * 132
    assert rig.told(Flushed) == [Flushed(0, 1, 1, 320, 6400)]


def test_audio_queued_after_a_flush_plays_next() -> None:
    rig = Rig()
    rig.open()
    rig.play(np.tile(LOUD, 5))
    rig.tick()
    rig.flush(100)
    rig.play(tone(1))
    rig.ticks(2)
    assert np.array_equal(rig.sent(1), tone(1))


def test_a_mark_is_told_in_the_tick_that_plays_it() -> None:
    rig = Rig()
    rig.open()
    rig.play(np.tile(LOUD, 4))
    for mark, position in ((1, 320), (2, 321), (3, 1280)):
        rig.media.apply(PutMark(0, 1, mark, position))
    rig.ticks(5)
    assert [(event.mark, event.tick) for event in rig.told(MarkPlayed)] == [(1, 0), (2, 1), (3, 3)]


def test_flushed_marks_are_never_told() -> None:
    rig = Rig()
    rig.open()
    rig.play(np.tile(LOUD, 10))
    rig.media.apply(PutMark(0, 1, 1, 400))
    rig.media.apply(PutMark(0, 1, 2, 3000))
    rig.tick()
    rig.flush(320)
    rig.ticks(2)
    rig.media.apply(PutMark(0, 1, 3, 3200))
    rig.ticks(2)
    assert [event.mark for event in rig.told(MarkPlayed)] == [1]


def test_paused_playback_stands_still_and_its_marks_wait() -> None:
    rig, audio = Rig(), tone(4)
    rig.open()
    rig.play(audio)
    rig.media.apply(PutMark(0, 1, 1, 2 * 320))
    rig.tick()
    rig.media.apply(AdjustLane(0, 1, paused=True, tapped=True))
    rig.ticks(5)
    assert not rig.sent(5).any()
    assert rig.told(MarkPlayed) == []
    rig.media.apply(AdjustLane(0, 1, tapped=True))
    rig.ticks(3)
    assert np.array_equal(rig.sent(3), audio[320:])
    assert [event.tick for event in rig.told(MarkPlayed)] == [6]


def test_a_flush_works_while_paused_and_nothing_is_heard_of_it() -> None:
    rig = Rig()
    rig.open()
    rig.play(np.tile(LOUD, 20))
    rig.tick()
    rig.media.apply(AdjustLane(0, 1, paused=True, tapped=True))
    rig.tick()
    rig.flush(320)
    rig.tick()
    assert not rig.sent(2).any()
    assert rig.told(Flushed) == [Flushed(0, 1, 2, 320, 6400)]
    assert rig.table.play_read[0] == 6400


def test_a_fade_that_has_begun_ends_while_paused() -> None:
    rig = Rig()
    rig.open()
    rig.play(np.tile(LOUD, 20))
    rig.tick()
    rig.flush(640)
    rig.tick()
    rig.media.apply(AdjustLane(0, 1, paused=True, tapped=True))
    rig.tick()
    assert rig.sent(1)[0] > 0
    assert rig.table.play_read[0] == 6400
