import threading
from pathlib import Path

import numpy as np
import pytest

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.lanes.messages import CloseLane, SetAmbience
from active_call.lanes.table import Table
from active_call.plane import sounds
from active_call.plane.background import Background
from tests.unit.plane.rig import REMOTE, Rig

ROW = 2


@pytest.fixture
def table() -> Table:
    return Table.create(8, epoch_ns=0, wall_ns=0)


@pytest.fixture
def background(table: Table) -> Background:
    return Background(table, threaded=False)


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "rain.pcm"
    file.write_bytes(np.arange(1000, dtype="<i2").tobytes())
    return str(file)


def mix(background: Background, agent: int = 0) -> tuple[bool, Pcm]:
    """Whether the lane hears anything, and what."""
    out = np.full((1, TICK_SAMPLES), agent, np.int16)
    rows = np.array([ROW])
    heard = background.mix(rows, np.array([agent != 0]), out)
    background.advance(rows)
    return bool(heard[0]), out[0]


def test_sound_begins_where_the_lane_is_in_its_loop(background: Background, table: Table, path: str) -> None:
    table.position[ROW] = 640
    background.configure(SetAmbience(ROW, 1, path, normal=1.0))
    heard, samples = mix(background)
    assert heard
    assert samples.tolist() == list(range(640, 960))


def test_lane_that_has_none_is_left_alone(background: Background) -> None:
    heard, samples = mix(background)
    assert not heard
    assert not samples.any()
    heard, samples = mix(background, agent=5)
    assert heard
    assert (samples == 5).all()


def test_levels_of_the_message_count(background: Background, path: str) -> None:
    background.configure(SetAmbience(ROW, 1, path, duck=0.0, normal=1.0, step=1.0))
    mix(background)
    mix(background, agent=9)
    _, samples = mix(background, agent=9)
    assert (samples == 9).all()


def test_no_path_ends_it(background: Background, path: str) -> None:
    background.configure(SetAmbience(ROW, 1, path))
    assert mix(background)[0]
    background.configure(SetAmbience(ROW, 1, None))
    assert not mix(background)[0]


@pytest.mark.parametrize("played", [True, False])
def test_closed_lane_leaves_none_behind(background: Background, path: str, played: bool) -> None:
    background.configure(SetAmbience(ROW, 1, path))
    if played:
        mix(background)
    background.remove(ROW)
    assert not mix(background)[0]


def test_file_that_is_missing_is_done_without(
    background: Background, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    background.configure(SetAmbience(ROW, 1, path))
    background.configure(SetAmbience(ROW, 1, path + ".gone"))
    assert not mix(background)[0]
    assert "rain.pcm.gone" in caplog.text
    caplog.clear()
    mix(background)
    assert caplog.text == ""


# In the tick.


def rig_with_sound(path: str, **levels: float) -> Rig:
    """A lane that has a background sound, and another one that has none."""
    rig = Rig()
    rig.media.transmission.background = Background(rig.table, threaded=False)
    for row in (0, 1):
        rig.open(row)
    rig.media.apply(SetAmbience(0, int(rig.table.generation[0]), path, **levels))
    return rig


def playing(rig: Rig, row: int = 0) -> Pcm:
    samples: Pcm = rig.media.transmission.playing[row].copy()
    return samples


@pytest.fixture
def hum(tmp_path: Path) -> str:
    """A second of a tone."""
    file = tmp_path / "hum.pcm"
    file.write_bytes((8000 * np.sin(np.arange(16_000) * np.pi / 20)).astype("<i2").tobytes())
    return str(file)


def test_peer_hears_it_from_the_first_tick_and_all_the_time(hum: str) -> None:
    rig = rig_with_sound(hum)
    sent = rig.ticks(5)
    assert all(len(set(packets[0][12:])) > 10 for packets in sent)
    assert all(set(packets[1][12:]) == {0xFF} for packets in sent)


def test_barge_in_of_the_last_moment_leaves_the_sound(hum: str) -> None:
    rig = rig_with_sound(hum, duck=0.3, normal=0.3)
    rig.tick()
    rig.play(np.full(3200, 5000, np.int16))
    rig.tick()
    rig.prepare()
    rig.flush(fade=0)
    rig.finish()
    quiet = rig_with_sound(hum, duck=0.3, normal=0.3)
    quiet.ticks(3)
    np.testing.assert_array_equal(playing(rig), playing(quiet))


def test_it_is_quieter_while_the_agent_speaks(hum: str) -> None:
    rig = rig_with_sound(hum, duck=0.0, normal=1.0, step=1.0)
    rig.tick()
    rig.play(np.ones(960, np.int16))
    rig.ticks(2)
    assert (playing(rig) == 1).all()
    rig.ticks(3)
    assert np.abs(playing(rig)).max() > 7000


def test_who_takes_over_goes_on_in_the_loop(hum: str) -> None:
    rig = rig_with_sound(hum)
    rig.ticks(7)
    spare = Rig(rig.table, active=False)
    spare.media.transmission.background = Background(rig.table, threaded=False)
    spare.tell(0)
    spare.media.apply(SetAmbience(0, int(rig.table.generation[0]), hum))
    spare.media.promote(7, {0: REMOTE})
    spare.tick()
    rig.tick()
    np.testing.assert_array_equal(playing(spare), playing(rig))


def test_closed_lane_takes_its_sound_with_it(hum: str) -> None:
    rig = rig_with_sound(hum)
    rig.ticks(3)
    rig.media.apply(CloseLane(0, int(rig.table.generation[0])))
    rig.open(0)
    rig.ticks(3)
    assert not playing(rig).any()


def test_a_sound_that_nobody_waits_for_any_more_is_not_kept(
    table: Table, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(sounds, "_read", lambda path: go_on.wait(5))
    background = Background(table)
    background.configure(SetAmbience(ROW, 1, path, 0.1, 0.5, 0.1))
    mix(background)
    background.remove(ROW)
    go_on.set()
    assert not background._sounds._loading
