"""Files as other programs write them; libsndfile writes them here."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
from active_call.media import decoding
from active_call.media.decoding import decode

SECONDS = 3


def write(path: Path, rate: int, format: str, subtype: str | None = None, channels: int = 2) -> Path:
    """Three seconds of 440 Hz at half of full scale, the channels 6 dB louder and silent."""
    time = np.arange(rate * SECONDS) / rate
    tone = np.sin(2 * np.pi * 440 * time) / 2
    both = np.stack([1.9 * tone, 0.1 * tone], axis=1) if channels == 2 else tone
    soundfile.write(str(path), both, rate, format=format, subtype=subtype)
    return path


async def pieces_of(path: Path) -> list[Pcm]:
    return [pcm async for pcm in decode(path)]


@pytest.mark.parametrize(
    ("rate", "format", "subtype", "channels"),
    [
        (44_100, "MP3", None, 2),
        (44_100, "MP3", None, 1),
        (48_000, "OGG", "VORBIS", 2),
        (48_000, "OGG", "OPUS", 2),
        (8_000, "OGG", "OPUS", 1),
        (8_000, "FLAC", None, 1),
        (48_000, "WAV", "PCM_24", 2),
        (22_050, "WAV", "PCM_U8", 1),
        (8_000, "WAV", "ULAW", 1),
        (8_000, "WAV", "ALAW", 1),
        (16_000, "WAV", "FLOAT", 2),
        (16_000, "WAVEX", "PCM_16", 2),
    ],
)
def test_a_tone_keeps_pitch_length_and_loudness(
    tmp_path: Path, rate: int, format: str, subtype: str | None, channels: int
) -> None:
    path = write(tmp_path / "name.says.NOTHING?x=1.5", rate, format, subtype, channels)
    pcm = np.concatenate(asyncio.run(pieces_of(path))).astype(float)
    assert len(pcm) == pytest.approx(SECONDS * 16_000, abs=1_700)  # an MP3 encoder adds silence
    spectrum = np.abs(np.fft.rfft(pcm))
    assert np.argmax(spectrum) * 16_000 / len(pcm) == pytest.approx(440, abs=1)
    loudness = np.sqrt(np.mean(pcm[8_000:-8_000] ** 2)) * np.sqrt(2)
    assert loudness == pytest.approx(16_384, rel=0.06)


def test_the_first_piece_is_short(tmp_path: Path) -> None:
    pieces = asyncio.run(pieces_of(write(tmp_path / "a", 44_100, "MP3")))
    assert len(pieces[0]) <= 1_600
    assert max(map(len, pieces)) <= 16_000


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"<html>404 not found</html>" * 100, "not an audio file"),
        (b"ID3", "not an audio file"),
        (b"RIFF\x04\0\0\0WAVE", "without its fmt chunk"),
        (os.urandom(16) * 200, "not an audio file"),
    ],
)
def test_what_is_no_audio_is_refused_with_what_is_supported(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "looks-like.mp3"
    path.write_bytes(data)
    with pytest.raises(MediaError, match=text) as refusal:
        asyncio.run(pieces_of(path))
    assert "supported" in str(refusal.value)


def test_no_samples_are_no_sound(tmp_path: Path) -> None:
    soundfile.write(str(tmp_path / "a.wav"), np.zeros(0), 16_000)
    with pytest.raises(MediaError, match="no sound"):
        asyncio.run(pieces_of(tmp_path / "a.wav"))


def test_more_channels_than_two_are_refused(tmp_path: Path) -> None:
    soundfile.write(str(tmp_path / "a"), np.zeros((100, 6)), 16_000, format="FLAC")
    with pytest.raises(MediaError, match="6 channels"):
        asyncio.run(pieces_of(tmp_path / "a"))


def test_a_cut_file_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write(tmp_path / "a", 44_100, "MP3")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert sum(map(len, asyncio.run(pieces_of(path)))) == pytest.approx(24_000, abs=3_000)


def test_a_file_that_is_left_early_is_closed(tmp_path: Path) -> None:
    path = write(tmp_path / "a", 44_100, "MP3")
    before = len(os.listdir("/proc/self/fd"))

    async def first() -> None:
        pieces = cast("AsyncGenerator[Pcm]", decode(path))
        await anext(pieces)
        assert len(os.listdir("/proc/self/fd")) > before
        await pieces.aclose()

    asyncio.run(first())
    assert len(os.listdir("/proc/self/fd")) == before


def test_missing_files_are_os_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(pieces_of(tmp_path / "none"))
    with pytest.raises(IsADirectoryError):
        asyncio.run(pieces_of(tmp_path))


def test_a_file_that_is_being_opened_when_nobody_wants_it_any_more_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opening, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    class Reader:
        def close(self) -> None:
            closed.set()

    def slow(path: Path) -> Reader:
        opening.set()
        go_on.wait(5)
        return Reader()

    async def first() -> None:
        await anext(decode(Path("x.mp3")))

    async def interrupted() -> bool:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(first())
            await asyncio.to_thread(opening.wait, 5)
            task.cancel()
        go_on.set()
        return await asyncio.to_thread(closed.wait, 2)

    monkeypatch.setattr(decoding, "_open", slow)
    assert asyncio.run(interrupted())
