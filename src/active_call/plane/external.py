"""External lanes: their audio comes and goes through the byte rings of the table (see lanes.external).

The first frame waits for 15 to 35 ms, so that the jitter of those that follow is not heard. A lane that has run
dry starts over like that, and so finds the depth that its sender needs. What piles up is dropped: at
once above 200 ms and before the first frame is heard, and else frame by frame, in silence, when it has stood
for more than a second. A sender of longer pieces than that has them whole.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_MS, TICK_NS, Pcm
from active_call.dsp.codecs import CodecGroup
from active_call.dsp.concealment import Concealment
from active_call.lanes.external import IN_FRAMES, OUT_FRAMES, ExternalCodec
from active_call.lanes.messages import MediaStarted, OpenExternal
from active_call.lanes.table import Table

Flags: TypeAlias = NDArray[np.bool_]
Frames: TypeAlias = NDArray[np.uint8]
Int64: TypeAlias = NDArray[np.int64]

_TARGET: Final = 2
"""Frames of backlog when the first is taken, at most; but what came at once is left whole."""
_WAIT_NS: Final = 15_000_000
_CAP: Final = 10
_LARGEST_CAP: Final = 40
_WINDOW: Final = 64
"""Ticks over which the least slack is looked for."""
_QUIET: Final = 128
"""No sample of a quiet frame is louder: -48 dB."""
_FAR: Final = 1 << 60


class ExternalLanes:
    """The external lanes of a table, blocks of up to `lanes` at a time. Events go to `tell`."""

    def __init__(self, table: Table, lanes: int, tell: Callable[[MediaStarted], None]) -> None:
        capacity = table.capacity
        self.rows: Int64 = np.zeros(0, np.int64)
        """The external lanes in the tick, in the order of what `hear` and `deliver` take."""
        self._table = table
        self._lanes = lanes
        self._tell = tell
        self._opened: dict[int, OpenExternal] = {}
        self._groups: dict[tuple[ExternalCodec, int], _Group] = {}
        self._blocks: list[tuple[_Group, slice]] = []
        self._read = np.zeros(capacity, np.int64)
        self._dropped = np.zeros(capacity, np.int64)
        self._seen = np.zeros(capacity, np.int64)
        self._flowing = np.zeros(capacity, np.bool_)
        self._least = np.full(capacity, _FAR)  # ns
        self._excess = np.zeros(capacity, np.int64)
        self._depth = np.zeros(capacity, np.int64)
        self._present: Flags = np.zeros(0, np.bool_)
        self._arrived: Flags = np.zeros(0, np.bool_)

    # --- control --------------------------------------------------------------------------------------

    def open(self, message: OpenExternal) -> None:
        """Take a lane in."""
        self._opened[message.row] = message
        self._group(message).codec.open(message.row)
        self._arrange()

    def enter(self, row: int) -> None:
        """Begin to tick the lane, or go on where the table says that another process stopped."""
        table = self._table
        self._read[row] = table.external_read[row]
        self._dropped[row] = table.external_dropped[row]
        # Bytes are only counted as new if the process before us has not seen them.
        self._seen[row] = table.external_write[row] if table.rx_tick[row] >= 0 else 0
        self._flowing[row] = False
        self._excess[row] = self._depth[row] = 0
        self._least[row] = _FAR
        self._group(self._opened[row]).concealment.silence(np.array([row]))

    def close(self, row: int) -> None:
        """Let a lane go; nothing if it isn't one of these."""
        message = self._opened.pop(row, None)
        if message is not None:
            self._group(message).codec.close(row)
            self._arrange()

    def _group(self, message: OpenExternal) -> "_Group":
        key = _key(message)
        if key not in self._groups:
            self._groups[key] = _Group(self._table, *key, self._lanes)
        return self._groups[key]

    def _arrange(self) -> None:
        """Lanes of one codec stand side by side."""
        self._blocks = []
        rows: list[int] = []
        for key, group in self._groups.items():
            members = sorted(row for row, opened in self._opened.items() if _key(opened) == key)
            for start in range(0, len(members), self._lanes):
                part = members[start : start + self._lanes]
                self._blocks.append((group, slice(len(rows), len(rows) + len(part))))
                rows += part
        self.rows = np.array(rows, np.int64)
        self._present = np.zeros(len(rows), np.bool_)
        self._arrived = np.zeros(len(rows), np.bool_)

    # --- the tick -------------------------------------------------------------------------------------

    def hear(self, tick: int, out: Pcm) -> Int64:
        """What the lanes hear in the tick into `out` (n, 320). Returns the rows concealed."""
        concealed = [self._hear(tick, group, part, out[part]) for group, part in self._blocks]
        return np.concatenate(concealed) if concealed else np.zeros(0, np.int64)

    def commit(self, tick: int) -> None:
        """Store what was taken in the table's columns."""
        table, rows = self._table, self.rows
        table.external_read[rows] = self._read[rows]
        table.external_dropped[rows] = self._dropped[rows]
        table.delay_ms[rows] = self._depth[rows] * TICK_MS
        table.rx_tick[rows[self._arrived]] = tick
        for group, part in self._blocks:
            present = rows[part][self._present[part]]
            for row in present[table.rx_packets[present] == 0].tolist():
                self._tell(MediaStarted(row, int(table.generation[row]), tick))
            table.rx_packets[present] += 1
            table.rx_octets[present] += group.codec.frame_bytes

    def deliver(self, playing: Pcm) -> None:
        """Put what the lanes are to hear, `playing` (n, 320), into their rings."""
        table = self._table
        for group, part in self._blocks:
            rows = self.rows[part]
            sent = table.external_sent[rows]
            group.outgoing[rows, sent % OUT_FRAMES] = group.items(group.codec.encode(rows, playing[part]))
            table.external_sent[rows] = sent + 1
            table.tx_packets[rows] += 1
            table.tx_octets[rows] += group.codec.frame_bytes

    def _hear(self, tick: int, group: "_Group", part: slice, out: Pcm) -> Int64:
        rows, table = self.rows[part], self._table
        size = group.codec.frame_bytes
        written = table.external_write[rows]
        self._arrived[part] = written != self._seen[rows]
        self._seen[rows] = written
        read = self._read[rows]
        available, chunk = written // size - read, -(-table.external_chunk[rows] // size)
        if (available > _TARGET).any():
            surplus = _surplus(available, chunk, fresh=read == 0)
            read, available = read + surplus, available - surplus
            self._dropped[rows] += surplus
        # What is older than the last piece has waited for that.
        waited = (available > chunk) | (table.tick_ns(tick) - table.external_ns[rows] >= _WAIT_NS)
        present = (available > 0) & (self._flowing[rows] | waited)
        self._flowing[rows] = present
        self._present[part] = present
        samples = np.zeros((len(rows), group.codec.samples), np.int16)
        if present.all():
            samples[:] = group.decode(rows, read)
        elif present.any():
            samples[present] = group.decode(rows[present], read[present])
        read, left = read + present, available - present
        self._depth[rows] = available
        # How much later the last piece could have come.
        slack = (left - chunk + 1) * TICK_NS + table.tick_ns(tick) - table.external_ns[rows]
        self._judge(tick, rows, slack)
        excess = np.flatnonzero(present & (self._excess[rows] > 0))
        if len(excess):
            quiet = excess[np.abs(samples[excess].astype(np.int32)).max(axis=1) <= _QUIET]
            quiet = quiet[left[quiet] > 0]
            if len(quiet):  # the next frame in its place
                samples[quiet] = group.decode(rows[quiet], read[quiet])
                read[quiet] += 1
                self._excess[rows[quiet]] -= 1
                self._dropped[rows[quiet]] += 1
        self._read[rows] = read
        concealed = group.concealment.fill(rows, samples, present)
        group.codec.widen(rows, samples, out)
        return rows[concealed]

    def _judge(self, tick: int, rows: Int64, slack: Int64) -> None:
        """Find how many frames of all that has stood in the ring for a while could be spared."""
        least = np.minimum(self._least[rows], slack)
        turn = (rows + tick) % _WINDOW == 0
        if turn.any():
            spare = np.maximum(least[turn] - _WAIT_NS, 0) // TICK_NS
            self._excess[rows[turn]] = np.where(least[turn] == _FAR, 0, spare)
            least[turn] = _FAR
        self._least[rows] = least


