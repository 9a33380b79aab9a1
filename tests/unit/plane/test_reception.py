import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from active_call.core.audio import Pcm
from active_call.dsp.coders import make_encoder
from active_call.dsp.g711 import G711, MU_LAW
from active_call.dsp.rtp import packet
from active_call.lanes.messages import (
    PCMA,
    PCMU,
    TELEPHONE_EVENT,
    CloseLane,
    ConfigureVad,
    DigitReceived,
    RtpFormat,
    SsrcChanged,
)
from tests.unit.dsp.voice import FORMATS, G722, G729, L16, L16_NARROW, OPUS, voice
from tests.unit.plane.rig import Peer, Rig, hum, pitch, quietest, speech


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


@pytest.mark.parametrize("frame", [80, 240, 320, 480, 800])
def test_other_packet_durations_give_the_same_audio(frame: int) -> None:
    codes = bytes(np.random.default_rng(1).integers(0, 256, 160 * 30, np.uint8))
    rig = Rig()
    rig.open(0)
    rig.open(1)
    for tick in range(36):
        if tick < 30:
            rig.say(tick, codes[tick * 160 : tick * 160 + 160], 0)
        for number in range(len(codes) // frame):
            if number * frame // 160 == tick:
                rig.say(number, codes[number * frame : number * frame + frame], 1, frame=frame)
        rig.tick()
    assert np.array_equal(rig.table.received[0], rig.table.received[1])
    assert rig.heard(34).any()
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


# --- codecs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.codec}-{form.clock_hz}")
@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
def test_every_codec_is_heard_in_packets_of_any_duration(form: RtpFormat, ptime_ms: int) -> None:
    if ptime_ms not in make_encoder(form).lengths_ms:
        pytest.skip("the codec has no such packets")
    rig = Rig()
    rig.open(sends=form)
    peer = Peer(rig, form, ptime_ms=ptime_ms)
    peer.talk(hum(48))
    rig.ticks(2)
    assert rig.table.concealed[0] == rig.table.rx_late[0] == rig.table.rx_invalid[0] == 0
    assert pitch(rig.heard(40)) == pytest.approx(400, abs=2)
    assert quietest(rig.heard(40)) > 3000


@pytest.mark.parametrize("form", [PCMU, G722, L16], ids=lambda form: form.codec)
def test_8_khz_is_made_of_what_is_heard_for_the_detector(form: RtpFormat) -> None:
    rig = Rig()
    rig.open(sends=form)
    rig.watch()
    narrow: list[Pcm] = []
    rig.vad.heard = narrow.append
    Peer(rig, form).talk(hum(40))
    assert pitch(np.concatenate([part[0] for part in narrow[10:]]).repeat(2)) == pytest.approx(400, abs=2)


def test_t27_opus_at_any_payload_type() -> None:
    if OPUS not in FORMATS:
        pytest.skip("needs libopus")
    form = RtpFormat(96, "opus", 48_000)
    rig = Rig()
    rig.open(sends=form, receives=(form, RtpFormat(97, "telephone-event", 48_000)))
    Peer(rig, form).talk(hum(30))
    assert pitch(rig.heard(20)) == pytest.approx(400, abs=3)


def test_t27_the_peer_may_send_whatever_was_agreed_on() -> None:
    """Linphone offers 18, 0 and 101: we send PCMU, and hear G.729 if it comes all the same."""
    if G729 not in FORMATS:
        pytest.skip("needs libbcg729")
    rig = Rig()
    rig.open(sends=PCMU, receives=(G729, PCMU, TELEPHONE_EVENT))
    Peer(rig, G729).talk(hum(30))
    assert quietest(rig.heard(20)) > 1000
    assert rig.tick()[0][1] & 0x7F == 0


@pytest.mark.parametrize("after", [form for form in FORMATS if form not in (PCMU, L16_NARROW)], ids=str)
def test_the_codec_may_change_in_mid_stream(after: RtpFormat) -> None:
    rig = Rig()
    rig.open(sends=PCMU, receives=(PCMU, after))
    peer = Peer(rig, PCMU)
    peer.talk(hum(20))
    peer.use(after)
    peer.talk(hum(20))
    peer.use(PCMU)
    peer.talk(hum(20))
    assert quietest(rig.heard(55)) > 1000
    assert rig.table.concealed[0] == rig.table.rx_lost[0] == 0
    assert pitch(rig.heard(10)) == pytest.approx(400, abs=5)


def test_the_other_law_of_g711_is_heard_as_it_was_meant() -> None:
    rig = Rig()
    rig.open(0, sends=PCMA, receives=(PCMA, PCMU))
    rig.open(1, sends=PCMU, receives=(PCMA, PCMU))
    for row in (0, 1):
        peer = Peer(rig, PCMU, row)
        for form in (PCMU, PCMA):
            peer.use(form)
            peer.talk(hum(20))
            assert rig.heard(10, row).std() == pytest.approx(hum(1).std(), rel=0.03)
    assert not rig.media.reception.unpacker.rows.any()


def test_a_hold_does_not_forget_that_the_peer_sends_another_codec() -> None:
    rig = Rig()
    rig.open(sends=PCMU, receives=(PCMU, G722))
    peer = Peer(rig, G722)
    peer.talk(hum(20))
    rig.configure(sends=PCMU, receives=(PCMU, G722))
    peer.talk(hum(20))
    assert rig.table.concealed[0] == 0
    assert quietest(rig.heard(25)) > 3000


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.codec}-{form.clock_hz}")
def test_a_hold_is_silent_at_once(form: RtpFormat) -> None:
    rig = Rig()
    rig.open(sends=form)
    peer = Peer(rig, form)
    peer.talk(hum(10))
    rig.configure(sends=form, receiving=False)
    peer.talk(hum(3))
    assert np.abs(rig.heard(2)).max() <= 1
    assert rig.table.concealed[0] == 0
    rig.configure(sends=form)
    peer.talk(hum(10))
    assert quietest(rig.heard(7)) > 1000


