import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.dsp.g711 import A_LAW, G711, MU_LAW
from active_call.dsp.rtcp import Bye, SenderReport, build_report, parse
from active_call.dsp.rtp import packet
from active_call.lanes.messages import (
    CloseLane,
    ConfigureVad,
    DigitReceived,
    Flushed,
    LaneClosed,
    Latched,
    MarkPlayed,
    MediaStarted,
    PutMark,
    RtcpByeReceived,
    SendDigits,
    SsrcChanged,
    StartRecording,
    StopRecording,
)
from active_call.plane.peers import Address, Connect
from active_call.plane.tick import Drop, SendRtcp
from tests.unit.plane.reference import ReferenceLane
from tests.unit.plane.rig import REMOTE, Rig, numbers

LOUD = np.full(320, 8000, np.int16)
OTHER = ("198.51.100.2", 7000)


def tone(ticks: int) -> Pcm:
    return (9000 * np.sin(np.arange(320 * ticks) * 0.1)).astype(np.int16)


def speech(number: int) -> bytes:
    return bytes((number * 7 + i) % 256 for i in range(160))


def tone(ticks: int) -> Pcm:
    return (9000 * np.sin(np.arange(320 * ticks) * 0.1)).astype(np.int16)


def speech(number: int) -> bytes:
    return bytes((number * 7 + i) % 256 for i in range(160))


def connect(rig: Rig, row: int = 0) -> None:
    """Let an unconnected lane latch to REMOTE."""
    for number in (65_000, 65_001):
        rig.arrive(packet(0, number, number * 160, 9, bytes(160)), row, REMOTE)
    rig.tick()


# --- sending ------------------------------------------------------------------------------------------


def test_silence_is_sent_when_nothing_plays() -> None:
    rig = Rig()
    rig.open(0)
    rig.open(1, codec="pcma", payload_type=8)
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


# --- barge-in and marks -------------------------------------------------------------------------------


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


# --- receiving ----------------------------------------------------------------------------------------


def test_received_audio_comes_out_after_the_jitter_delay() -> None:
    rig = Rig()
    rig.open(jitter_ms=40)
    for number in range(6):
        rig.say(number, speech(number))
        rig.tick()
    expected = np.empty((1, 160), np.int16)
    G711(1, 160).decode(np.frombuffer(speech(0), np.uint8)[None], np.array([MU_LAW]), expected)
    first = rig.heard(4)[0:320:2]
    assert np.array_equal(first[12:], expected[0, :148])  # the resampler is 12 narrow samples late
    assert not first[:12].any()
    assert rig.table.rx_packets[0] == 6


