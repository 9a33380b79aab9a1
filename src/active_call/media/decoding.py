"""Audio files of any common kind as 16 kHz mono PCM, told apart by what is in them, not by their names.

WAV is decoded by `media.wav`; MP3, Ogg Vorbis, Opus and FLAC by libsndfile. Files are read in pieces, in
threads: a call never holds more than a second of one.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
from active_call.core.resample import Resampler
from active_call.media.wav import HIGHEST_RATE, LOWEST_RATE, WavDecoder, is_wav

SUPPORTED = "supported: WAV, MP3, Ogg Vorbis, Opus and FLAC, mono or stereo"
_FIRST_MS, _NEXT_MS = 100, 500
"""Of the pieces: something to play soon, then few wake-ups."""
_WAV_BYTES_PER_MS = 192
"""Of 48 kHz, stereo, 16 bit; other files are read in longer or shorter pieces."""


async def decode(path: Path) -> AsyncIterator[Pcm]:
    """The samples of a file, in pieces of about half a second; the first one is shorter.

    Raises OSError, and MediaError for what is no audio.
    """
    opening = asyncio.get_running_loop().run_in_executor(None, _open, path)
    try:
        reader = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unwanted)  # the thread goes on
        raise
    try:
        milliseconds = _FIRST_MS
        while (pcm := await asyncio.to_thread(reader.read, milliseconds)) is not None:
            if len(pcm):
                yield pcm
                milliseconds = _NEXT_MS
        if milliseconds == _FIRST_MS:
            raise MediaError(f"the file holds no sound; {SUPPORTED}")
    finally:
        reader.close()


def _close_unwanted(opening: "asyncio.Future[_Reader]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


class _Reader(Protocol):
    def read(self, milliseconds: int) -> Pcm | None:
        """About so much more, perhaps nothing yet; None at the end. Raises MediaError."""
        ...

    def close(self) -> None:
        """Let go of the file, even while a thread reads it."""
        ...


def _open(path: Path) -> _Reader:
    # A pipe would block its reader for as long as nobody writes.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        head = os.read(descriptor, 12)
        if not head:
            raise MediaError(f"the file is empty; {SUPPORTED}")
        os.lseek(descriptor, 0, os.SEEK_SET)
        return _WavReader(descriptor) if is_wav(head) else _SoundFileReader(descriptor)
    except BaseException:
        os.close(descriptor)
        raise


class _WavReader:
    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "rb")
        self._lock = threading.Lock()
        self._decoder = WavDecoder()
        self._ended = False

    def read(self, milliseconds: int) -> Pcm | None:
        with self._lock:
            if self._ended or self._file.closed:
                return None
            data = self._file.read(milliseconds * _WAV_BYTES_PER_MS)
            if data:
                return self._decoder.feed(data)
            self._ended = True
            return self._decoder.finish()

    def close(self) -> None:
        with self._lock:
            self._file.close()


class _SoundFileReader:
    def __init__(self, descriptor: int) -> None:
        import soundfile  # only calls that play such files pay for it

        try:
            # By descriptor: of a name it would also believe the extension.
            self._file: Any = soundfile.SoundFile(descriptor, closefd=False)
        except soundfile.LibsndfileError as error:
            reason = str(error).rpartition(": ")[2].strip().rstrip(".")
            raise MediaError(f"not an audio file that can be read ({reason}); {SUPPORTED}") from None
        self._descriptor = descriptor
        self._failure: type[Exception] = soundfile.LibsndfileError
        self._lock = threading.Lock()
        self._rate = int(self._file.samplerate)
        try:
            if self._file.channels > 2:
                raise MediaError(f"an audio file with {self._file.channels} channels; {SUPPORTED}")
            if not LOWEST_RATE <= self._rate <= HIGHEST_RATE:
                raise MediaError(f"an audio file with a sample rate of {self._rate} Hz; {SUPPORTED}")
            self._resampler = Resampler(self._rate)
        except BaseException:
            self._file.close()
            raise
        self._ended = False

    def read(self, milliseconds: int) -> Pcm | None:
        with self._lock:
            if self._ended or self._file.closed:
                return None
            try:
                frames = self._file.read(self._rate * milliseconds // 1000, dtype="float32", always_2d=True)
            except self._failure as error:
                raise MediaError(f"the audio is damaged: {error}") from None
            if not len(frames):
                self._ended = True
                return self._resampler.flush()
            mono = np.nan_to_num(frames.mean(axis=1)) * 32768
            return self._resampler.process(np.clip(np.rint(mono), -32768, 32767).astype(np.int16))

    def close(self) -> None:
        with self._lock:
            if not self._file.closed:
                self._file.close()
                os.close(self._descriptor)
