import wave
from pathlib import Path

import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.plane.wav import StereoWav


def read(path: Path) -> tuple[int, Pcm]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        frames = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)
        assert len(frames) == file.getnframes()
        return file.getframerate(), frames


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a" / "b.wav"


FRAMES = np.arange(20, dtype=np.int16).reshape(10, 2)


def test_file_is_valid_after_each_append(path: Path) -> None:
    file = StereoWav(str(path), 8000, resume=False)
    for count in range(3):
        rate_hz, frames = read(path)
        assert (rate_hz, len(frames)) == (8000, 10 * count)
        file.append(FRAMES)
    np.testing.assert_array_equal(read(path)[1], np.concatenate([FRAMES] * 3))
    file.close()


def test_resuming_keeps_whole_frames(path: Path) -> None:
    file = StereoWav(str(path), 8000, resume=False)
    file.append(FRAMES)
    file.close()
    path.write_bytes(path.read_bytes() + b"abc")  # killed within a frame, before the header told of it
    resumed = StereoWav(str(path), 8000, resume=True)
    assert resumed.frames == 10
    resumed.truncate(8)
    resumed.append(FRAMES[:1])
    resumed.close()
    np.testing.assert_array_equal(read(path)[1], np.concatenate((FRAMES[:8], FRAMES[:1])))


@pytest.mark.parametrize("content", [b"", b"something else", bytes(100)])
def test_resuming_what_is_not_ours_starts_anew(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    StereoWav(str(path), 8000, resume=True).close()
    assert len(read(path)[1]) == 0


def test_an_old_file_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(bytes(100))
    StereoWav(str(path), 16_000, resume=False).close()
    assert len(read(path)[1]) == 0