def test_what_is_queued_is_heard_as_it_was_meant_when_the_codec_changes() -> None:
    rig = Rig()
    rig.open(sends=PCMA, jitter_ms=100)
    peer = Peer(rig, PCMA)
    quiet = (hum(30) // 8).astype(np.int16)
    peer.talk(quiet)
    rig.configure(sends=G722, jitter_ms=100)
    rig.ticks(3)
    assert pitch(rig.heard(3)) == pytest.approx(400, abs=20)
    assert np.abs(rig.heard(3)).max() == pytest.approx(1000, rel=0.1)


def test_another_codec_may_be_agreed_on() -> None:
    rig = Rig()
    rig.open(sends=PCMU)
    peer = Peer(rig, PCMU)
    peer.talk(hum(20))
    for form in (G722, PCMA):
        rig.configure(sends=form)
        peer.use(form)
        peer.talk(hum(20))
        assert pitch(rig.heard(15)) == pytest.approx(400, abs=3)
        assert rig.table.rx_invalid[0] == 0


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.codec}-{form.clock_hz}")
def test_lost_packets_are_concealed(form: RtpFormat) -> None:
    rig = Rig()
    rig.open(sends=form)
    Peer(rig, form).talk(hum(60), lose={20, 30, 31})
    assert rig.table.rx_lost[0] == 3
    assert rig.table.concealed[0] == 3
    assert quietest(rig.heard(50)) > 200


def test_the_packet_after_a_lost_one_of_opus_repairs_it() -> None:
    if OPUS not in FORMATS:
        pytest.skip("needs libopus")
    said = voice(1200)
    whole, broken, unrepaired = Rig(), Rig(), Rig()
    for rig in (whole, broken, unrepaired):
        rig.open(sends=OPUS)
    Peer(whole, OPUS).talk(said)
    Peer(broken, OPUS).talk(said, lose=range(10, 50, 10))
    unrepaired.media.reception.jitter.following = lambda tick, row: 0  # type: ignore[method-assign]
    Peer(unrepaired, OPUS).talk(said, lose=range(10, 50, 10))
    noise = [
        float(((rig.heard(50).astype(float) - whole.heard(50)) ** 2).mean()) for rig in (broken, unrepaired)
    ]
    assert broken.table.concealed[0] == 4
    assert noise[0] < noise[1] / 2


def test_packets_of_a_codec_with_memory_are_decoded_in_order() -> None:
    ordered, shuffled = Rig(), Rig()
    ordered.open(sends=G722)
    shuffled.open(sends=G722)
    Peer(ordered, G722).talk(voice(800))
    packets = Peer(shuffled, G722).packets(voice(800))
    for number in range(0, 40, 2):
        shuffled.arrive(packets[number + 1])
        shuffled.arrive(packets[number])
        shuffled.arrive(packets[number])
        shuffled.ticks(2)
    assert shuffled.table.rx_duplicate[0] == 20
    assert shuffled.table.concealed[0] == 0
    count = 30 * 320
    heard = np.lib.stride_tricks.sliding_window_view(shuffled.table.received[0, : 41 * 320], count)
    assert (heard == ordered.heard(36)[:count]).all(axis=1).any()


def test_timestamps_of_48_khz_wrap() -> None:
    if OPUS not in FORMATS:
        pytest.skip("needs libopus")
    rig = Rig()
    rig.open(sends=OPUS)
    peer = Peer(rig, OPUS)
    peer.timestamp, peer.sequence = 2**32 - 960 * 20, 65_526
    peer.talk(hum(60))
    assert rig.table.concealed[0] == rig.table.rx_late[0] == rig.table.rx_lost[0] == 0
    assert quietest(rig.heard(50)) > 3000


