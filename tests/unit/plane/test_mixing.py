import wave
from pathlib import Path

import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.lanes.messages import (
    AdjustLane,
    CloseLane,
    MixSource,
    SetAmbience,
    SetDenoise,
    SetMix,
    StartRecording,
)
from active_call.plane.background import Background
from active_call.plane.tick import MediaTick
from active_call.plane.writer import Recorder
from tests.unit.plane.rig import REMOTE, Rig, speech, tone

A, B, C = 0, 1, 2


def mix(rig: Rig, target: int, *sources: int, gain: float = 1.0) -> None:
    generation = rig.table.generation
    rig.media.apply(
        SetMix(
            target,
            int(generation[target]),
            tuple(MixSource(row, int(generation[row]), gain) for row in sources),
        )
    )


def adjust(rig: Rig, row: int, **settings: float) -> None:
    rig.media.apply(AdjustLane(row, int(rig.table.generation[row]), tapped=True, **settings))  # type: ignore[arg-type]


def talk(rig: Rig, *rows: int, ticks: int, first: int = 0) -> None:
    """Run ticks in which the peers of these lanes say something different each."""
    for number in range(first, first + ticks):
        for row in rows:
            rig.say(number, speech(number + 31 * row), row)
        rig.tick()


def saturated(*parts: Pcm) -> Pcm:
    samples: Pcm = np.clip(sum(part.astype(np.int64) for part in parts), -32_768, 32_767).astype(np.int16)
    return samples


def bridge(rig: Rig) -> None:
    rig.open(A)
    rig.open(B)
    mix(rig, A, B)
    mix(rig, B, A)


def test_bridged_peers_hear_each_other_in_the_same_tick() -> None:
    rig = Rig()
    bridge(rig)
    talk(rig, A, B, ticks=20)
    assert rig.heard(10, A).any()
    np.testing.assert_array_equal(rig.sent(15, A), rig.heard(15, B))
    np.testing.assert_array_equal(rig.sent(15, B), rig.heard(15, A))


def test_what_is_heard_is_also_sent() -> None:
    rig = Rig()
    bridge(rig)
    talk(rig, A, ticks=10)
    rig.say(10, speech(10), A)
    packets = rig.tick()
    assert len(set(packets[B][12:])) > 10
    assert set(packets[A][12:]) == {0xFF}


def test_everybody_in_a_conference_hears_all_others() -> None:
    rig, rows = Rig(), range(6)
    for row in rows:
        rig.open(row)
    for row in rows:
        mix(rig, row, *(other for other in rows if other != row))
    talk(rig, *rows, ticks=20)
    for row in rows:
        others = saturated(*(rig.heard(10, other) for other in rows if other != row))
        np.testing.assert_array_equal(rig.sent(10, row), others)


def test_playback_and_others_add_up() -> None:
    rig = Rig()
    bridge(rig)
    talk(rig, B, ticks=5)
    rig.play(tone(10), A)
    talk(rig, B, ticks=10, first=5)
    np.testing.assert_array_equal(rig.sent(10, A), saturated(tone(10), rig.heard(10, B)))


def test_a_source_comes_and_goes_within_ten_milliseconds() -> None:
    rig = Rig()
    rig.open(A)
    rig.open(B)
    talk(rig, B, ticks=10)
    mix(rig, A, B)
    talk(rig, B, ticks=3, first=10)
    ramp = np.minimum(np.arange(1, 321) / 160, 1.0)
    sent, heard = rig.sent(3, A), rig.heard(3, B)
    np.testing.assert_allclose(sent[:320], heard[:320] * ramp, atol=0.51)
    np.testing.assert_array_equal(sent[320:], heard[320:])
    mix(rig, A)
    talk(rig, B, ticks=2, first=13)
    sent, heard = rig.sent(2, A), rig.heard(2, B)
    np.testing.assert_allclose(sent[:320], heard[:320] * (1 - ramp), atol=0.51)
    assert not sent[320:].any()


