import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.lanes.messages import RecordingClosed
from active_call.lanes.ring import ring_write
from active_call.lanes.table import Table
from active_call.plane.writer import Recorder

SECOND = 50  # ticks
ROW = 3


def heard(position: int, samples: int) -> tuple[Pcm, Pcm]:
    """Audio that tells its position, different in each direction."""
    positions = np.arange(position, position + samples)
    return (positions % 9973 + 1).astype(np.int16), (-(positions % 7919) - 1).astype(np.int16)


class Plane:
    """Writes rings like the tick and calls the recorder."""

    def __init__(self, *, threaded: bool = False) -> None:
        self.table = Table.create(8, epoch_ns=0, wall_ns=0)
        self.recorder = Recorder(self.table, threaded=threaded)
        self.tick = 0
        self.told: list[RecordingClosed] = []

    @property
    def position(self) -> int:
        return int(self.table.position[ROW])

    def run(self, ticks: int, *, working: bool = True) -> None:
        for _ in range(ticks):
            left, right = heard(self.position, TICK_SAMPLES)
            ring_write(self.table.received[ROW], self.position, left)
            ring_write(self.table.sent[ROW], self.position, right)
            self.table.position[ROW] += TICK_SAMPLES
            self.tick += 1
            self.table.set("tick", self.tick)
            if working:
                self.recorder.advance(self.tick)
            self.told += self.recorder.collect(self.tick)

    def start(
        self, path: Path, *, rate_hz: int = 16_000, flush_ms: int = 200, position: int | None = None
    ) -> None:
        self.recorder.start(
            ROW, 1, str(path), rate_hz, flush_ms, self.position if position is None else position
        )

    def stop(self) -> RecordingClosed:
        self.recorder.stop(ROW, self.position)
        self.told += self.recorder.collect(self.tick)
        [closed] = self.told
        return closed


@pytest.fixture
def plane() -> Iterator[Plane]:
    plane = Plane()
    yield plane
    plane.recorder.close()
    plane.table.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recorders" / "call.wav"


def read(path: Path) -> Pcm:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2).T


@pytest.mark.parametrize("flush_ms", [0, 200, 1000, 60_000])
@pytest.mark.parametrize("ticks", [1, 14, 7 * SECOND + 3])
def test_file_is_what_was_heard_to_the_sample(plane: Plane, path: Path, flush_ms: int, ticks: int) -> None:
    plane.run(130)
    start = plane.position
    plane.start(path, flush_ms=flush_ms)
    plane.run(ticks)
    closed = plane.stop()
    assert closed == RecordingClosed(ROW, 1, plane.tick, str(path), ticks * TICK_SAMPLES)
    np.testing.assert_array_equal(read(path), heard(start, ticks * TICK_SAMPLES))


def test_file_grows_and_stays_valid_300_ms_behind(plane: Plane, path: Path) -> None:
    plane.start(path)
    plane.run(2 * SECOND)
    written = read(path)
    assert 1.3 * 16_000 <= written.shape[1] <= 1.7 * 16_000
    np.testing.assert_array_equal(written, heard(0, written.shape[1]))


def test_table_tells_where_the_recording_began(plane: Plane, path: Path) -> None:
    plane.run(10)
    plane.start(path)
    assert plane.table.record_from[ROW] == 3200
    plane.stop()
    assert plane.table.record_from[ROW] == -1


@pytest.mark.parametrize("rate_hz", [8000, 44_100, 48_000])
def test_other_rates_have_the_same_duration(plane: Plane, path: Path, rate_hz: int) -> None:
    plane.start(path, rate_hz=rate_hz)
    plane.run(3 * SECOND)
    assert plane.stop().samples == 3 * rate_hz
    assert read(path).shape == (2, 3 * rate_hz)


@pytest.mark.parametrize("rate_hz", [8000, 16_000])
def test_takeover_goes_on_with_the_file(plane: Plane, path: Path, rate_hz: int) -> None:
    plane.start(path, rate_hz=rate_hz)
    plane.run(5 * SECOND)
    plane.recorder = Recorder(plane.table, threaded=False)  # the first one was killed
    plane.start(path, rate_hz=rate_hz, position=0)
    plane.run(SECOND)
    assert plane.stop().samples == 6 * rate_hz
    if rate_hz == 16_000:
        np.testing.assert_array_equal(read(path), heard(0, 6 * 16_000))


