import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.dsp.g711 import G711, MU_LAW
from active_call.dsp.inband import ToneDetector
from active_call.dsp.rtp import packet
from active_call.dsp.tones import dual_tone
from active_call.lanes.messages import (
    AdjustLane,
    CloseLane,
    DigitReceived,
    MixSource,
    SendDigits,
    SetDenoise,
    SetMix,
    StartRecording,
)
from active_call.plane.tick import MediaTick
from active_call.plane.writer import Recorder
from tests.unit.plane.rig import REMOTE, Rig

DELAY = 2  # ticks of the jitter buffer
PLAIN = {"receives": (), "sends_events": None}


def silence(ticks: float) -> Pcm:
    return np.zeros(round(320 * ticks), np.int16)


def voice(ticks: float) -> Pcm:
    """Something loud that is no key."""
    time = np.arange(round(320 * ticks)) / 16_000
    parts = [np.sin(2 * np.pi * 140 * number * time + number) / number for number in range(1, 24)]
    return np.asarray(5000 * sum(parts)).astype(np.int16)


def codes(audio: Pcm) -> list[bytes]:
    """Audio at 16 kHz as packets of 20 ms; what is above 4 kHz must be nothing."""
    narrow = np.ascontiguousarray(audio[::2])
    frames = np.concatenate((narrow, np.zeros(-len(narrow) % 160, np.int16))).reshape(-1, 160)
    out = np.zeros((len(frames), 160), np.uint8)
    return [bytes(row) for row in G711(len(frames), 160).encode(frames, np.full(len(frames), MU_LAW), out)]


def hear(rig: Rig, *parts: Pcm, row: int = 0, first: int = 0, more: int = 10) -> Pcm:
    """The peer says this. Returns what was heard tick by tick, as it was at that time, without the delay."""
    packets = codes(np.concatenate((*parts, silence(more))))
    taken = []
    for number, data in enumerate(packets):
        rig.say(first + number, data, row)
        rig.tick()
        taken.append(rig.heard(1, row))
    return np.concatenate(taken)[320 * DELAY :]


def adjust(rig: Rig, row: int = 0, **settings: bool) -> None:
    rig.media.apply(AdjustLane(row, int(rig.table.generation[row]), tapped=True, **settings))


def masked(row: int = 0, **settings: object) -> Rig:
    rig = Rig()
    rig.open(row, **settings)
    adjust(rig, row, mask_digits=True)
    return rig


def digits(rig: Rig) -> str:
    return "".join(event.digit for event in rig.told(DigitReceived))


