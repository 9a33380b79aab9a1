"""Background sound under what lanes play: from the message that names a file to the mixed tick."""

import logging
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import Pcm
from active_call.dsp.ambience import Ambience
from active_call.lanes.messages import SetAmbience
from active_call.lanes.table import Table
from active_call.plane.sounds import Sounds

_log = logging.getLogger(__name__)

Int64: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]


class Background:
    """The background sounds of all lanes of a table. A file is read when its lane first plays."""

    def __init__(self, table: Table, *, threaded: bool = True) -> None:
        self._table = table
        self._ambience = Ambience(table.capacity)
        self._sounds = Sounds(threaded=threaded)
        self._waiting: dict[int, SetAmbience] = {}

    def configure(self, message: SetAmbience) -> None:
        """Begin, change or end the lane's sound. What can't be read is told by log, and ends it."""
        self._forget(message.row)
        self._waiting[message.row] = message

    def remove(self, row: int) -> None:
        """Forget the lane."""
        self._forget(row)
        self._ambience.stop(row)

    def _forget(self, row: int) -> None:
        """The lane waits no more; a file that no other waits for need not be kept when it has been read."""
        message = self._waiting.pop(row, None)
        if message and message.path and all(other.path != message.path for other in self._waiting.values()):
            self._sounds.forget(message.path)

    def mix(self, rows: Int64, playing: Flags, out: Pcm) -> Flags:
        """Add the sounds to `out` (n, 320), what `rows` (n,) are to hear. Returns which of them hear anything.

        `playing` (n,) tells which of them play anything. A tick can be mixed again until `advance`.
        """
        if self._waiting:
            self._start_waiting()
        if not len(self._ambience.rows):
            return playing
        self._ambience.mix(rows, self._table.position[rows], playing, out)
        return playing | self._ambience.has(rows)

    def advance(self, rows: Int64) -> None:
        """The tick of `rows` (n,) was played."""
        if len(self._ambience.rows):
            self._ambience.advance(rows)

    def _start_waiting(self) -> None:
        for row, message in list(self._waiting.items()):
            if message.path is None:
                self.remove(row)
                continue
            try:
                sound = self._sounds.take(message.path)
            except ValueError as error:
                _log.error("%s; the lane goes without", error)
                self.remove(row)
                continue
            if sound is not None:
                del self._waiting[row]
                self._ambience.start(row, sound, duck=message.duck, normal=message.normal, step=message.step)
