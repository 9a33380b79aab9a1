"""DTMF as RTP telephone events (RFC 4733), one digit per event.

Payload (§2.3): event (8 bits), end bit, reserved bit, volume (6 bits), duration (16 bits, timestamp units).
All packets of one event carry the RTP timestamp at which it began; the sequence numbers go on as usual.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_MS

DIGITS: Final = "0123456789*#ABCD"
"""Events 0 to 15 (§3.2)."""

_END: Final = 0x80
_VOLUME: Final = 10  # dBm0 below zero, §2.3.4
_LONGEST: Final = 0xFFFF
_SHORTEST_TICKS: Final = 2  # receivers may ignore less than 40 ms
_LONGEST_TICKS: Final = 500  # 10 s
_END_PACKETS: Final = 3  # §2.5.1.4


class DigitReceiver:
    """Tells each key press once, at the first packet that arrives of it, for `capacity` lanes."""

    def __init__(self, capacity: int) -> None:
        self._timestamp = [-1] * capacity
        self._event = [-1] * capacity
        self._duration = [0] * capacity

    def receive(self, row: int, timestamp: int, payload: bytes) -> str | None:
        """The digit that starts with this packet; None for repeats, stragglers, other events and garbage."""
        if len(payload) < 4 or payload[0] >= len(DIGITS):
            return None
        event = payload[0]
        duration = int.from_bytes(payload[2:4], "big")
        last = self._timestamp[row]
        ahead = (timestamp - last) & 0xFFFF_FFFF if last >= 0 else 1
        if ahead >= 0x8000_0000:  # a late packet of an earlier event
            return None
        known = ahead == 0
        # §2.5.1.3: an event longer than the field goes on in a segment that starts where the last one ended.
        continued = event == self._event[row] and self._duration[row] == ahead == _LONGEST
        self._timestamp[row] = timestamp
        self._event[row] = event
        self._duration[row] = duration
        return None if known or continued else DIGITS[event]

    def reset(self, row: int) -> None:
        """Forget the lane's last event: a new lane or a new RTP stream."""
        self._timestamp[row] = self._event[row] = -1
        self._duration[row] = 0


@dataclass(slots=True)
class _Key:
    event: int
    ticks: int
    gap_ticks: int


@dataclass(slots=True)
class _Sending:
    """Keys still to send; `step` counts the ticks since the first one began at RTP time `timestamp`."""

    keys: deque[_Key] = field(default_factory=deque)
    step: int = 0
    timestamp: int = 0


class DigitSender:
    """Sends queued digits, one packet per tick and lane, in place of audio."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lanes: dict[int, _Sending] = {}

    def start(self, row: int, digits: str, duration_ms: int, gap_ms: int) -> None:
        """Queue `digits` behind what is still being sent. Characters that are no DTMF digits are skipped.

        Durations are rounded up to ticks, at least 40 ms and at most 10 s. The two repeats of the end packet
        are sent within the gap.
        """
        if not 0 <= row < self._capacity:
            raise ValueError(f"no lane {row}")
        ticks = min(max(-(-duration_ms // TICK_MS), _SHORTEST_TICKS), _LONGEST_TICKS)
        gap_ticks = max(-(-gap_ms // TICK_MS), _END_PACKETS - 1)
        keys = [_Key(DIGITS.index(digit), ticks, gap_ticks) for digit in digits.upper() if digit in DIGITS]
        if keys:
            self._lanes.setdefault(row, _Sending()).keys.extend(keys)

    def rows(self) -> NDArray[np.int64]:
        """The lanes that `next` must be called for in this tick."""
        return np.fromiter(self._lanes, np.int64, len(self._lanes))

    def next(self, row: int, timestamp: int, clock_hz: int = 8000) -> tuple[bytes, bool, int] | None:
        """This tick's packet of the lane: payload, marker bit and the RTP timestamp of the event's start.

        `timestamp` is the RTP timestamp of this tick, by a clock of `clock_hz`. None: send audio, because the
        lane is in a gap or idle. An event longer than its field goes on in segments (§2.5.1.3): the last
        packet of each but the last has the longest duration, and the next begins where it ended.
        """
        lane = self._lanes.get(row)
        if lane is None:
            return None
        key = lane.keys[0]
        step = lane.step
        if step == 0:
            lane.timestamp = timestamp
        lane.step += 1
        if lane.step == key.ticks + key.gap_ticks:
            self._finish_key(row, lane)
        if step >= key.ticks + _END_PACKETS - 1:
            return None
        sent_ticks = min(step + 1, key.ticks)
        flags = _VOLUME | (_END if sent_ticks == key.ticks else 0)
        per_tick = clock_hz * TICK_MS // 1000
        lasted = sent_ticks * per_tick
        # The segment of the packet before, which has to be filled first; the end is repeated as it is.
        begun = (lasted - (1 if step >= key.ticks else per_tick)) // _LONGEST * _LONGEST
        duration = min(lasted - begun, _LONGEST)
        if begun + duration < lasted:
            flags &= ~_END
        stamp = (lane.timestamp + begun) & 0xFFFF_FFFF
        return bytes((key.event, flags)) + duration.to_bytes(2, "big"), step == 0, stamp

    def reset(self, row: int) -> None:
        """Drop all that is queued for the lane."""
        self._lanes.pop(row, None)

    def _finish_key(self, row: int, lane: _Sending) -> None:
        lane.keys.popleft()
        lane.step = 0
        if not lane.keys:
            del self._lanes[row]