def test_t08_another_ssrc_is_heard_with_every_codec() -> None:
    for form in FORMATS:
        rig = Rig()
        rig.open(sends=form)
        peer = Peer(rig, form)
        peer.talk(hum(20))
        peer.ssrc, peer.timestamp, peer.sequence = 77, 123_456_789, 5
        peer.talk(hum(30))
        assert [event.ssrc for event in rig.told(SsrcChanged)] == [77]
        assert rig.table.rx_lost[0] == 0
        assert pitch(rig.heard(20)) == pytest.approx(400, abs=3)


def test_t01_t02_keys_at_any_payload_type_and_clock_are_told_once_and_never_heard() -> None:
    for form in FORMATS:
        for payload_type, clock_hz, digit in ((98, 8000, "0"), (110, 48_000, "5"), (126, 16_000, "9")):
            rig = Rig()
            event = RtpFormat(payload_type, "telephone-event", clock_hz)
            rig.open(sends=form, receives=(form, event, TELEPHONE_EVENT))
            number = "0123456789".index(digit)
            for press in range(2):
                for repeat in range(5):
                    payload = bytes((number, 10 | (0x80 if repeat > 2 else 0), 3, 0))
                    rig.arrive(packet(event.payload_type, press * 9 + repeat, press * 48_000, 9, payload))
                    rig.tick()
            assert [told.digit for told in rig.told(DigitReceived)] == [digit, digit]
            assert not rig.heard(10).any()


@pytest.mark.parametrize("form", [PCMU, G722, L16], ids=lambda form: form.codec)
def test_comfort_noise_is_silence_and_no_echo_of_the_last_word(form: RtpFormat) -> None:
    rig = Rig()
    rig.open(sends=form)
    peer = Peer(rig, form)
    peer.talk(hum(10))
    rig.arrive(packet(13, peer.sequence, peer.timestamp, 9, b"\x40"))
    rig.ticks(20)
    assert rig.table.concealed[0] == 0
    assert not rig.heard(16).any()
    peer.sequence += 1
    peer.timestamp += 20 * peer.step
    peer.talk(hum(10))
    assert rig.table.concealed[0] == 0
    assert quietest(rig.heard(6)) > 3000


def test_a_delay_that_is_too_long_is_given_back_in_silence_with_every_codec() -> None:
    for form in FORMATS:
        rig = Rig()
        rig.open(sends=form)
        peer = Peer(rig, form)
        peer.talk(hum(60))
        late = peer.packets(hum(3))
        rig.ticks(3)
        for data in late:
            rig.arrive(data)
        peer.talk(hum(5))
        assert rig.table.delay_ms[0] > 40
        peer.talk(np.zeros(320 * 260, np.int16))
        assert rig.table.delay_ms[0] == 40
        peer.talk(hum(30))
        assert quietest(rig.heard(20)) > 1000


def test_jitter_is_measured_by_the_clock_of_the_codec() -> None:
    for form in FORMATS:
        rig = Rig()
        rig.open(sends=form)
        incoming = rig.media.reception.incoming
        for tick, data in enumerate(Peer(rig, form).packets(hum(60))):
            incoming.views[0][: len(data)] = data
            arrived = 1_000_000_000 + 20_000_000 * tick + 2_000_000 * (tick % 2)
            rig.media.reception.receive(tick, np.array([0]), np.array([len(data)]), {}, np.array([arrived]))
            rig.tick()
        assert rig.table.jitter_ms[0] == pytest.approx(2, rel=0.05)
        assert rig.media.reception.jitter.clock_hz[0] == form.clock_hz


def test_a_spare_hears_a_codec_with_memory_from_where_it_takes_over() -> None:
    old = Rig()
    old.open(sends=G722)
    spare = Rig(old.table, active=False)
    spare.tell(sends=G722)
    peer = Peer(old, G722)
    peer.talk(hum(20))
    spare.media.promote(20, {0: None})
    peer._rig = spare
    peer.talk(hum(30))
    assert pitch(spare.heard(20)) == pytest.approx(400, abs=3)
    assert spare.table.rx_invalid[0] == 0


def test_a_lane_that_was_closed_leaves_no_packets() -> None:
    rig = Rig()
    rig.open(sends=G722)
    Peer(rig, G722).talk(hum(5))
    rig.media.apply(CloseLane(0, 1))
    assert rig.media.reception.unpacker.idle
    rig.open()
    Peer(rig, PCMU).talk(hum(20))
    assert quietest(rig.heard(15)) > 3000


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 8, 9, 18, 96, 97, 111, 101, 13, 77]), st.binary(max_size=200)),
        max_size=20,
    )
)
def test_nothing_that_a_peer_sends_breaks_the_tick(received: list[tuple[int, bytes]]) -> None:
    rig = Rig()
    rig.open(sends=PCMU, receives=(*FORMATS, TELEPHONE_EVENT))
    for number, (payload_type, payload) in enumerate(received):
        rig.arrive(packet(payload_type, number, number * 160, 9, payload))
        rig.tick()
    rig.ticks(5)
    assert len(rig.wire[0]) == len(received) + 5
