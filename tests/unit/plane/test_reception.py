import numpy as np
import pytest

from active_call.dsp.g711 import G711, MU_LAW
from active_call.dsp.rtp import packet
from active_call.lanes.messages import (
    ConfigureVad,
    DigitReceived,
    SsrcChanged,
)
from tests.unit.plane.rig import Rig, speech


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
