"""A lane as the control plane handles it, without a media process."""

import asyncio

import numpy as np

from active_call.lanes.messages import (
    DigitReceived,
    Flushed,
    LaneEvent,
    MarkPlayed,
    PutMark,
    SpeechEnded,
    SpeechStarted,
)
from active_call.lanes.table import PLAYBACK_HIGH_WATER
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