@pytest.mark.parametrize("frame", [80, 240, 320, 480])
def test_other_packet_durations_give_the_same_audio(frame: int) -> None:
    codes = bytes(np.random.default_rng(1).integers(0, 256, 160 * 24, np.uint8))
    rig = Rig()
    rig.open(0)
    rig.open(1)
    for tick in range(30):
        if tick < 24:
            rig.say(tick, codes[tick * 160 : tick * 160 + 160], 0)
        for number in range(len(codes) // frame):
            if number * frame // 160 == tick:
                rig.say(number, codes[number * frame : number * frame + frame], 1, frame=frame)
        rig.tick()
    assert np.array_equal(rig.table.received[0], rig.table.received[1])
    assert rig.heard(28).any()
    assert rig.table.concealed[0] == rig.table.concealed[1]


def test_what_is_not_expected_is_counted() -> None:
    rig = Rig()
    rig.open()
    rig.arrive(b"\x80")
    rig.arrive(bytes(172))
    rig.arrive(packet(18, 1, 0, 1, bytes(160)))
    rig.tick()
    assert rig.table.rx_invalid[0] == 3
    assert rig.table.rx_packets[0] == 0


def test_a_digit_is_told_once_and_is_not_heard() -> None:
    rig = Rig()
    rig.open()
    for number in range(5):
        rig.arrive(packet(101, number, 800, 9, bytes((7, 10, 0, 160 * (number + 1) % 256))))
        rig.tick()
    assert [(event.digit, event.position) for event in rig.told(DigitReceived)] == [("7", 0)]
    assert not rig.heard(5).any()


def test_another_ssrc_is_a_new_stream() -> None:
    rig = Rig()
    rig.open()
    for number in range(4):
        rig.say(number, speech(1))
        rig.tick()
    for number in range(4):
        rig.say(40_000 + number, speech(2), ssrc=77)
        rig.tick()
    assert rig.told(SsrcChanged) == [SsrcChanged(0, 1, 4, 77)]
    assert rig.table.rx_lost[0] == 0
    assert rig.heard(1).any()


def test_receiving_off_hears_nothing() -> None:
    rig = Rig()
    rig.open(receiving=False)
    for number in range(6):
        rig.say(number, speech(number))
        rig.tick()
    assert not rig.heard(6).any()
    assert rig.table.rx_packets[0] == 6


def test_the_detector_is_fed_the_lanes_that_asked() -> None:
    rig = Rig()
    rig.open(0)
    rig.open(1)
    rig.media.apply(ConfigureVad(1, 1, "energy"))
    rig.ticks(2)
    assert rig.vad.fed == [([1], [0], 0), ([1], [320], 1)]
    assert rig.table.get("vad_windows") == 3


# --- latching -----------------------------------------------------------------------------------------


def stream(rig: Rig, numbers: range, source: Address) -> None:
    for number in numbers:
        rig.arrive(packet(0, number, number * 160, 9, speech(number)), 0, source)
        rig.tick()


def test_a_lane_latches_after_two_packets_in_sequence() -> None:
    rig = Rig()
    rig.open(latching=True)
    stream(rig, range(1), OTHER)
    assert (rig.table.latched[0], rig.table.rx_stranger[0]) == (0, 1)
    stream(rig, range(1, 2), OTHER)
    assert rig.connects == [OTHER]
    assert rig.told(MediaStarted) == [MediaStarted(0, 1, 1, *OTHER)]
    assert rig.told(Latched) == [Latched(0, 1, 1, *OTHER)]
    assert rig.media.peers.address[0] == OTHER


def test_scattered_packets_do_not_latch() -> None:
    rig = Rig()
    rig.open(latching=True)
    for number in (5, 90, 7_000):
        stream(rig, range(number, number + 1), OTHER)
    assert rig.connects == []
    assert rig.table.rx_stranger[0] == 3


def test_the_signalled_address_is_heard_from_its_first_packet() -> None:
    rig = Rig()
    rig.open(latching=True)
    stream(rig, range(1), REMOTE)
    assert rig.table.rx_packets[0] == 1


def test_a_silent_peer_may_come_back_from_elsewhere() -> None:
    rig = Rig()
    rig.open(latching=True)
    stream(rig, range(2), REMOTE)
    rig.ticks(25)
    assert rig.connects[-1] is None
    assert rig.tick()[0]  # sending goes on
    stream(rig, range(100, 102), OTHER)
    assert rig.connects[-1] == OTHER


def test_without_latching_only_the_signalled_address_is_heard() -> None:
    rig = Rig()
    rig.open(latching=False)
    assert rig.media.take_orders() == [Connect(0, REMOTE)]
    stream(rig, range(3), OTHER)
    assert rig.table.rx_stranger[0] == 3


def test_a_new_address_by_signalling_starts_over() -> None:
    rig = Rig()
    rig.open(latching=True)
    stream(rig, range(2), REMOTE)
    rig.configure(remote=OTHER, latching=True)
    rig.tick()
    assert rig.connects[-1] is None
    assert rig.media.peers.address[0] == OTHER


# --- lanes, recording, RTCP ---------------------------------------------------------------------------


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


# --- takeover -----------------------------------------------------------------------------------------


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


# --- everything at once -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_tick_does_what_the_plain_reference_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    rig, lanes = Rig(), 12
    references = []
    for row in range(lanes):
        law = int(random.integers(2))
        rig.open(row, codec=("pcmu", "pcma")[law], payload_type=(0, 8)[law])
        references.append(ReferenceLane((MU_LAW, A_LAW)[law]))
    for tick in range(60):
        for row, reference in enumerate(references):
            if random.random() < 0.8:
                samples = random.integers(-20_000, 20_000, int(random.integers(1, 700))).astype(np.int16)
                if int(rig.table.play_write[row] - rig.table.play_read[row]) < 20_000:
                    rig.play(samples, row)
                    reference.play(samples)
            if random.random() < 0.05:
                rig.flush(int(random.integers(0, 500)), row)
                reference.flush(int(rig.table.flush_fade[row]))
            codes = bytes(random.integers(0, 256, 160, np.uint8))
            if tick == 0 or random.random() > 0.1:
                payload_type = 8 if reference.law == A_LAW else 0
                rig.arrive(packet(payload_type, tick, tick * 160, 9, codes), row)
                reference.receive(tick, codes)
        sent = rig.tick()
        for row, reference in enumerate(references):
            played, payload, heard = reference.tick()
            assert np.array_equal(rig.sent(1, row), played)
            difference = np.frombuffer(sent[row][12:], np.uint8) != payload
            assert difference.mean() < 0.02  # single precision may round to the neighbouring step
            assert np.abs(rig.heard(1, row).astype(int) - heard).max() <= 1