def test_what_left_the_rings_during_a_takeover_is_silent(plane: Plane, path: Path) -> None:
    plane.start(path)
    plane.run(SECOND)
    kept = read(path).shape[1]
    plane.run(5 * SECOND, working=False)
    plane.recorder = Recorder(plane.table, threaded=False)
    plane.start(path, position=0)
    assert plane.stop().samples == 6 * 16_000
    audio, expected = read(path), heard(0, 6 * 16_000)
    np.testing.assert_array_equal(audio[:, :kept], [channel[:kept] for channel in expected])
    assert not audio[:, kept : 4 * 16_000 - 1000].any()
    np.testing.assert_array_equal(audio[:, -32_000:], [channel[-32_000:] for channel in expected])


def test_what_was_not_fetched_in_time_is_silent_and_logged_once(
    plane: Plane, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plane.start(path)
    for _ in range(2):
        plane.run(3 * SECOND, working=False)
        plane.run(SECOND)
    assert plane.stop().samples == 8 * 16_000
    audio, expected = read(path), np.stack(heard(0, 8 * 16_000))
    silent = ~audio.any(axis=0)
    assert 16_000 <= silent.sum() <= 4 * 16_000
    np.testing.assert_array_equal(audio[:, ~silent], expected[:, ~silent])
    assert len(caplog.records) == 1


def test_a_file_that_cannot_be_made_is_told(plane: Plane, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    plane.start(tmp_path / "file" / "call.wav")
    plane.run(1)
    [closed] = plane.told
    assert closed.samples == 0
    assert "file" in closed.error
    assert plane.table.record_from[ROW] == -1


def test_a_disk_that_is_full_is_told_and_what_was_written_stays(
    plane: Plane, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.start(path)
    plane.run(SECOND)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("active_call.plane.wav.os.pwrite", full)
    plane.run(SECOND)
    monkeypatch.undo()
    [closed] = plane.told
    assert "No space left" in closed.error
    assert closed.samples == read(path).shape[1] > 0


@pytest.mark.parametrize("rate_hz", [0, 7999, 8005, 48_001])
def test_rates_that_are_not_supported_are_told(plane: Plane, path: Path, rate_hz: int) -> None:
    plane.start(path, rate_hz=rate_hz)
    assert f"{rate_hz} Hz" in plane.stop().error


def test_a_new_start_ends_the_old_file(plane: Plane, path: Path) -> None:
    plane.start(path)
    plane.run(SECOND)
    plane.start(path.with_name("second.wav"))
    plane.run(SECOND)
    plane.recorder.close()
    plane.told += plane.recorder.collect(plane.tick)
    assert [closed.samples for closed in plane.told] == [16_000, 16_000]


def test_stop_without_start_is_nothing(plane: Plane) -> None:
    plane.recorder.stop(ROW, 0)
    assert plane.recorder.collect(0) == []


def test_the_thread_does_the_same(path: Path) -> None:
    plane = Plane(threaded=True)
    plane.start(path)
    plane.run(SECOND)
    plane.recorder.stop(ROW, plane.position)
    plane.recorder.close()
    [closed] = plane.told + plane.recorder.collect(plane.tick)
    assert closed.samples == 16_000
    np.testing.assert_array_equal(read(path), heard(0, 16_000))
    plane.table.close()


def test_denoised_lane_is_recorded_with_its_noise(plane: Plane, path: Path) -> None:
    plane.start(path)
    plane.run(10)
    plane.table.original[ROW] = plane.table.received[ROW]
    plane.table.original_kept[ROW] = 1
    for _ in range(2 * SECOND):
        ring_write(plane.table.original[ROW], plane.position, np.full(TICK_SAMPLES, 77, np.int16))
        plane.run(1)
    plane.stop()
    left = read(path)[0]
    np.testing.assert_array_equal(left[:3200], heard(0, 3200)[0])
    assert (left[3200:] == 77).all()
