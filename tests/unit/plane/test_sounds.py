import gc
from pathlib import Path

import numpy as np
import pytest

from active_call.core.audio import TICK_SAMPLES
from active_call.plane import sounds
from active_call.plane.sounds import Sounds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "rain.pcm"
    file.write_bytes(np.arange(1000, dtype="<i2").tobytes())
    return file


def test_samples_of_the_file(path: Path) -> None:
    sound = Sounds(threaded=False).take(str(path))
    assert sound is not None
    np.testing.assert_array_equal(sound, np.arange(1000))


def test_all_lanes_share_one_copy(path: Path) -> None:
    loader = Sounds(threaded=False)
    assert loader.take(str(path)) is loader.take(str(path))


def test_unused_sound_is_let_go_and_read_anew(path: Path) -> None:
    loader = Sounds(threaded=False)
    sound = loader.take(str(path))
    del sound
    gc.collect()
    path.write_bytes(b"\x07\x00" * 400)
    fresh = loader.take(str(path))
    assert fresh is not None
    assert fresh.tolist() == [7] * 400


def test_very_short_sound_is_repeated(path: Path) -> None:
    path.write_bytes(np.array([1, 2, 3], "<i2").tobytes() + b"x")
    sound = Sounds(threaded=False).take(str(path))
    assert sound is not None
    assert len(sound) >= TICK_SAMPLES
    assert sound[:7].tolist() == [1, 2, 3, 1, 2, 3, 1]


@pytest.mark.parametrize("content", [None, b"", b"x"], ids=["missing", "empty", "half a sample"])
def test_file_that_is_none_is_refused_and_logged(
    path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path.unlink() if content is None else path.write_bytes(content)
    loader = Sounds(threaded=False)
    for _ in range(2):
        with pytest.raises(ValueError, match="rain.pcm"):
            loader.take(str(path))
    assert "rain.pcm" in caplog.text


def test_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can't be used"):
        Sounds(threaded=False).take(str(tmp_path))


def test_too_long_a_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounds, "MOST_BYTES", 1999)
    with pytest.raises(ValueError, match="rain.pcm"):
        Sounds(threaded=False).take(str(path))


def test_thread_reads_while_the_tick_goes_on(path: Path) -> None:
    loader = Sounds()
    found = None
    for _ in range(1_000_000):
        found = loader.take(str(path))
        if found is not None:
            break
    assert found is not None
    assert len(found) == 1000
