"""Noise reduction of what lanes receive: WebRTC's within the tick, RNNoise in a thread and one tick later.

The ring `received` gets the cleaned audio. The original of a lane that is recorded too has a ring of its own.

WebRTC's suppressor costs 20 to 40 us per lane and tick, holds the interpreter lock, and so gains nothing from
a thread. RNNoise costs a millisecond. The state of a lane is made when its audio first comes by, a few per
tick because each takes a millisecond; a spare, which hears nothing, has none.
"""

import logging
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from webrtc_noise_gain import AudioProcessor

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.core.errors import MediaError
from active_call.dsp.mix import RingWindow
from active_call.lanes.messages import DenoiseKind
from active_call.lanes.table import Table
from active_call.plane.rnnoise import RnnoiseThread, library

_log = logging.getLogger(__name__)

Int64: TypeAlias = NDArray[np.int64]

MOST_RNNOISE: Final = 8
"""Lanes that the thread can serve within a tick; others get WebRTC's suppressor."""
_NO_GAIN, _SUPPRESSION = 0, 3  # high (18 dB), as in browsers
_HALF: Final = TICK_SAMPLES // 2
_MADE_PER_TICK: Final = 2


class Denoise:
    """The noise reduction of the lanes of a table."""

    def __init__(self, table: Table, *, threaded: bool = True) -> None:
        self.rows: Int64 = np.zeros(0, np.int64)
        """The lanes that are cleaned, sorted."""
        self._table = table
        self._ring = RingWindow(table.original, TICK_SAMPLES)
        self._original: Pcm = np.zeros((0, TICK_SAMPLES), np.int16)
        self._kinds: dict[int, DenoiseKind] = {}
        self._processors: dict[int, AudioProcessor] = {}
        self._silent = np.zeros(table.capacity, np.bool_)
        self._rnnoise = RnnoiseThread(threaded=threaded)

    def configure(self, row: int, kind: DenoiseKind | None) -> None:
        """Clean the lane from now on, or no more. RNNoise that isn't there is told by log."""
        if kind == self._kinds.get(row):
            return
        self.remove(row)
        if kind == "rnnoise":
            kind = self._check_rnnoise()
        if kind is not None:
            self._kinds[row] = kind
            self._silent[row] = False
            self._list()

    def remove(self, row: int) -> None:
        """Forget the lane."""
        if self._kinds.pop(row, None) is not None:
            self._processors.pop(row, None)
            self._rnnoise.remove(row)
            self._list()

    def keep_original(self, row: int, *, recorded: bool) -> None:
        """Begin or end to keep the lane's original, now that it is denoised or recorded, or isn't any more.

        Only for whoever ticks. Either ring has the right past of a recording when it is turned to.
        """
        table = self._table
        kept, denoised = bool(table.original_kept[row]), row in self._kinds
        if recorded and denoised and not kept:
            table.original[row] = table.received[row]
            table.original_kept[row] = 1
        elif kept and not denoised:
            table.received[row] = table.original[row]
            table.original_kept[row] = 0

    def hear(self, heard: Pcm, places: Int64) -> None:
        """Clean `rows`, which are at `places` (n,) of the tick's audio `heard` (lanes, 320)."""
        self._original = heard[places]
        heard[places] = self.clean(self._original)

    def store(self, positions: Int64) -> None:
        """Write to the table what is kept of the tick; `positions` (n,) are lane positions of `rows`."""
        kept = np.flatnonzero(self._table.original_kept[self.rows])
        if len(kept):
            self._ring.write(self.rows[kept], positions[kept], self._original[kept])

    def clean(self, heard: Pcm) -> Pcm:
        """One tick of the audio of `rows`, shape (n, 320), cleaned."""
        rows = self.rows
        clean = heard.copy()
        frames: dict[int, Pcm] = {}
        silent = np.logical_not(heard.any(axis=1))
        made = 0
        for i, row in enumerate(rows.tolist()):
            if self._kinds[row] == "rnnoise":
                frames[row] = heard[i].copy()
            elif silent[i] and self._silent[row]:  # after a tick of nothing, nothing follows
                continue
            elif row in self._processors or made < _MADE_PER_TICK:
                made += row not in self._processors
                clean[i] = self._suppress(row, heard[i])
        self._silent[rows] = silent
        if frames:
            for row, samples in self._rnnoise.exchange(frames).items():
                clean[np.searchsorted(rows, row)] = samples
        return clean

    def _suppress(self, row: int, samples: Pcm) -> Pcm:
        processor = self._processors.get(row)
        if processor is None:
            processor = self._processors[row] = AudioProcessor(_NO_GAIN, _SUPPRESSION)
        halves = (samples[:_HALF].tobytes(), samples[_HALF:].tobytes())
        return np.frombuffer(b"".join(processor.Process10ms(half).audio for half in halves), np.int16)

    def _check_rnnoise(self) -> DenoiseKind | None:
        try:
            library()
        except MediaError as error:
            _log.error("%s; the lane is not denoised", error)
            return None
        if sum(kind == "rnnoise" for kind in self._kinds.values()) >= MOST_RNNOISE:
            _log.warning("more than %d lanes ask for rnnoise: this one gets webrtc", MOST_RNNOISE)
            return "webrtc"
        return "rnnoise"

    def _list(self) -> None:
        self.rows = np.array(sorted(self._kinds), np.int64)
