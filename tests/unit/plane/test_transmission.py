from typing import Any

import numpy as np
import pytest

from active_call.dsp.coders import make_decoder, make_encoder
from active_call.lanes.messages import PCMA, AdjustLane, Flushed, RtpFormat, SendDigits
from tests.unit.dsp.voice import FORMATS, G722, OPUS
from tests.unit.plane.rig import Rig, hum, numbers, pitch, tone


def test_silence_is_sent_when_nothing_plays() -> None:
    rig = Rig()
    rig.open(0)
    rig.open(1, sends=PCMA)
    sent = rig.tick()
    assert sent[0][12:] == b"\xff" * 160
    assert sent[1][12:] == b"\xd5" * 160
    assert sent[1][1] & 0x7F == 8


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


@pytest.mark.parametrize("settings", [{}, {"ptime_ms": 40}, {"sends": G722, "ptime_ms": 40}], ids=str)
def test_the_first_packet_and_the_first_after_a_pause_are_marked(settings: dict[str, Any]) -> None:
    rig = Rig()
    rig.open(**settings)
    rig.ticks(4)
    rig.configure(sending=False, **settings)
    rig.ticks(4)
    rig.configure(**settings)
    rig.ticks(4)
    half = len(rig.wire[0]) // 2
    assert [data[1] >> 7 for data in rig.wire[0]] == ([1] + [0] * (half - 1)) * 2


def test_who_goes_on_for_another_process_marks_nothing() -> None:
    old = Rig()
    old.open()
    spare = Rig(old.table, active=False)
    spare.tell()
    old.ticks(3)
    spare.media.promote(3, {0: None})
    assert [sent[0][1] >> 7 for sent in spare.ticks(3)] == [0, 0, 0]


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


def test_a_flush_of_the_last_moment_is_in_the_packet_however_long_it_is() -> None:
    rig = Rig()
    rig.open(ptime_ms=40)
    rig.play(tone(4))
    rig.tick()
    rig.prepare()
    rig.flush(fade=0)
    payload = rig.finish()[0][12:]
    assert len(payload) == 320
    assert set(payload[160 + 24 :]) == {0xFF}


# --- codecs and durations -------------------------------------------------------------------------------


