import numpy as np
import pytest

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.dsp.ambience import Ambience

ROW = 3
SOUND: Pcm = (np.arange(1000) * 10 - 5000).astype(np.int16)
"""Three ticks and a bit, so that a tick wraps."""


@pytest.fixture
def ambience() -> Ambience:
    return Ambience(8)


class Player:
    """Ticks of one lane."""

    def __init__(self, ambience: Ambience, row: int = ROW) -> None:
        self.ambience, self.row, self.position = ambience, row, 0

    def tick(self, agent: int | None = None) -> Pcm:
        """What the lane plays: the sound, and a constant of the agent if given."""
        out = np.full((1, TICK_SAMPLES), agent or 0, np.int16)
        rows, playing = np.array([self.row]), np.array([agent is not None])
        self.ambience.mix(rows, np.array([self.position]), playing, out)
        self.ambience.advance(rows)
        self.position += TICK_SAMPLES
        played: Pcm = out[0]
        return played


def looped(position: int, count: int = TICK_SAMPLES) -> Pcm:
    samples: Pcm = SOUND.take(np.arange(position, position + count), mode="wrap")
    return samples


def test_sound_is_looped_at_its_level(ambience: Ambience) -> None:
    ambience.start(ROW, SOUND, duck=0.1, normal=0.5, step=0.01)
    player = Player(ambience)
    played = np.concatenate([player.tick() for _ in range(10)])
    np.testing.assert_array_equal(played, np.rint(looped(0, 3200) * 0.5))


def test_level_goes_down_by_a_step_per_tick_while_the_agent_speaks_and_up_again(ambience: Ambience) -> None:
    flat = np.full(TICK_SAMPLES, 10_000, np.int16)
    ambience.start(ROW, flat, duck=0.1, normal=0.3, step=0.05)
    player = Player(ambience)
    assert player.tick()[-1] == 3_000
    ends = [int(player.tick(agent=100)[-1]) for _ in range(6)]
    assert ends == [2_600, 2_100, 1_600, 1_100, 1_100, 1_100]
    ends = [int(player.tick()[-1]) for _ in range(6)]
    assert ends == [1_500, 2_000, 2_500, 3_000, 3_000, 3_000]


def test_level_moves_without_jumps(ambience: Ambience) -> None:
    ambience.start(ROW, np.full(TICK_SAMPLES, 10_000, np.int16), duck=0.1, normal=0.3, step=0.05)
    player = Player(ambience)
    played = np.concatenate([player.tick(), player.tick(agent=0), player.tick(agent=0)])
    assert np.abs(np.diff(played.astype(int))).max() <= 3


def test_level_is_kept_until_the_tick_is_final(ambience: Ambience) -> None:
    ambience.start(ROW, SOUND, duck=0.0, normal=1.0, step=0.5)
    rows, position = np.array([ROW]), np.array([0])
    first = np.zeros((1, TICK_SAMPLES), np.int16)
    ambience.mix(rows, position, np.array([True]), first)
    again = np.zeros((1, TICK_SAMPLES), np.int16)
    ambience.mix(rows, position, np.array([False]), again)
    np.testing.assert_array_equal(again[0], SOUND[:TICK_SAMPLES])
    assert not np.array_equal(first, again)


def test_sum_saturates(ambience: Ambience) -> None:
    ambience.start(ROW, np.full(TICK_SAMPLES, 30_000, np.int16), duck=1.0, normal=1.0, step=1.0)
    assert (Player(ambience).tick(agent=30_000) == 32_767).all()
    ambience.start(ROW, np.full(TICK_SAMPLES, -30_000, np.int16), duck=1.0, normal=1.0, step=1.0)
    assert (Player(ambience).tick(agent=-30_000) == -32_768).all()


def test_lanes_are_apart_and_others_are_left_alone(ambience: Ambience) -> None:
    other = np.full(5000, 700, np.int16)
    ambience.start(1, SOUND, duck=1, normal=1, step=1)
    ambience.start(2, other, duck=1, normal=1, step=1)
    ambience.start(5, SOUND, duck=1, normal=1, step=1)
    assert ambience.rows.tolist() == [1, 2, 5]
    rows = np.array([0, 1, 2, 5])
    out = np.full((4, TICK_SAMPLES), 11, np.int16)
    ambience.mix(rows, np.array([0, 320, 0, 900]), np.zeros(4, np.bool_), out)
    assert (out[0] == 11).all()
    np.testing.assert_array_equal(out[1], looped(320) + 11)
    assert (out[2] == 711).all()
    np.testing.assert_array_equal(out[3], looped(900) + 11)


def test_stopped_lane_is_silent_and_the_sound_goes_on_elsewhere(ambience: Ambience) -> None:
    for row in (1, 2):
        ambience.start(row, SOUND, duck=1, normal=1, step=1)
    ambience.stop(1)
    assert not Player(ambience, 1).tick().any()
    assert Player(ambience, 2).tick().any()
    ambience.stop(2)
    assert ambience.rows.tolist() == []
    ambience.stop(2)
    assert not Player(ambience, 2).tick().any()


def test_another_sound_goes_on_at_the_level_reached(ambience: Ambience) -> None:
    flat = np.full(TICK_SAMPLES, 10_000, np.int16)
    ambience.start(ROW, flat, duck=0.1, normal=0.3, step=0.01)
    ambience.start(ROW, flat.copy(), duck=0.1, normal=0.5, step=0.1)
    assert Player(ambience).tick()[-1] == 4_000


def test_sound_shorter_than_a_tick_is_refused(ambience: Ambience) -> None:
    with pytest.raises(ValueError, match="319 samples are too short"):
        ambience.start(ROW, np.zeros(319, np.int16), duck=0.1, normal=0.3, step=0.01)


def test_read_only_sound_will_do(ambience: Ambience) -> None:
    sound = SOUND.copy()
    sound.flags.writeable = False
    ambience.start(ROW, sound, duck=1, normal=1, step=1)
    np.testing.assert_array_equal(Player(ambience).tick(), SOUND[:TICK_SAMPLES])