def found(audio: Pcm) -> str:
    """The keys that somebody finds who gets this audio."""
    detector = ToneDetector(1)
    ticks = audio[: len(audio) // 320 * 320].reshape(-1, 1, 320)
    return "".join(press.key for tick in ticks for press in detector.hear(np.array([0]), tick)[0])


def test_keys_are_told_by_their_tones_with_the_position_of_the_onset() -> None:
    rig = Rig()
    rig.open(inband_digits=True)
    hear(rig, silence(5), dual_tone("0", 1600), silence(3), dual_tone("#", 1600))
    zero, hash_ = rig.told(DigitReceived)
    assert (zero.digit, hash_.digit) == ("0", "#")
    assert zero.position == pytest.approx((DELAY + 5) * 320, abs=160)
    assert hash_.position == pytest.approx((DELAY + 13) * 320, abs=160)
    assert zero.tick - zero.position // 320 <= 2


def test_a_tone_at_the_very_beginning_has_no_position_before_it() -> None:
    rig = Rig()
    rig.open_external()
    rig.media.keys.configure(0, inband=True)
    rig.media.keys.mask(0, on=False)
    rig.media._stale = True
    for tick in dual_tone("5", 3200).reshape(-1, 320):
        rig.feed(tick.tobytes(), early_ms=18)
        rig.tick()
    [event] = rig.told(DigitReceived)
    assert event.position >= 0


def test_only_lanes_that_are_to_tell_tones_do() -> None:
    rig = Rig()
    rig.open()
    hear(rig, dual_tone("5", 1600))
    assert digits(rig) == ""
    rig.configure(inband_digits=True)
    hear(rig, dual_tone("6", 1600), first=15)
    rig.configure(inband_digits=False)
    hear(rig, dual_tone("7", 1600), first=30)
    assert digits(rig) == "6"


def test_keys_are_told_while_the_caller_is_muted_and_heard_by_nobody() -> None:
    rig = Rig()
    rig.open(inband_digits=True)
    adjust(rig, mute_received=True)
    assert not hear(rig, dual_tone("5", 1600)).any()
    assert digits(rig) == "5"


@pytest.mark.parametrize("event_first", [True, False])
def test_an_event_and_its_tone_are_told_once(*, event_first: bool) -> None:
    rig = Rig()
    rig.open(inband_digits=True)
    event = packet(101, 50, 800, 9, bytes((5, 10, 0, 160)))
    if event_first:
        rig.arrive(event)
    hear(rig, silence(5), dual_tone("5", 1600), more=3)
    if not event_first:
        rig.arrive(event)
    rig.ticks(5)
    assert digits(rig) == "5"


def test_an_event_for_another_key_is_told() -> None:
    rig = Rig()
    rig.open(inband_digits=True)
    hear(rig, dual_tone("5", 1600))
    rig.arrive(packet(101, 50, 20_000, 9, bytes((6, 10, 0, 160))))
    rig.ticks(2)
    assert digits(rig) == "56"


def test_the_echo_of_our_own_keys_is_not_told() -> None:
    rig = Rig()
    rig.open(inband_digits=True)
    rig.media.apply(SendDigits(0, 1, "5", 100, 60, tones=True))
    echo = (dual_tone("5", 1600) // 8).astype(np.int16)
    hear(rig, silence(1), echo)
    assert digits(rig) == ""
    hear(rig, silence(15), dual_tone("5", 1600), first=20)
    assert digits(rig) == "5"


def test_a_new_lane_of_the_row_does_not_tell_tones() -> None:
    rig = Rig()
    rig.open(inband_digits=True)
    rig.open()
    hear(rig, dual_tone("5", 1600))
    assert digits(rig) == ""


def test_what_is_masked_is_told() -> None:
    rig = masked(inband_digits=True)
    hear(rig, silence(4), dual_tone("1", 1600), silence(3), dual_tone("2", 1600))
    assert digits(rig) == "12"


@pytest.mark.parametrize("begin", np.arange(0, 1, 0.15))
@pytest.mark.parametrize("before", [silence, voice])
def test_of_a_masked_tone_too_little_is_heard_to_be_a_key(begin: float, before: Callable[[float], Pcm]) -> None:
    rig = masked()
    lead = before(8 + begin)
    heard = hear(rig, lead, dual_tone("5", 1600), voice(8))
    assert found(heard) == ""
    onset = len(lead) + 24
    tone = heard[onset : onset + 1600]
    assert not tone[(160 + 16 if before is silence else 320) :].any()


@pytest.mark.parametrize("begin", np.arange(0, 1, 0.15))
def test_nothing_of_a_masked_tone_is_left_in_the_ring(begin: float) -> None:
    rig = masked()
    lead = voice(8 + begin)
    hear(rig, lead, dual_tone("5", 1600), voice(8), more=2)
    kept = rig.heard(23 + DELAY if begin else 22 + DELAY)
    start = 320 * DELAY + len(lead) + 23
    ring = rig.heard(int(rig.table.position[0]) // 320)
    assert kept.any()
    assert not ring[start : start + 1600].any()
    assert ring[: start - 1000].any()


def test_what_is_said_between_keys_is_heard() -> None:
    rig, plain = masked(), Rig()
    plain.open()
    said = (voice(30), silence(5))
    np.testing.assert_array_equal(hear(rig, *said), hear(plain, *said))


def test_listening_goes_on_40_ms_after_the_key() -> None:
    rig = masked()
    heard = hear(rig, silence(5), dual_tone("5", 1600), voice(20))
    after = heard[320 * 13 :]
    assert after[:320].any()


def test_without_a_mask_tones_are_heard() -> None:
    rig = masked()
    adjust(rig)
    assert found(hear(rig, silence(5), dual_tone("5", 1600))) == "5"


def test_speech_detection_and_other_lanes_hear_no_masked_key() -> None:
    rig = masked()
    rig.open(1)
    rig.watch(0)
    rig.media.apply(SetMix(1, 1, (MixSource(0, 1),)))
    fed: list[Pcm] = []
    rig.vad.heard = lambda audio: fed.append(np.repeat(audio[0], 2))
    hear(rig, silence(5), dual_tone("5", 3200))
    assert found(rig.sent(20, 1)) == ""
    assert found(np.concatenate(fed)) == ""


def test_a_telephone_event_masks_the_tone_that_comes_with_it() -> None:
    rig = masked()
    said = np.concatenate((silence(5), voice(10), silence(10)))  # a tone that no detector knows
    heard = []
    for number, data in enumerate(codes(said)):
        rig.arrive(packet(0, 2 * number, 160 * number, 9, data))
        if 5 <= number < 15:
            event = bytes((5, 10)) + (160 * (number - 4)).to_bytes(2, "big")
            rig.arrive(packet(101, 2 * number + 1, 5 * 160, 9, event))
        rig.tick()
        heard.append(rig.heard(1))
    assert not np.concatenate(heard).any()
    assert digits(rig) == "5"


def test_a_recording_has_nothing_of_a_masked_key(tmp_path: Path) -> None:
    rig, path = Rig(), tmp_path / "call.wav"
    recorder = Recorder(rig.table, threaded=False)
    rig.media = MediaTick(rig.table, rig.vad, recorder, active=True)
    rig.open(inband_digits=True)
    adjust(rig, mask_digits=True)
    rig.media.apply(StartRecording(0, 1, str(path)))
    hear(rig, voice(20.4), dual_tone("7", 1600), voice(20), dual_tone("8", 1600), voice(20))
    recorder.close()
    with wave.open(str(path)) as file:
        left = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2).T[0]
    assert digits(rig) == "78"
    assert found(left) == ""
    for onset in (20.4, 45.4):
        start = round(320 * (onset + DELAY)) + 23
        assert not left[start : start + 1600].any()
    assert left[320 * 30 : 320 * 44].any()


def test_the_original_of_a_denoised_lane_has_nothing_either() -> None:
    rig = masked()
    rig.media.apply(SetDenoise(0, 1, "webrtc"))
    rig.media.apply(StartRecording(0, 1, "a.wav"))
    hear(rig, voice(8.3), dual_tone("5", 1600), voice(8), more=2)
    start = round(320 * (8.3 + DELAY)) + 23
    for ring in (rig.table.original, rig.table.received):
        assert not ring[0, start : start + 1600].any()
    assert rig.table.original[0, : start - 1000].any()


def test_keys_of_external_lanes_are_masked() -> None:
    rig = Rig()
    rig.open_external()
    adjust(rig, mask_digits=True)
    heard = []
    said = np.concatenate((voice(5), dual_tone("5", 3200), voice(5), silence(5)))
    for tick in said.reshape(-1, 320):
        rig.feed(tick.tobytes(), early_ms=18)
        rig.tick()
        heard.append(rig.heard(1))
    assert np.concatenate(heard).any()
    assert found(np.concatenate(heard)) == ""


def test_a_new_lane_of_the_row_is_not_silent_after_the_key_of_the_one_before() -> None:
    rig = Rig()
    rig.open()
    rig.arrive(packet(101, 1, 0, 9, b"\x05\x0a\x01\x40"))
    rig.tick()
    rig.media.apply(CloseLane(0, int(rig.table.generation[0])))
    rig.open_external()
    adjust(rig, mask_digits=True)
    for _ in range(2):
        rig.feed(np.full(320, 3000, np.int16).tobytes(), early_ms=18)
        rig.tick()
    assert rig.heard(1).any()


def test_a_spare_tells_and_masks_too() -> None:
    rig = Rig()
    spare = Rig(rig.table, active=False)
    rig.open(inband_digits=True)
    spare.tell(inband_digits=True)
    for one in (rig, spare):
        adjust(one, mask_digits=True)
    rig.ticks(5)
    spare.media.promote(5, {0: REMOTE})
    heard = hear(spare, silence(3), dual_tone("9", 1600), first=5)
    assert found(heard) == ""
    assert digits(spare) == "9"