class _Group:
    """The lanes of one codec and rate, with their rings as slots of one frame each."""

    def __init__(self, table: Table, codec: ExternalCodec, rate_hz: int, lanes: int) -> None:
        self.codec = CodecGroup(codec, rate_hz, table.capacity, lanes)
        self.concealment = Concealment(table.capacity, self.codec.samples)
        self._item = np.dtype((np.void, self.codec.frame_bytes))
        self._incoming = self._slots(table.external_in, IN_FRAMES)
        self.outgoing = self._slots(table.external_out, OUT_FRAMES)

    def _slots(self, ring: Frames, frames: int) -> NDArray[np.void]:
        size = self._item.itemsize
        return np.ndarray((len(ring), frames), self._item, ring.data, strides=(ring.strides[0], size))

    def items(self, frames: Frames) -> NDArray[np.void]:
        """Frames (n, frame_bytes) as n items."""
        return np.ascontiguousarray(frames).view(self._item)[:, 0]

    def decode(self, rows: Int64, numbers: Int64) -> Pcm:
        """The frames of `rows` (n,) with these numbers."""
        items: NDArray[np.void] = self._incoming[rows, numbers % IN_FRAMES]
        return self.codec.decode(rows, items.view(np.uint8).reshape(len(rows), -1))


def _key(message: OpenExternal) -> tuple[ExternalCodec, int]:
    return message.codec, message.rate_hz


def _surplus(available: Int64, chunk: Int64, *, fresh: Flags) -> Int64:
    """Frames to be dropped where more are there than may be, if `chunk` of them come at a time."""
    keep = np.clip(chunk, _TARGET, _LARGEST_CAP)
    cap = np.where(fresh, keep, np.clip(chunk + _CAP - _TARGET, _CAP, _LARGEST_CAP))
    surplus: Int64 = np.where(available > cap, available - keep, 0)
    return surplus
