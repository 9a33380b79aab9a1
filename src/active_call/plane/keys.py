"""Keys that peers press: told by their tones, and kept from everybody who must not hear them.

A lane whose keys are *masked* is silent while a key is pressed, be it a telephone-event or tones in the audio.
What can't be taken back is what was passed on before the tone could be suspected: of a tone that follows
silence its first 10 ms, of one that follows speech less than 20 ms. That is too short for anything that takes
keys (Q.24: 23 ms are no key), and only taps, other lanes and a recogniser that reads at once get so much: in
the rings, and so in recordings, which are written 300 ms later, it is blanked.
"""

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.dsp.inband import ToneDetector
from active_call.lanes.messages import DigitReceived
from active_call.lanes.table import HEARD_SAMPLES, Table
from active_call.plane.reception import LONG_AGO

Flags: TypeAlias = NDArray[np.bool_]
Int64: TypeAlias = NDArray[np.int64]

_EVENTS_WIN_TICKS: Final = 50
"""Tones so soon after a telephone-event are the same key."""
_SAME_KEY_TICKS: Final = 25
"""A telephone-event so soon after tones of its key is the same."""
_ECHO_TICKS: Final = 15
"""Tones so soon after our own are their echo."""
_TAIL_TICKS: Final = 2
_ONSET_SAMPLES: Final = 2 * TICK_SAMPLES
_NONE: Final = np.zeros(0, np.int64)


class Keys:
    """The keys pressed on the lanes of a table. Events go to `tell`.

    `event_tick` (capacity,) is the tick in which the last telephone-event of each lane came.
    """

    def __init__(self, table: Table, event_tick: Int64, tell: Callable[[DigitReceived], None]) -> None:
        capacity = table.capacity
        self._table = table
        self._event_tick = event_tick
        self._tell = tell
        self._detector = ToneDetector(capacity)
        self._inband = np.zeros(capacity, np.bool_)
        self._masked = np.zeros(capacity, np.bool_)
        self._tone: dict[int, tuple[str, int]] = {}
        """By row the last key that was told by its tones, and the tick."""
        self._deaf_until = np.full(capacity, LONG_AGO)
        self._silent_until = np.full(capacity, LONG_AGO)
        self._silenced: list[Int64] = []

    # --- control --------------------------------------------------------------------------------------

    def open(self, row: int) -> None:
        """A fresh lane: tones are neither told nor masked."""
        self._inband[row] = self._masked[row] = False
        self.enter(row)

    def enter(self, row: int) -> None:
        """Begin to listen, or go on after another process."""
        self._detector.reset(row)
        self._tone.pop(row, None)
        self._deaf_until[row] = self._silent_until[row] = LONG_AGO

    def configure(self, row: int, *, inband: bool) -> None:
        """Tell keys by their tones, or don't."""
        self._inband[row] = inband

    def mask(self, row: int, *, on: bool) -> None:
        """Keep keys from all who listen, or don't."""
        self._masked[row] = on

    @property
    def rows(self) -> Int64:
        """The lanes that have to be heard, sorted."""
        return np.flatnonzero(self._inband | self._masked)

    # --- what happens -----------------------------------------------------------------------------------

    def is_repeated(self, event: DigitReceived) -> bool:
        """Whether the key of this telephone-event was told by its tones already."""
        key, tick = self._tone.get(event.row, ("", 0))
        return key == event.digit and event.tick - tick < _SAME_KEY_TICKS

    def press(self, tick: int, rows: Iterable[int]) -> None:
        """We press keys on these lanes by tones; their echo tells nothing."""
        for row in rows:
            self._deaf_until[row] = tick + _ECHO_TICKS

    # --- the tick ---------------------------------------------------------------------------------------

    def hear(self, tick: int, rows: Int64, positions: Int64, audio: Pcm, delay: Int64) -> Flags:
        """Look for keys in a tick of `audio` (n, 320) of `rows` (n,), which begins at these lane positions.

        `delay` (n,) is how many ticks audio waits, and telephone-events don't. Returns which lanes have to be
        silent in this tick.
        """
        presses, suspect = self._detector.hear(rows, audio)
        for press in presses:
            self._tell_tone(tick, int(rows[press.lane]), press.key, int(positions[press.lane]) - press.onset)
        masked = self._masked[rows]
        if not masked.any():
            return masked
        until = np.maximum(self._silent_until[rows], self._event_tick[rows] + delay + 1)
        until[suspect] = np.maximum(until[suspect], tick + _TAIL_TICKS)
        self._silent_until[rows] = until
        silent: Flags = masked & (tick <= until)
        self._silenced.append(rows[silent])
        return silent

    @property
    def silenced(self) -> Int64:
        """The lanes that have to be silent in the tick, of all that were heard in it."""
        return np.concatenate(self._silenced) if self._silenced else _NONE

    def blank(self) -> None:
        """The tick is stored: blank in the rings of lanes that are silent in it what came before."""
        table = self._table
        for row in self.silenced.tolist():
            end = int(table.position[row])
            places = np.arange(max(end - _ONSET_SAMPLES, 0), end) % HEARD_SAMPLES
            table.received[row, places] = 0
            if table.original_kept[row]:
                table.original[row, places] = 0
        self._silenced.clear()

    def _tell_tone(self, tick: int, row: int, key: str, position: int) -> None:
        if not self._inband[row] or tick < self._deaf_until[row]:
            return
        if tick - self._event_tick[row] < _EVENTS_WIN_TICKS:
            return
        self._tone[row] = key, tick
        self._tell(DigitReceived(row, int(self._table.generation[row]), tick, key, max(position, 0)))