def test_one_that_stays_is_not_faded_when_another_comes() -> None:
    rig = Rig()
    for row in (A, B, C):
        rig.open(row)
    mix(rig, A, B)
    talk(rig, B, ticks=10)
    mix(rig, A, B, C)
    talk(rig, B, ticks=3, first=10)
    np.testing.assert_array_equal(rig.sent(3, A), rig.heard(3, B))


def test_a_source_can_be_louder_or_quieter() -> None:
    rig = Rig()
    rig.open(A)
    rig.open(B)
    mix(rig, A, B, gain=0.5)
    talk(rig, B, ticks=10)
    np.testing.assert_allclose(rig.sent(5, A), rig.heard(5, B) * 0.5, atol=0.51)


def test_a_closed_source_fades_and_is_silent_even_when_its_row_is_used_again() -> None:
    rig = Rig()
    bridge(rig)
    talk(rig, B, ticks=10)
    last = rig.heard(1, B)[-1]
    rig.media.apply(CloseLane(B, 1))
    rig.tick()
    end = rig.sent(1, A)
    assert last
    np.testing.assert_allclose(end[:160], last * (1 - np.arange(1, 161) / 160), atol=0.51)
    assert not end[160:].any()
    rig.open(B)
    talk(rig, B, ticks=10)
    assert rig.heard(5, B).any()
    assert not rig.sent(10, A).any()


def test_the_next_lane_of_a_row_hears_nobody() -> None:
    rig = Rig()
    bridge(rig)
    talk(rig, B, ticks=10)
    rig.media.apply(CloseLane(A, 1))
    rig.open(A)
    talk(rig, B, ticks=5, first=10)
    assert not rig.sent(5, A).any()


def test_what_a_muted_peer_says_is_heard_by_nobody() -> None:
    rig = Rig()
    bridge(rig)
    talk(rig, A, ticks=5)
    adjust(rig, A, mute_received=True)
    talk(rig, A, ticks=5, first=5)
    assert not rig.sent(5, B).any()
    adjust(rig, A)
    talk(rig, A, ticks=5, first=10)
    assert rig.sent(5, B).any()


def test_volume_counts_for_others_too() -> None:
    rig = Rig()
    bridge(rig)
    adjust(rig, B, gain=0.5)
    talk(rig, A, ticks=10)
    np.testing.assert_allclose(rig.sent(5, B), rig.heard(5, A) * 0.5, atol=0.51)
    adjust(rig, B, mute_sent=True)
    talk(rig, A, ticks=2, first=10)
    assert not rig.sent(2, B).any()


def test_a_paused_lane_still_hears_others() -> None:
    rig = Rig()
    bridge(rig)
    rig.play(tone(20), B)
    adjust(rig, B, paused=True)
    talk(rig, A, ticks=10)
    np.testing.assert_array_equal(rig.sent(5, B), rig.heard(5, A))


def test_barge_in_of_the_last_moment_leaves_the_others() -> None:
    rig = Rig()
    bridge(rig)
    rig.play(tone(30), B)
    talk(rig, A, ticks=10)
    rig.say(10, speech(10), A)
    rig.prepare()
    rig.flush(fade=0, row=B)
    packets = rig.finish()
    np.testing.assert_array_equal(rig.sent(1, B), rig.heard(1, A))
    assert len(set(packets[B][12:])) > 10


def test_ambience_is_under_the_others(tmp_path: Path) -> None:
    file = tmp_path / "hum.pcm"
    file.write_bytes(np.full(1000, 100, "<i2").tobytes())
    rig = Rig()
    rig.media.transmission.background = Background(rig.table, threaded=False)
    bridge(rig)
    rig.media.apply(SetAmbience(B, 1, str(file), normal=1.0))
    talk(rig, A, ticks=10)
    np.testing.assert_array_equal(rig.sent(5, B), saturated(rig.heard(5, A), np.full(1600, 100, np.int16)))


