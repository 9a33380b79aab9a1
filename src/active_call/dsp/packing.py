"""What lanes say, cut into packets lane by lane: all but G.711 in packets of 20 ms.

G.711 of other durations is encoded for all lanes at once like any other, and its codes are cut (Cutter). Other
codecs are encoded packet by packet (Packer).
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from active_call.core.audio import Pcm
from active_call.dsp.coders import Encoder, make_encoder
from active_call.lanes.messages import RtpCodec, RtpFormat

_USUAL_MS: Final = 20
_CODES_PER_MS: Final = 8


@dataclass(slots=True)
class Packed:
    """A payload, and when its first sample was said: in 8 kHz since the lane opened."""

    time: int
    payload: bytes


@dataclass(slots=True)
class _Lane:
    form: RtpFormat
    ptime_ms: int
    encoder: Encoder
    length: int
    """Samples of a packet."""
    waiting: Pcm
    time: int = 0
    """Of the first sample that waits."""
    packed: list[Packed] = field(default_factory=list)


class Packer:
    """The lanes, of up to `capacity`, whose packets are made here; `rows` says which these are."""

    def __init__(self, capacity: int) -> None:
        self.rows = np.zeros(capacity, np.bool_)
        self._lanes: dict[int, _Lane] = {}

    @property
    def idle(self) -> bool:
        """Whether there are no such lanes."""
        return not self._lanes

    def open(self, row: int, form: RtpFormat, ptime_ms: int) -> None:
        """Send `form` from now on, in packets of `ptime_ms`, or of 20 ms if the codec has no such packets.

        A lane that does so already goes on. Raises MediaError for what can't be encoded here.
        """
        lane = self._lanes.get(row)
        if lane is not None and (lane.form, lane.ptime_ms) == (form, ptime_ms):
            return
        self.close(row)
        encoder = make_encoder(form)
        length_ms = ptime_ms if ptime_ms in encoder.lengths_ms else _USUAL_MS
        length = encoder.rate_hz * length_ms // 1000
        self._lanes[row] = _Lane(form, ptime_ms, encoder, length, np.zeros(0, np.int16))
        self.rows[row] = True

    def restart(self, row: int) -> None:
        """The lane's next packet is the first of a stream, if it has packets here."""
        lane = self._lanes.get(row)
        if lane is not None:
            self.close(row)
            self.open(row, lane.form, lane.ptime_ms)

    def close(self, row: int) -> None:
        """Forget the lane."""
        self._lanes.pop(row, None)
        self.rows[row] = False

    def is_wide(self, row: int) -> bool:
        """Whether the lane's codec takes 16 kHz; else it is 8 kHz."""
        return self._lanes[row].encoder.rate_hz > 8000

    def add(self, row: int, samples: Pcm, time: int) -> None:
        """A tick of what the lane says, at its codec's rate, which begins at `time` (8 kHz)."""
        lane = self._lanes[row]
        rate = lane.encoder.rate_hz // 8000
        if lane.time + len(lane.waiting) // rate != time:  # what waits is not what came before this
            lane.waiting, lane.time = lane.waiting[:0], time
        waiting = np.concatenate((lane.waiting, samples)) if len(lane.waiting) else samples
        while len(waiting) >= lane.length:
            lane.packed.append(Packed(lane.time, lane.encoder.encode(waiting[: lane.length])))
            waiting = waiting[lane.length :]
            lane.time += lane.length // rate
        lane.waiting = waiting.copy()

    def take(self, row: int) -> list[Packed]:
        """The packets that are complete since the last call."""
        lane = self._lanes[row]
        packed, lane.packed = lane.packed, []
        return packed


@dataclass(slots=True)
class _Codes:
    codec: RtpCodec
    length: int
    waiting: bytes = b""
    time: int = 0
    """Of the first code that waits."""


class Cutter:
    """The lanes, of up to `capacity`, whose packets of G.711 don't have 20 ms; `rows` says which these are."""

    def __init__(self, capacity: int) -> None:
        self.rows = np.zeros(capacity, np.bool_)
        self._lanes: dict[int, _Codes] = {}

    @property
    def idle(self) -> bool:
        """Whether there are no such lanes."""
        return not self._lanes

    def open(self, row: int, codec: RtpCodec, ptime_ms: int) -> None:
        """Cut packets of `ptime_ms` from now on. A lane that does so already goes on."""
        length = ptime_ms * _CODES_PER_MS
        lane = self._lanes.get(row)
        if lane is None or (lane.codec, lane.length) != (codec, length):
            self._lanes[row] = _Codes(codec, length)
            self.rows[row] = True

    def close(self, row: int) -> None:
        """Forget the lane."""
        self._lanes.pop(row, None)
        self.rows[row] = False

    def cut(self, row: int, codes: bytes, time: int) -> list[Packed]:
        """The packets that are complete with these codes, which begin at `time` (8 kHz)."""
        lane = self._lanes[row]
        if lane.time + len(lane.waiting) != time:  # what waits is not what came before this
            lane.waiting, lane.time = b"", time
        lane.waiting += codes
        packed = []
        while len(lane.waiting) >= lane.length:
            packed.append(Packed(lane.time, lane.waiting[: lane.length]))
            lane.waiting = lane.waiting[lane.length :]
            lane.time += lane.length
        return packed
