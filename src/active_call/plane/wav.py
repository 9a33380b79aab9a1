"""A stereo WAV file that is valid at any moment, so that a killed process leaves a recording that plays."""

import os
import struct
from pathlib import Path
from typing import Final

from active_call.core.audio import Pcm

_CHANNELS: Final = 2
FRAME_BYTES: Final = 2 * _CHANNELS
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_LARGEST: Final = 0xFFFF_FFFF


class StereoWav:
    """A 16-bit stereo file, open for appending. Every method may raise OSError."""

    def __init__(self, path: str, rate_hz: int, *, resume: bool) -> None:
        """Create the file and its folders; with `resume`, go on with what an earlier process wrote to it."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.frames = 0
        self._rate_hz = rate_hz
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (0 if resume else os.O_TRUNC), 0o644)
        try:
            if resume and self._is_ours(os.pread(self._fd, _HEADER.size, 0)):
                self.frames = (os.fstat(self._fd).st_size - _HEADER.size) // FRAME_BYTES
            self.truncate(self.frames)
        except OSError:
            os.close(self._fd)
            raise

    def append(self, frames: Pcm) -> None:
        """Write `frames`, shape (n, 2), and then the sizes in the header."""
        self._write(frames.tobytes(), _HEADER.size + self.frames * FRAME_BYTES)
        self.frames += len(frames)
        self._write(self._header(), 0)

    def truncate(self, frames: int) -> None:
        """Keep the first `frames` frames."""
        self.frames = frames
        os.ftruncate(self._fd, _HEADER.size + frames * FRAME_BYTES)
        self._write(self._header(), 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _write(self, data: bytes, offset: int) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._fd, rest, offset)
            rest, offset = rest[written:], offset + written

    def _is_ours(self, header: bytes) -> bool:
        """Whether it is what we would have written, whatever the sizes."""
        ours = self._header()
        return len(header) == _HEADER.size and (header[:4], header[8:40]) == (ours[:4], ours[8:40])

    def _header(self) -> bytes:
        size = self.frames * FRAME_BYTES
        return _HEADER.pack(
            b"RIFF",
            min(size + _HEADER.size - 8, _LARGEST),
            b"WAVE",
            b"fmt ",
            16,
            1,  # PCM
            _CHANNELS,
            self._rate_hz,
            self._rate_hz * FRAME_BYTES,
            FRAME_BYTES,
            16,
            b"data",
            min(size, _LARGEST),
        )
