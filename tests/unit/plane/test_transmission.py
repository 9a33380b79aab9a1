import numpy as np

from active_call.lanes.messages import PCMA, AdjustLane, SendDigits
from tests.unit.plane.rig import Rig, numbers, tone


def test_silence_is_sent_when_nothing_plays() -> None:
    rig = Rig()
    rig.open(0)
    rig.open(1, sends=PCMA)
    sent = rig.tick()
    assert sent[0][12:] == b"\xff" * 160
    assert sent[1][12:] == b"\xd5" * 160
    assert sent[1][1] == 8


def test_sequence_and_timestamp_wrap() -> None:
    rig = Rig()
    rig.open()
    headers = [numbers(sent[0]) for sent in rig.ticks(10)]
    assert headers == [((65_530 + n) % 65_536, (2**32 - 800 + 160 * n) % 2**32) for n in range(10)]


def test_ssrc_and_counters() -> None:
    rig = Rig()
    rig.open(3)
    sent = rig.ticks(4)[-1]
    assert int.from_bytes(sent[3][8:12], "big") == 503
    assert (rig.table.tx_packets[3], rig.table.tx_octets[3]) == (4, 640)


def test_the_sent_ring_has_what_was_played_and_silence_after_it() -> None:
    rig = Rig()
    rig.open()
    audio = tone(2)[:500]
    rig.play(audio)
    rig.ticks(3)
    assert np.array_equal(rig.sent(3)[:500], audio)
    assert not rig.sent(3)[500:].any()
    assert rig.table.play_read[0] == 500


def test_position_counts_from_the_opening_tick() -> None:
    rig = Rig()
    rig.ticks(7)
    rig.open()
    rig.ticks(3)
    assert rig.table.opened_tick[0] == 7
    assert rig.table.position[0] == 960
    assert rig.table.get("tick") == 9


def test_skipped_ticks_are_silence_in_the_rings_and_advance_the_timestamp() -> None:
    rig = Rig()
    rig.open()
    rig.table.sent[0] = 5
    first = rig.tick()[0]
    rig.media.next_tick += 10
    second = rig.tick()[0]
    assert rig.table.position[0] == 12 * 320
    assert not rig.table.sent[0, 320 : 12 * 320].any()
    assert (numbers(second)[0] - numbers(first)[0]) % 65_536 == 1
    assert (numbers(second)[1] - numbers(first)[1]) % 2**32 == 11 * 160


def test_a_packet_of_60_ms() -> None:
    rig = Rig()
    rig.open(ptime_ms=60)
    rig.open(1)
    rig.play(tone(6))
    rig.play(tone(6), row=1)
    ticks = rig.ticks(6)
    long = [sent[0] for sent in ticks if 0 in sent]
    assert [len(data) for data in long] == [492, 492]
    assert b"".join(data[12:] for data in long) == b"".join(sent[1][12:] for sent in ticks)
    assert numbers(long[1])[1] - numbers(long[0])[1] in (480, 480 - 2**32)


def test_nothing_is_sent_before_there_is_an_address_or_while_sending_is_off() -> None:
    rig = Rig()
    rig.open(0, remote=None, latching=True)
    rig.open(1, sending=False)
    assert rig.tick() == {}


def test_digits_replace_audio_in_the_same_sequence() -> None:
    rig = Rig()
    rig.open()
    rig.media.apply(SendDigits(0, 1, "5", 100, 60))
    sent = [tick[0] for tick in rig.ticks(9)]
    events = [data for data in sent if data[1] & 0x7F == 101]
    assert events == sent[:7]
    assert {numbers(data)[1] for data in events} == {2**32 - 800}
    assert events[0][12] == 5
    assert [numbers(data)[0] for data in sent] == [(65_530 + n) % 65_536 for n in range(9)]


def test_the_gain_is_of_all_that_is_sent_and_saturates() -> None:
    rig = Rig()
    rig.open()
    rig.media.apply(AdjustLane(0, 1, gain=2.0, tapped=True))
    rig.play(np.array([100, -5, 20_000, -20_000] * 80, np.int16))
    rig.tick()
    assert rig.sent(1)[:4].tolist() == [200, -10, 32_767, -32_768]


def test_a_muted_lane_sends_silence_while_playback_goes_on() -> None:
    rig = Rig()
    rig.open()
    rig.play(tone(3))
    rig.media.apply(AdjustLane(0, 1, mute_sent=True, tapped=True))
    assert rig.ticks(2)[-1][0][12:] == b"\xff" * 160
    rig.media.apply(AdjustLane(0, 1, tapped=True))
    rig.tick()
    assert np.array_equal(rig.sent(1), tone(3)[640:])


def test_a_flush_of_the_last_moment_keeps_the_gain() -> None:
    rig = Rig()
    rig.open()
    rig.media.apply(AdjustLane(0, 1, gain=0.5, tapped=True))
    rig.play(np.full(640, 1000, np.int16))
    rig.prepare()
    rig.flush(fade=320)
    rig.finish()
    assert 0 < rig.sent(1)[0] <= 500
