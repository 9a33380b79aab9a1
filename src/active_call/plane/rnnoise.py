"""RNNoise, a small neural network that leaves nothing but the voice, by way of the C library in pyrnnoise.

The library is opened directly: the Python package around it imports FFmpeg. It works on 10 ms at 48 kHz
and leaves the interpreter lock free meanwhile. A beep is noise to it: that of an answering machine gets lost.
"""

import ctypes
import logging
import threading
from collections import deque
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import SAMPLE_RATE, TICK_SAMPLES, Pcm
from active_call.core.errors import MediaError
from active_call.core.resample import Resampler
from active_call.plane.priority import leave_real_time

_log = logging.getLogger(__name__)

_RATE: Final = 48_000
_FRAME: Final = 480
_HEAD_START: Final = 192
"""Samples of silence in front, for what is held back: 36 in the resamplers, and a frame that is not full."""
_MOST_WAITING: Final = 2


@cache
def library() -> ctypes.CDLL:
    """The C library. Raises MediaError if it isn't installed or can't be used."""
    try:
        found = find_spec("pyrnnoise")
        folders = [] if found is None else found.submodule_search_locations or []
        paths = [path for folder in folders for path in Path(folder).glob("librnnoise.*")]
        if not paths:
            raise MediaError("denoise 'rnnoise' needs pyrnnoise: pip install 'active-call[rnnoise]'")
        loaded = ctypes.CDLL(str(paths[0]))
        loaded.rnnoise_create.argtypes = [ctypes.c_void_p]
        loaded.rnnoise_create.restype = ctypes.c_void_p
        loaded.rnnoise_destroy.argtypes = [ctypes.c_void_p]
        loaded.rnnoise_destroy.restype = None
        loaded.rnnoise_process_frame.argtypes = [ctypes.c_void_p] * 3
        loaded.rnnoise_process_frame.restype = ctypes.c_float
        if loaded.rnnoise_get_frame_size() != _FRAME:
            raise MediaError(f"denoise 'rnnoise': {paths[0]} has other frames than of 10 ms")
    except (OSError, AttributeError) as error:
        raise MediaError(f"denoise 'rnnoise': {error}") from error
    return loaded


class RnnoiseStream:
    """One voice, 20 ms at 16 kHz at a time; what comes out is 32 ms late. Raises MediaError."""

    def __init__(self) -> None:
        self._library = library()
        self._state = self._library.rnnoise_create(None)
        if not self._state:
            raise MediaError("denoise 'rnnoise': out of memory")
        self._up, self._down = Resampler(SAMPLE_RATE, _RATE), Resampler(_RATE, SAMPLE_RATE)
        self._wide = np.zeros(0, np.int16)
        self._clean = np.zeros(_HEAD_START, np.int16)

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.rnnoise_destroy(self._state)

    def process(self, samples: Pcm) -> Pcm:
        """The next 320 samples, cleaned."""
        wide = np.concatenate((self._wide, self._up.process(samples)))
        frames = len(wide) // _FRAME
        self._wide = wide[frames * _FRAME :]
        work: NDArray[np.float32] = wide[: frames * _FRAME].astype(np.float32)
        for start in range(0, len(work), _FRAME):
            at = work[start:].ctypes.data
            self._library.rnnoise_process_frame(self._state, at, at)
        narrow = self._down.process(np.rint(work).clip(-32_768, 32_767).astype(np.int16))
        clean = np.concatenate((self._clean, narrow))
        self._clean = clean[TICK_SAMPLES:]
        return clean[:TICK_SAMPLES]


class RnnoiseThread:
    """Cleans the lanes that want it while the tick goes on; each gets its audio one tick later.

    With `threaded` False everything happens within the calls, for tests.
    """

    def __init__(self, *, threaded: bool = True) -> None:
        self._threaded = threaded
        self._thread: threading.Thread | None = None
        self._jobs: SimpleQueue[tuple[int, dict[int, Pcm]] | int] = SimpleQueue()
        self._done: deque[tuple[int, dict[int, Pcm]]] = deque()
        self._streams: dict[int, RnnoiseStream] = {}  # the thread's
        self._number = 0
        self._before: dict[int, Pcm] = {}
        self._behind = False

    def exchange(self, frames: dict[int, Pcm]) -> dict[int, Pcm]:
        """Take the tick's audio (320,) of lanes by row, and give that of the tick before, cleaned.

        What the thread has not finished comes as it was. A lane that is new begins with silence.
        """
        clean: dict[int, Pcm] = {}
        while self._done:
            number, result = self._done.popleft()
            if number == self._number:
                clean = result
        silence = np.zeros(TICK_SAMPLES, np.int16)
        out = {row: clean.get(row, self._before[row]) if row in self._before else silence for row in frames}
        self._number += 1
        self._before = frames
        self._submit(frames)
        return out

    def remove(self, row: int) -> None:
        """Forget the lane."""
        if self._before.pop(row, None) is not None:
            self._put(row)

    def _submit(self, frames: dict[int, Pcm]) -> None:
        behind = self._jobs.qsize() > _MOST_WAITING
        if behind and not self._behind:
            _log.warning("noise reduction by rnnoise can't keep up: audio is passed as it is")
        self._behind = behind
        if not behind:
            self._put((self._number, frames))

    def _put(self, job: tuple[int, dict[int, Pcm]] | int) -> None:
        if not self._threaded:
            self._take(job)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="rnnoise", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        leave_real_time()
        while True:
            try:
                self._take(self._jobs.get())
            except Exception:  # a fault in one lane must not leave all others uncleaned
                _log.exception("noise reduction failed in a tick")

    def _take(self, job: tuple[int, dict[int, Pcm]] | int) -> None:
        if isinstance(job, int):
            self._streams.pop(job, None)
            return
        number, frames = job
        clean = {}
        for row, samples in frames.items():
            if row not in self._streams:
                self._streams[row] = RnnoiseStream()
            clean[row] = self._streams[row].process(samples)
        self._done.append((number, clean))
