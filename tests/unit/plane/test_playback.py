import numpy as np

from active_call.core.audio import Pcm
from active_call.dsp.inband import ToneDetector
from active_call.dsp.rtp import packet
from active_call.dsp.tones import dual_tone
from active_call.lanes.messages import (
    AdjustLane,
    CloseLane,
    Flushed,
    MarkPlayed,
    PutMark,
    SendDigits,
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


def press(rig: Rig, digits: str, *, duration_ms: int = 100, gap_ms: int = 60, tones: bool = True) -> None:
    rig.media.apply(SendDigits(0, int(rig.table.generation[0]), digits, duration_ms, gap_ms, tones))


def understood(audio: Pcm) -> str:
    """The keys in some ticks of audio."""
    detector = ToneDetector(1)
    ticks = audio.reshape(-1, 1, 320)
    return "".join(press.key for tick in ticks for press in detector.hear(np.array([0]), tick)[0])


def test_playback_waits_while_our_keys_sound() -> None:
    rig, audio = Rig(), tone(10)
    rig.open()
    rig.play(audio)
    rig.media.apply(PutMark(0, 1, 1, 3 * 320))
    rig.ticks(2)
    press(rig, "5")
    rig.ticks(8)
    expected = np.concatenate((dual_tone("5", 1600), np.zeros(960, np.int16)))
    assert np.array_equal(rig.sent(8), expected)
    assert rig.told(MarkPlayed) == []
    rig.ticks(8)
    assert np.array_equal(rig.sent(8), audio[640:])
    assert [event.tick for event in rig.told(MarkPlayed)] == [10]


def test_our_keys_are_in_the_packets() -> None:
    rig = Rig()
    rig.open(1)
    rig.open(0)
    press(rig, "5")
    packets = rig.tick()
    assert len(set(packets[0][12:])) > 50
    assert set(packets[1][12:]) == {0xFF}


def test_keys_are_pressed_in_the_order_in_which_they_were_asked_for() -> None:
    rig = Rig()
    rig.open()
    press(rig, "12")
    rig.ticks(3)
    press(rig, "3#")
    rig.ticks(40)
    assert understood(rig.sent(43)) == "123#"


def test_keys_reach_a_peer_whatever_the_volume() -> None:
    rig = Rig()
    rig.open()
    rig.media.apply(AdjustLane(0, 1, mute_sent=True, paused=True, tapped=True))
    press(rig, "5")
    rig.ticks(10)
    assert understood(rig.sent(10)) == "5"


def test_a_flush_takes_playback_and_leaves_the_keys() -> None:
    rig = Rig()
    rig.open()
    rig.play(np.tile(LOUD, 20))
    rig.ticks(2)
    press(rig, "5")
    rig.ticks(2)
    rig.prepare()
    rig.flush(320)
    rig.finish()
    rig.ticks(15)
    assert rig.told(Flushed) == [Flushed(0, 1, 4, 640, 6400)]
    assert np.array_equal(rig.sent(16)[: 3 * 320], dual_tone("5", 1600)[640:])
    assert not rig.sent(13).any()


def test_external_lanes_get_tones_and_never_events() -> None:
    rig = Rig()
    rig.open_external()
    press(rig, "5", tones=False)
    press(rig, "6")
    delivered = []
    for _ in range(10):
        rig.tick()
        delivered.append(np.frombuffer(rig.delivered(), np.int16))
    assert understood(np.concatenate(delivered)) == "6"


def test_tones_wait_for_events_and_events_for_tones() -> None:
    rig = Rig()
    rig.open()
    press(rig, "1", tones=False)
    press(rig, "2")
    events = [packets[0][1] & 0x7F == 101 for packets in rig.ticks(30)]
    assert events.index(True) == 0
    assert not any(events[8:])
    assert not rig.sent(30)[: 320 * 5].any()
    assert understood(rig.sent(30)) == "2"
    press(rig, "3")
    rig.tick()
    press(rig, "4", tones=False)
    events = [packets[0][1] & 0x7F == 101 for packets in rig.ticks(30)]
    assert events.index(True) >= 7
    assert understood(rig.sent(31)) == "3"


def test_keys_that_were_not_pressed_end_with_the_lane() -> None:
    rig = Rig()
    rig.open()
    press(rig, "123456")
    rig.ticks(3)
    rig.media.apply(CloseLane(0, 1))
    rig.open()
    rig.play(tone(2))
    rig.ticks(2)
    assert np.array_equal(rig.sent(2), tone(2))


def test_what_we_press_is_not_said_by_the_peer() -> None:
    rig = Rig()
    rig.open()
    press(rig, "5")
    for number in range(10):
        rig.arrive(packet(0, number, number * 160, 9, b"\xff" * 160))
        rig.tick()
    assert not rig.heard(10).any()