def stamps(packets: list[bytes]) -> list[int]:
    """Timestamps since the lane opened."""
    return [(numbers(data)[1] - (2**32 - 800)) % 2**32 for data in packets]


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.codec}-{form.clock_hz}")
@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
def test_every_codec_is_sent_in_packets_of_any_duration(form: RtpFormat, ptime_ms: int) -> None:
    if ptime_ms not in make_encoder(form).lengths_ms:
        ptime_ms, asked_ms = 20, ptime_ms
    else:
        asked_ms = ptime_ms
    rig = Rig()
    rig.open(sends=form, ptime_ms=asked_ms)
    rig.play(hum(48))
    rig.ticks(48)
    sent = rig.wire[0]
    assert len(sent) == 960 // ptime_ms == rig.table.tx_packets[0]
    assert {data[1] & 0x7F for data in sent} == {form.payload_type}
    assert [numbers(data)[0] for data in sent] == [(65_530 + n) % 65_536 for n in range(len(sent))]
    assert stamps(sent) == [n * form.clock_hz * ptime_ms // 1000 for n in range(len(sent))]
    assert rig.table.tx_octets[0] == sum(len(data) - 12 for data in sent)
    decoder = make_decoder(form)
    heard = np.concatenate([decoder.decode(data[12:]) for data in sent])
    assert len(heard) == decoder.rate_hz * 960 // 1000
    assert pitch(heard.repeat(16_000 // decoder.rate_hz)[4800:]) == pytest.approx(400, abs=2)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.codec}-{form.clock_hz}")
def test_silence_is_sent_with_every_codec(form: RtpFormat) -> None:
    rig = Rig()
    rig.open(sends=form)
    rig.play(hum(5))
    rig.ticks(60)
    decoder = make_decoder(form)
    heard = np.concatenate([decoder.decode(data[12:]) for data in rig.wire[0]])
    assert len(rig.wire[0]) == 60
    assert np.abs(heard[len(heard) // 3 :].astype(int)).max() <= 16


def test_a_flush_of_the_last_moment_waits_for_the_next_tick_where_the_encoder_has_a_memory() -> None:
    rig, other = Rig(), Rig()
    for one in (rig, other):
        one.open(sends=G722)
        one.play(hum(10))
        one.ticks(3)
    rig.prepare()
    rig.flush(fade=0)
    assert rig.finish() == other.tick()
    assert np.array_equal(rig.sent(1), hum(4)[960:])
    rig.ticks(1)
    assert not rig.sent(1).any()
    assert [event.position for event in rig.told(Flushed)] == [1280]


def test_a_lane_that_may_send_again_begins_a_packet_with_what_it_says_then() -> None:
    rig = Rig()
    rig.open(ptime_ms=60)
    rig.ticks(4)
    rig.configure(ptime_ms=60, sending=False)
    rig.ticks(4)
    rig.configure(ptime_ms=60)
    rig.ticks(3)
    assert stamps(rig.wire[0]) == [0, 8 * 160]


def test_keys_have_the_clock_that_was_agreed_on() -> None:
    if OPUS not in FORMATS:
        pytest.skip("needs libopus")
    rig = Rig()
    rig.open(sends=OPUS, sends_events=RtpFormat(110, "telephone-event", 48_000))
    rig.ticks(2)
    rig.media.apply(SendDigits(0, 1, "5", 100, 60))
    rig.ticks(8)
    events = [data for data in rig.wire[0] if data[1] & 0x7F == 110]
    assert [data[1] >> 7 for data in events] == [1] + [0] * 6
    assert set(stamps(events)) == {2 * 960}
    assert [int.from_bytes(data[14:16], "big") for data in events] == [960, 1920, 2880, 3840, 4800, 4800, 4800]
    assert [data[13] >> 7 for data in events] == [0] * 4 + [1] * 3
    assert [numbers(data)[0] for data in rig.wire[0]] == [(65_530 + n) % 65_536 for n in range(10)]


def test_keys_with_a_clock_of_their_own_keep_to_the_timestamps_of_the_audio() -> None:
    if OPUS not in FORMATS:
        pytest.skip("needs libopus")
    rig = Rig()
    rig.open(sends=OPUS, sends_events=RtpFormat(101, "telephone-event", 8_000))
    rig.ticks(2)
    rig.media.apply(SendDigits(0, 1, "5", 100, 60))
    rig.ticks(9)
    events = [data for data in rig.wire[0] if data[1] & 0x7F == 101]
    assert set(stamps(events)) == {2 * 960}
    assert [int.from_bytes(data[14:16], "big") for data in events] == [160, 320, 480, 640, 800, 800, 800]
    assert stamps(rig.wire[0]) == sorted(stamps(rig.wire[0]))


def test_a_key_takes_the_place_of_both_packets_of_10_ms() -> None:
    rig = Rig()
    rig.open(ptime_ms=10)
    rig.media.apply(SendDigits(0, 1, "5", 40, 40))
    rig.ticks(5)
    kinds = [data[1] & 0x7F for data in rig.wire[0]]
    assert kinds == [101] * 4 + [0, 0]
    assert [numbers(data)[0] for data in rig.wire[0]] == [(65_530 + n) % 65_536 for n in range(6)]


def test_a_spare_goes_on_with_a_codec_from_its_start() -> None:
    old = Rig()
    old.open(sends=G722, ptime_ms=40)
    spare = Rig(old.table, active=False)
    spare.tell(sends=G722, ptime_ms=40)
    old.play(hum(30))
    old.ticks(11)
    spare.media.promote(11, {0: None})
    spare.ticks(10)
    sent = old.wire[0] + spare.wire[0]
    assert [numbers(data)[0] for data in sent] == [(65_530 + n) % 65_536 for n in range(10)]
    assert stamps(sent) == [320 * n for n in range(5)] + [160 * 11 + 320 * n for n in range(5)]


def test_timestamps_go_on_when_the_clock_changes() -> None:
    wide = RtpFormat(96, "l16", 16_000)
    old = Rig()
    old.ticks(3)
    old.open()
    spare = Rig(old.table, active=False)
    spare.tell()
    old.ticks(5)
    for rig in (old, spare):
        rig.configure(sends=wide)
    old.ticks(2)
    spare.media.promote(10, {0: None})
    spare.ticks(1)
    assert stamps(old.wire[0] + spare.wire[0]) == [0, 160, 320, 480, 640, 800, 1120, 1440]


def test_the_report_tells_the_time_of_the_codecs_clock() -> None:
    rig = Rig()
    rig.open(sends=RtpFormat(96, "l16", 16_000))
    assert rig.media.transmission.timestamp(0, 50) - (2**32 - 800) == 16_000


def test_a_codec_that_is_not_there_sends_nothing_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.open(sends=RtpFormat(11, "l16", 44_100))
    assert rig.tick() == {}
    assert "l16 at 44100 Hz" in caplog.text
