"""Packets that are decoded one by one, in the order in which they are played: all but plain G.711.

When a packet arrives it is kept here, and handles for each 10 ms of it go through the jitter buffer in its
place, with a timestamp in 8 kHz; so what is late, double, reordered or drifting is found by the jitter buffer,
for all codecs alike. When its first handle is played the packet is decoded. A handle that is missing is
concealed by the decoder. The handle of part p (from 0) of packet n is n * 256 + p + 1.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import Pcm
from active_call.dsp.coders import Decoder, duration_ms, make_decoder
from active_call.dsp.jitter import SILENT_LEVEL, JitterBuffer
from active_call.dsp.rtp import HALF_FRAME, MOST_HANDLES
from active_call.lanes.messages import RtpFormat

Int64: TypeAlias = NDArray[np.int64]

_KEPT: Final = 64
"""Packets per lane: as many of 10 ms as the jitter buffer has room for."""
_PART_MS: Final = 10
_MOST_CONCEALED: Final = 10
"""Parts: 100 ms."""


class Unpacker:
    """The lanes of a jitter buffer that have handles; `rows` says which these are."""

    def __init__(self, capacity: int, jitter: JitterBuffer) -> None:
        self.rows = np.zeros(capacity, np.bool_)
        self._jitter = jitter
        self._lanes: dict[int, _Lane] = {}

    @property
    def idle(self) -> bool:
        """Whether there are no such lanes."""
        return not self._lanes

    def open(self, row: int, queued: RtpFormat | None = None) -> None:
        """From now on the lane's packets are kept; what is queued, codes of `queued`, becomes such packets."""
        self._lanes[row] = lane = _Lane()
        self.rows[row] = True
        if queued is not None:
            self._jitter.to_handles(row, lambda codes: lane.keep(queued, -1, codes, 2))

    def close(self, row: int) -> None:
        """Forget the lane's packets."""
        self._lanes.pop(row, None)
        self.rows[row] = False

    def keep(
        self, tick: int, row: int, form: RtpFormat, ssrc: int, timestamp: int, payload: bytes
    ) -> tuple[int, Int64]:
        """Keep a packet. Returns what goes through the jitter buffer in its place: timestamp and handles."""
        lane = self._lanes[row]
        stamp, restarted = lane.unwrap(form.clock_hz, ssrc, timestamp)
        if restarted:
            self._jitter.restart(tick, row, stamp)
            self._jitter.clock_hz[row] = form.clock_hz
        parts = min(duration_ms(form, payload) // _PART_MS, MOST_HANDLES)
        return stamp, lane.keep(form, ssrc, payload, parts)

    def play(self, tick: int, row: int, handles: tuple[int, int], *, paused: bool) -> tuple[Pcm, bool]:
        """What the lane hears at `tick`: 160 or 320 samples, and whether any of them are concealed.

        `paused`: the peer sends nothing on purpose, so what is missing is silence.
        """
        lane = self._lanes[row]
        samples, concealed = lane.play(*handles, lambda: self._jitter.following(tick, row), paused=paused)
        self._jitter.quiet[row] = max(int(samples.max()), -int(samples.min())) <= SILENT_LEVEL
        return samples, concealed


class _Lane:
    """The packets of one lane, and the decoder of its stream."""

    def __init__(self) -> None:
        self._clock_hz = 8000
        self._stamp = 0
        self._ssrc = -1
        self._packets: list[tuple[int, RtpFormat, int, bytes] | None] = [None] * _KEPT
        self._count = 0
        self._decoder: Decoder | None = None
        self._stream: tuple[RtpFormat, int] | None = None
        self._number = -1
        """The packet that was decoded last: `_samples`."""
        self._samples: Pcm = np.zeros(0, np.int16)
        self._part = HALF_FRAME
        """Samples of 10 ms."""
        self._missing = _MOST_CONCEALED

    def unwrap(self, clock_hz: int, ssrc: int, timestamp: int) -> tuple[int, bool]:
        """A timestamp at 8 kHz in whole 10 ms, modulo 2^32, and whether it has nothing to do with those before.

        (Another SSRC starts over in the jitter buffer by itself.)
        """
        restarted = clock_hz != self._clock_hz or self._ssrc < 0
        if restarted or ssrc != self._ssrc:
            self._stamp = timestamp
            self._ssrc, self._clock_hz = ssrc, clock_hz
        else:
            self._stamp += (timestamp - self._stamp + (1 << 31) & 0xFFFF_FFFF) - (1 << 31)
        stamp = self._stamp * 8000 // clock_hz
        return (stamp + HALF_FRAME // 2) // HALF_FRAME * HALF_FRAME & 0xFFFF_FFFF, restarted

    def keep(self, form: RtpFormat, ssrc: int, payload: bytes, parts: int) -> Int64:
        """The handles of a packet."""
        number = self._count
        self._count += 1
        self._packets[number % _KEPT] = (number, form, ssrc, payload)
        return number * 256 + 1 + np.arange(parts)

    def play(self, first: int, second: int, following: Callable[[], int], *, paused: bool) -> tuple[Pcm, bool]:
        if not first and not second:
            return self._conceal(2, following(), paused=paused)
        concealed = [False, False]
        if (earlier := self._take(first)) is None:
            earlier, concealed[0] = self._conceal(1, second, paused=paused)
        if (later := self._take(second)) is None:
            later, concealed[1] = self._conceal(1, following(), paused=paused)
        if len(earlier) != len(later):  # the codec changed just here
            earlier = np.repeat(earlier, 2) if len(earlier) < len(later) else earlier[::2]
        return np.concatenate((earlier, later)), any(concealed)

    def _take(self, handle: int) -> Pcm | None:
        """10 ms; None if they aren't there."""
        number, part = handle // 256, handle % 256 - 1
        if part < 0:
            return None
        if number != self._number:
            kept = self._packets[number % _KEPT]
            if kept is None or kept[0] != number:
                return None
            self._decode(*kept)
        samples = self._samples[part * self._part : (part + 1) * self._part]
        if len(samples) < self._part:
            return None
        self._missing = 0
        return samples

    def _decode(self, number: int, form: RtpFormat, ssrc: int, payload: bytes) -> None:
        if self._decoder is None or self._stream != (form, ssrc):
            self._decoder = make_decoder(form)
            self._stream = form, ssrc
            self._part = self._decoder.rate_hz * _PART_MS // 1000
        self._number, self._samples = number, self._decoder.decode(payload)

    def _conceal(self, parts: int, following: int, *, paused: bool) -> tuple[Pcm, bool]:
        """So many parts of 10 ms that are missing."""
        decoder, count = self._decoder, parts * self._part
        if decoder is None or decoder.resting or paused or self._missing >= _MOST_CONCEALED:
            self._missing = _MOST_CONCEALED
            return np.zeros(count, np.int16), False
        self._missing += parts
        kept = self._packets[following // 256 % _KEPT] if following % 256 == 1 else None
        known = kept is not None and kept[0] == following // 256 and kept[1:3] == self._stream
        samples = decoder.conceal(count, kept[3] if kept and known else None)
        if self._missing >= _MOST_CONCEALED:
            samples = (samples * np.linspace(1, 0, count)).astype(np.int16)
        return samples, True