def test_others_hear_what_was_said_with_its_noise() -> None:
    rig = Rig()
    bridge(rig)
    talk(rig, A, ticks=10)
    rig.media.apply(SetDenoise(A, 1, "webrtc"))
    talk(rig, A, ticks=10, first=10)
    rig.media.apply(SetDenoise(A, 1, None))
    plain = Rig()
    bridge(plain)
    talk(plain, A, ticks=20)
    np.testing.assert_array_equal(rig.sent(20, B), plain.sent(20, B))


@pytest.mark.parametrize("order", [(A, B), (B, A)])
def test_external_lanes_mix_both_ways(order: tuple[int, int]) -> None:
    telephone, browser = order
    rig = Rig()
    rig.open(telephone)
    rig.open_external(browser)
    mix(rig, telephone, browser)
    mix(rig, browser, telephone)
    said = (np.arange(25 * 320) % 997 * 20).astype(np.int16)
    for number in range(20):
        rig.say(number, speech(number), telephone)
        rig.feed(said[number * 320 : (number + 1) * 320].tobytes(), browser, early_ms=18)
        rig.tick()
    np.testing.assert_array_equal(rig.sent(10, browser), rig.heard(10, telephone))
    assert rig.delivered(browser) == rig.heard(1, telephone).tobytes()
    assert rig.heard(10, browser).any()
    np.testing.assert_array_equal(rig.sent(10, telephone), rig.heard(11, browser)[:-320])  # a tick later


def test_external_lanes_hear_each_other() -> None:
    rig = Rig()
    for row in (A, B):
        rig.open_external(row)
    mix(rig, A, B)
    mix(rig, B, A)
    rng = np.random.default_rng(1)
    for _ in range(10):
        for row in (A, B):
            rig.feed(rng.integers(-9000, 9000, 320).astype(np.int16).tobytes(), row, early_ms=18)
        rig.tick()
    np.testing.assert_array_equal(rig.sent(5, A), rig.heard(6, B)[:-320])
    np.testing.assert_array_equal(rig.sent(5, B), rig.heard(6, A)[:-320])


def test_a_spare_goes_on_with_the_bridge() -> None:
    rig = Rig()
    spare = Rig(rig.table, active=False)
    bridge(rig)
    for row in (A, B):
        spare.tell(row)
    for _ in range(1000):  # what a call that is bridged again and again tells a spare
        mix(spare, A)
        mix(spare, A, B)
    mix(spare, B, A)
    talk(rig, A, B, ticks=10)
    spare.media.promote(10, {A: REMOTE, B: REMOTE})
    talk(spare, A, B, ticks=10, first=10)
    assert spare.heard(5, A).any()
    np.testing.assert_array_equal(spare.sent(5, A), spare.heard(5, B))
    np.testing.assert_array_equal(spare.sent(5, B), spare.heard(5, A))


def test_messages_of_other_generations_mix_nothing() -> None:
    rig = Rig()
    rig.open(A)
    rig.open(B)
    rig.media.apply(SetMix(A, 1, (MixSource(B, 7),)))
    rig.media.apply(SetMix(B, 7, (MixSource(A, 1),)))
    talk(rig, A, B, ticks=5)
    assert not rig.sent(5, A).any()
    assert not rig.sent(5, B).any()


def test_t22_a_recording_has_all_parties(tmp_path: Path) -> None:
    rig, path = Rig(), tmp_path / "call.wav"
    recorder = Recorder(rig.table, threaded=False)
    rig.media = MediaTick(rig.table, rig.vad, recorder, active=True)
    for row in (A, B, C):
        rig.open(row)
    mix(rig, A, B, C)
    rig.media.apply(StartRecording(A, 1, str(path)))
    rig.play(tone(10), A)
    talk(rig, A, B, C, ticks=30)
    caller, heard = rig.heard(30, A), rig.sent(30, A)
    recorder.close()
    with wave.open(str(path)) as file:
        left, right = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2).T
    np.testing.assert_array_equal(left, caller)
    np.testing.assert_array_equal(right, heard)
    played = np.append(tone(10), np.zeros(20 * 320, np.int16))
    everything = saturated(rig.heard(30, B), rig.heard(30, C), played)
    np.testing.assert_array_equal(right[320:], everything[320:])
