"""A lane as the control plane handles it, without a media process."""

import asyncio

import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
from active_call.lanes.messages import (
    AdjustLane,
    DigitReceived,
    Flushed,
    LaneEvent,
    MarkPlayed,
    PutMark,
    SetAmbience,
    SetDenoise,
    SpeechEnded,
    SpeechStarted,
)
from active_call.lanes.table import PLAYBACK_HIGH_WATER
from active_call.media import lane as lane_module
from active_call.media.lane import Lane
from tests.unit.media.fakes import NotingPlane


def play(lane: Lane, samples: int, value: int = 1) -> None:
    asyncio.run(lane.play(np.full(samples, value, np.int16)))


def test_audio_goes_into_the_ring_up_to_the_high_water_mark() -> None:
    plane = NotingPlane()
    lane = plane.lane()
    play(lane, PLAYBACK_HIGH_WATER + 1000)
    assert plane.table.play_write[1] == PLAYBACK_HIGH_WATER
    assert lane.write_position == PLAYBACK_HIGH_WATER + 1000
    plane.table.play_read[1] = 500
    lane.top_up()
    assert plane.table.play_write[1] == PLAYBACK_HIGH_WATER + 500


def test_a_mark_may_lie_ahead_of_the_ring() -> None:
    plane = NotingPlane()
    lane = plane.lane()
    play(lane, PLAYBACK_HIGH_WATER + 1000)
    mark = lane.mark(lane.write_position)
    assert plane.sent == [PutMark(1, 7, mark, PLAYBACK_HIGH_WATER + 1000)]


def test_a_flush_is_one_store_and_forgets_what_waits() -> None:
    plane = NotingPlane()
    lane = plane.lane()
    play(lane, PLAYBACK_HIGH_WATER + 1000)
    assert lane.flush(fade_ms=10)
    assert plane.table.play_flush[1] == PLAYBACK_HIGH_WATER
    assert plane.table.flush_fade[1] == 160
    assert lane.write_position == PLAYBACK_HIGH_WATER


def test_flushing_nothing_says_so() -> None:
    assert not NotingPlane().lane().flush()


def test_a_mark_is_told_once_and_not_after_it_was_flushed_away() -> None:
    lane = NotingPlane().lane()
    told: list[LaneEvent] = []
    lane.listener = told.append
    first, second = lane.mark(320), lane.mark(960)
    lane.receive(MarkPlayed(1, 7, 5, first, 320))
    lane.receive(MarkPlayed(1, 7, 5, first, 320))
    lane.receive(Flushed(1, 7, 6, 640, 2000))
    lane.receive(MarkPlayed(1, 7, 7, second, 960))
    assert [type(event) for event in told] == [MarkPlayed, Flushed]


def test_repeated_speech_and_digits_are_told_once() -> None:
    lane = NotingPlane().lane()
    told: list[LaneEvent] = []
    lane.listener = told.append
    for event in (
        SpeechStarted(1, 7, 5, 100, 0.9),
        SpeechStarted(1, 7, 5, 100, 0.9),
        SpeechEnded(1, 7, 9, 100, 900),
        SpeechEnded(1, 7, 9, 100, 900),
        DigitReceived(1, 7, 9, "5", 950),
        DigitReceived(1, 7, 9, "5", 950),
        DigitReceived(1, 7, 19, "5", 1950),
    ):
        lane.receive(event)
    assert len(told) == 4


def test_two_keys_that_arrive_at_once_after_a_stall_are_both_told() -> None:
    lane = NotingPlane().lane()
    told: list[LaneEvent] = []
    lane.listener = told.append
    lane.receive(DigitReceived(1, 7, 9, "5", 950))
    lane.receive(DigitReceived(1, 7, 9, "6", 950))
    assert len(told) == 2


def test_received_audio_is_handed_over_once_and_in_order() -> None:
    plane = NotingPlane()
    lane = plane.lane()
    got: list[tuple[int, int]] = []
    lane.listen(lambda pcm, position: got.append((position, len(pcm))))
    for position in (320, 960):
        plane.table.position[1] = position
        lane.drain()
    lane.drain()
    assert got == [(0, 320), (320, 640)]


def test_positions_become_wall_times() -> None:
    plane = NotingPlane()
    lane = plane.lane()
    plane.table.opened_tick[1] = 50
    assert lane.wall_ms(16_000) == 1_000_000_000_000 + 1000 + 1000


def test_a_flush_is_new_only_once() -> None:
    plane = NotingPlane()
    lane = plane.lane()
    play(lane, 1000)
    assert lane.flush()
    assert not lane.flush()
    play(lane, 10)
    assert lane.flush()


def test_marks_in_audio_that_never_reached_the_ring_are_forgotten() -> None:
    lane = NotingPlane().lane()
    told: list[LaneEvent] = []
    lane.listener = told.append
    play(lane, PLAYBACK_HIGH_WATER + 1000)
    mark = lane.mark(lane.write_position)
    lane.flush()
    lane.receive(MarkPlayed(1, 7, 90, mark, PLAYBACK_HIGH_WATER + 1000))
    assert told == []


def test_a_fresh_lane_knows_nothing_of_the_one_that_had_its_row() -> None:
    plane = NotingPlane()
    lane = plane.lane()
    table = plane.table
    table.set("tick", 5000)
    table.opened_tick[1], table.position[1], table.rx_tick[1] = -1, 640_000, 100
    got: list[int] = []
    lane.listen(lambda pcm, position: got.append(position))
    assert (lane.position, lane.silent_ticks) == (0, 0)
    table.opened_tick[1], table.position[1], table.rx_tick[1] = 5001, 320, -1
    lane.drain()
    assert got == [0]


