"""What peers of other lanes say, mixed into what a lane's peer hears: bridges, conferences, listening in.

A source with sockets is heard in the tick in which its audio is played out, an external one a tick later: its
audio of the tick is only known when packets are due (see plane.external). Noise reduction is not applied.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.dsp.mix import RingWindow
from active_call.lanes.messages import MixSource, SetMix
from active_call.lanes.table import Table

Flags: TypeAlias = NDArray[np.bool_]
Int64: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float32]

_FADE: Final = 160
"""Samples (10 ms) over which a source comes and goes."""
_RAMP: Final = np.minimum(np.arange(1, TICK_SAMPLES + 1) / _FADE, 1.0).astype(np.float32)


@dataclass(slots=True)
class _Edges:
    """One item for each source of each lane, ordered by lane."""

    target: Int64
    source: Int64
    generation: Int64
    gain: Floats
    level: Floats
    """Gain at the end of the last tick."""
    last: Floats
    """The source's last sample in it."""


class Mixing:
    """The sources of the lanes of a table. What a tick adds is gathered once and can be mixed repeatedly."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._received = RingWindow(table.received, TICK_SAMPLES)
        self._sources: dict[int, tuple[MixSource, ...]] = {}
        self._stale = False
        self._edges = _no_edges()
        self._slot = np.full(table.capacity, -1)
        """Where in `_mixed` a lane's is."""
        self._mixed: Floats = np.zeros((0, TICK_SAMPLES), np.float32)
        self._audible: Flags = np.zeros(0, np.bool_)

    def configure(self, message: SetMix) -> None:
        """From the next tick on the lane has these sources. Those that come or go are faded."""
        if message.sources:
            self._sources[message.row] = message.sources
        else:
            self._sources.pop(message.row, None)
        self._stale = True

    def remove(self, row: int) -> None:
        """Forget the lane as one that hears others. As a source it falls silent by its generation."""
        self._sources.pop(row, None)
        edges = self._edges
        if (mine := edges.target == row).any():
            edges.level[mine] = 0.0  # the row's next lane must not hear the end of it
            self._stale = True

    def gather(self, heard: Pcm, place: Int64, count: int) -> None:
        """Find what the tick adds. Once per tick, when the lanes with sockets have been heard and muted.

        `heard` (lanes, 320) is the tick's audio; `place` (capacity,) tells where in it a row is, -1 if it is
        not. The first `count` lanes have sockets.
        """
        if self._stale:
            self._arrange()
        edges, table = self._edges, self._table
        if not len(edges.target):
            return
        source = edges.source
        at = place[source]
        alive = (table.generation[source] == edges.generation) & (at >= 0)
        audio = np.repeat(edges.last[:, None], TICK_SAMPLES, axis=1)  # of one that is gone, while it fades
        now = np.flatnonzero(alive & (at < count))
        audio[now] = heard[at[now]]
        before = np.flatnonzero(alive & (at >= count) & (table.position[source] > 0))
        if len(before):
            rows = source[before]
            audio[before] = self._received.read(rows, table.position[rows] - TICK_SAMPLES)
        edges.last = audio[:, -1].copy()
        gain = np.where(alive, edges.gain, np.float32(0))
        if (gain != edges.level).any():
            audio *= edges.level[:, None] + (gain - edges.level)[:, None] * _RAMP
            edges.level = gain
            self._stale = True  # what has faded out is dropped before the next tick
        elif (gain != 1.0).any():
            audio *= gain[:, None]
        starts = np.flatnonzero(np.diff(edges.target, prepend=-1))
        self._mixed = audio if len(starts) == len(audio) else np.add.reduceat(audio, starts, axis=0)
        self._audible = np.any(self._mixed != 0, axis=1)

    def mix(self, rows: Int64, playing: Flags, out: Pcm) -> Flags:
        """Add to `out` (n, 320), what `rows` (n,) are to hear, saturating. Returns which of them hear anything.

        `playing` (n,) tells which of them heard anything before.
        """
        if not len(self._edges.target):
            return playing
        slot = self._slot[rows]
        chosen = np.flatnonzero(slot >= 0)
        chosen = chosen[self._audible[slot[chosen]]]
        if not len(chosen):
            return playing
        mixed = out[chosen] + self._mixed[slot[chosen]]
        np.rint(mixed, out=mixed)
        np.clip(mixed, -32_768, 32_767, out=mixed)
        out[chosen] = mixed.astype(np.int16)
        playing = playing.copy()
        playing[chosen] = True
        return playing

    def _arrange(self) -> None:
        """Make the edges anew: what is wanted, at the level it has reached, and what has still to fade out."""
        self._stale = False
        old = self._edges
        levels = {
            (target, source, generation): (level, last)
            for target, source, generation, level, last in zip(
                old.target.tolist(),
                old.source.tolist(),
                old.generation.tolist(),
                old.level.tolist(),
                old.last.tolist(),
                strict=True,
            )
        }
        gains = {key: 0.0 for key, (level, _) in levels.items() if level}
        for row, sources in self._sources.items():
            for one in sources:
                gains[row, one.row, one.generation] = one.gain
        keys = sorted(gains)
        rows = np.array(keys, np.int64).reshape(-1, 3)
        state = np.array([levels.get(key, (0.0, 0.0)) for key in keys], np.float32).reshape(-1, 2)
        gain = np.array([gains[key] for key in keys], np.float32)
        target, source, generation = (column.copy() for column in rows.T)
        level, last = (column.copy() for column in state.T)
        self._edges = _Edges(target, source, generation, gain, level, last)
        self._slot[:] = -1
        lanes = np.unique(target)
        self._slot[lanes] = np.arange(len(lanes))


def _no_edges() -> _Edges:
    rows, floats = np.zeros(0, np.int64), np.zeros(0, np.float32)
    return _Edges(rows, rows, rows, floats, floats, floats)
