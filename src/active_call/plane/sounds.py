"""Sound files that lanes loop: read by a thread, and kept in memory once for all lanes that use them.

They are copied rather than mapped: a mapped file that somebody truncates would end the process.
"""

import logging
import threading
from collections import deque
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import numpy as np

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.plane.priority import leave_real_time

_log = logging.getLogger(__name__)

MOST_BYTES: Final = 64 << 20
"""Half an hour."""


class Sounds:
    """Raw int16 LE files by path. With `threaded` False they are read within the call, for tests."""

    def __init__(self, *, threaded: bool = True) -> None:
        self._threaded = threaded
        self._loaded: WeakValueDictionary[str, Pcm] = WeakValueDictionary()
        self._loading: dict[str, deque[Pcm | None]] = {}
        """Where each reading puts its one result."""

    def take(self, path: str) -> Pcm | None:
        """The samples of a file as long as somebody holds them; None while it is still being read.

        Ask again with the next tick. Raises ValueError, once per reading, for a file that can't be used;
        the reason is in the log.
        """
        sound = self._loaded.get(path)
        if sound is not None:
            return sound
        result = self._loading.get(path)
        if result is None:
            result = self._loading[path] = deque()
            if self._threaded:
                threading.Thread(target=_work, args=(path, result), name="sound", daemon=True).start()
            else:
                _load(path, result)
        if not result:
            return None
        del self._loading[path]
        sound = result.pop()
        if sound is None:
            raise ValueError(f"{path} can't be used as a sound")
        self._loaded[path] = sound
        return sound

    def forget(self, path: str) -> None:
        """Nobody waits for the file any more."""
        self._loading.pop(path, None)


def _work(path: str, result: deque[Pcm | None]) -> None:
    leave_real_time()
    _load(path, result)


def _load(path: str, result: deque[Pcm | None]) -> None:
    try:
        result.append(_read(Path(path)))
    except (OSError, ValueError) as error:
        _log.error("background sound %s: %s", path, error)
        result.append(None)


def _read(path: Path) -> Pcm:
    """The samples of a file. Raises OSError, and ValueError for what is too short or too long to be one."""
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"is longer than {MOST_BYTES >> 20} MB")
    samples = np.frombuffer(data, "<i2", len(data) // 2)
    if not len(samples):
        raise ValueError("is empty")
    if len(samples) < TICK_SAMPLES:
        samples = np.tile(samples, -(-TICK_SAMPLES // len(samples)))
    return samples