def test_noise_reduction_and_background_are_told_to_a_new_process_too() -> None:
    plane = NotingPlane()
    lane = plane.lane()
    lane.denoise("webrtc")
    lane.ambience("rain.pcm", duck=0.1, normal=0.4, step=0.02)
    expected = [SetDenoise(1, 7, "webrtc"), SetAmbience(1, 7, "rain.pcm", 0.1, 0.4, 0.02)]
    assert plane.sent == expected
    assert [message for message in lane.replay() if message in expected] == expected
    lane.close()
    lane.denoise(None)
    lane.ambience(None, duck=0.1, normal=0.4, step=0.02)
    assert plane.told(SetDenoise) + plane.told(SetAmbience) == expected


def test_rnnoise_that_is_not_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = NotingPlane()
    lane = plane.lane()
    lane.denoise("webrtc")
    monkeypatch.setattr(lane_module, "find_spec", lambda name: None)
    with pytest.raises(MediaError, match="pip install"):
        lane.denoise("rnnoise")
    assert plane.told(SetDenoise) == [SetDenoise(1, 7, "webrtc")]


def test_what_is_muted_paused_or_louder_is_told_whole_and_only_when_it_changes() -> None:
    plane = NotingPlane()
    lane = plane.lane()
    lane.mute(received=True)
    lane.mute(sent=True)
    lane.mute()
    lane.pause()
    lane.set_volume(7)
    lane.mute(received=False)
    lane.resume()
    lane.resume()
    assert plane.told(AdjustLane) == [
        AdjustLane(1, 7, True),
        AdjustLane(1, 7, True, True),
        AdjustLane(1, 7, True, True, True),
        AdjustLane(1, 7, True, True, True, 2.0),
        AdjustLane(1, 7, False, True, True, 2.0),
        AdjustLane(1, 7, False, True, False, 2.0),
    ]
    assert plane.told(AdjustLane)[-1] in lane.replay()


def test_a_closed_lane_changes_nothing_any_more() -> None:
    plane = NotingPlane()
    lane = plane.external_lane()
    lane.close()
    lane.pause()
    lane.feed(bytes(640))
    assert plane.told(AdjustLane) == []
    assert plane.table.external_write[1] == 0


def test_external_audio_goes_to_the_ring_and_comes_to_the_consumer() -> None:
    plane, got = NotingPlane(), list[bytes]()
    lane = plane.external_lane("pcmu", 8000)
    lane.on_audio = got.append
    lane.feed(b"abc")
    lane.feed(b"de")
    assert plane.table.external_in[1, :5].tobytes() == b"abcde"
    plane.table.external_out[1, :320] = 5
    plane.table.external_sent[1] = 2
    lane.attend()
    lane.attend()
    assert got == [b"\x05" * 160] * 2
    assert (lane.port, lane.ssrc) == (0, 0)


def test_only_external_lanes_can_be_fed() -> None:
    with pytest.raises(MediaError, match="RTP"):
        NotingPlane().lane().feed(b"x")


def test_external_statistics_count_what_was_dropped_and_missed() -> None:
    plane = NotingPlane()
    lane = plane.external_lane()
    plane.table.external_dropped[1], plane.table.external_sent[1] = 3, 30
    lane.attend()
    statistics = lane.snapshot()
    assert (statistics.dropped, statistics.missed) == (3, 6)


def test_both_tracks_are_tapped_in_order_and_from_when_they_are_there() -> None:
    plane = NotingPlane()
    lane, table = plane.lane(), plane.table
    got: list[tuple[int, int, int]] = []

    def note(track: int, pcm: Pcm, position: int) -> None:
        got.append((track, int(pcm[0]), position))
        assert len(pcm) == 320

    table.position[1] = 640
    table.received[1], table.sent[1] = 1, 2
    lane.tap(note)
    assert plane.attended == {lane}
    assert plane.told(AdjustLane) == [AdjustLane(1, 7, tapped=True)]
    table.sent_from[1], table.position[1] = 960, 1280
    lane.attend()
    lane.attend()
    assert got == [(0, 1, 640), (0, 1, 960), (1, 2, 960)]
    lane.tap(None)
    table.position[1] = 1600
    lane.attend()
    assert len(got) == 3
    assert plane.attended == set()


def test_a_lane_can_be_tapped_more_than_once() -> None:
    plane = NotingPlane()
    lane, first, second = plane.lane(), list[int](), list[int]()
    lane.tap(lambda track, pcm, position: first.append(position))
    plane.table.position[1] = 320
    lane.attend()
    lane.tap(lambda track, pcm, position: second.append(position))
    plane.table.position[1] = 640
    lane.attend()
    assert (first, second) == ([0, 320], [320])


def test_a_tap_that_was_not_attended_for_long_goes_on_with_what_the_rings_still_have() -> None:
    plane, got = NotingPlane(), list[int]()
    lane, table = plane.lane(), plane.table
    lane.tap(lambda track, pcm, position: got.append(position))
    table.position[1] = 10 * 32_768
    lane.attend()
    assert got == list(range(got[0], 10 * 32_768, 320))
    assert 10 * 32_768 - got[0] == 101 * 320


def test_statistics_tell_what_reports_and_encryption_say() -> None:
    plane = NotingPlane()
    lane = plane.lane()
    row = lane.ref.row
    plane.table.srtp_rejected[row], plane.table.remote_lost[row] = 3, 4
    plane.table.remote_jitter_ms[row] = 1.234
    statistics = lane.snapshot()
    assert (statistics.srtp_rejected, statistics.remote_lost, statistics.remote_jitter_ms) == (3, 4, 1.23)
