"""DTMF as tones in the audio (ITU-T Q.23): each key is a low and a high frequency at once."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from active_call.core.audio import SAMPLE_RATE, TICK_SAMPLES, Pcm, ms_to_samples
from active_call.dsp.dtmf import DIGITS

LOW_HZ: Final = (697, 770, 852, 941)
HIGH_HZ: Final = (1209, 1336, 1477, 1633)
KEYPAD: Final = "123A456B789C*0#D"
"""The key of each pair: four high frequencies for each low one."""

_AMPLITUDE: Final = 32_768 * 10 ** (-13 / 20)
"""Of each of the two: together -10 dB below the loudest sine."""
_FADE: Final = ms_to_samples(2)
_SHORTEST_MS: Final = 40
"""Of tone and of pause; receivers may ignore what is shorter (Q.24)."""
_LONGEST_MS: Final = 8_000


def dual_tone(key: str, samples: int) -> Pcm:
    """So many 16 kHz samples of one of 0-9 * # A-D, at -10 dBFS, with soft ends."""
    low, high = divmod(KEYPAD.index(key), 4)
    time = np.arange(samples) / SAMPLE_RATE
    wave = np.sin(2 * np.pi * LOW_HZ[low] * time) + np.sin(2 * np.pi * HIGH_HZ[high] * time)
    ends = np.minimum(np.arange(samples) + 1, samples - np.arange(samples)) / _FADE
    tone: Pcm = np.rint(wave * np.minimum(ends, 1.0) * _AMPLITUDE).astype(np.int16)
    return tone


@dataclass(slots=True)
class _Pressing:
    """Keys still to press, as (key, samples of tone, samples of pause); `rest` is audio of the one pressed."""

    keys: deque[tuple[str, int, int]] = field(default_factory=deque)
    rest: Pcm = field(default_factory=lambda: np.zeros(0, np.int16))


class ToneSender:
    """Presses queued keys on any number of lanes, a tick at a time."""

    def __init__(self) -> None:
        self._lanes: dict[int, _Pressing] = {}
        self._ticks: dict[int, Pcm] = {}

    def start(self, row: int, digits: str, duration_ms: int, gap_ms: int) -> None:
        """Queue `digits` behind those that still sound. Characters that are no keys are skipped.

        Tones last 40 ms to 8 s, pauses at least 40 ms.
        """
        tone = ms_to_samples(min(max(duration_ms, _SHORTEST_MS), _LONGEST_MS))
        pause = ms_to_samples(min(max(gap_ms, _SHORTEST_MS), _LONGEST_MS))
        keys = [(digit, tone, pause) for digit in digits.upper() if digit in DIGITS]
        if keys:
            self._lanes.setdefault(row, _Pressing()).keys.extend(keys)

    @property
    def rows(self) -> list[int]:
        """The lanes that have keys to press."""
        return list(self._lanes)

    def busy(self, row: int) -> bool:
        """Whether the lane has keys to press."""
        return row in self._lanes

    def sounding(self, row: int) -> bool:
        """Whether the first of the lane's keys has begun."""
        lane = self._lanes.get(row)
        return lane is not None and len(lane.rest) > 0

    def tick(self, row: int) -> Pcm:
        """The tick of the lane that is to be sent now, shape (320,); the same until `advance`."""
        if row not in self._ticks:
            lane = self._lanes[row]
            while len(lane.rest) < TICK_SAMPLES and lane.keys:
                key, tone, pause = lane.keys.popleft()
                lane.rest = np.concatenate((lane.rest, dual_tone(key, tone), np.zeros(pause, np.int16)))
            samples = lane.rest[:TICK_SAMPLES]
            self._ticks[row] = np.pad(samples, (0, TICK_SAMPLES - len(samples)))
        return self._ticks[row]

    def advance(self) -> list[int]:
        """The ticks asked for were sent. Returns the lanes that have pressed all their keys."""
        done = []
        for row in self._ticks:
            lane = self._lanes[row]
            lane.rest = lane.rest[TICK_SAMPLES:]
            if not len(lane.rest) and not lane.keys:
                del self._lanes[row]
                done.append(row)
        self._ticks.clear()
        return done

    def reset(self, row: int) -> None:
        """Drop all that is queued for the lane."""
        self._lanes.pop(row, None)
        self._ticks.pop(row, None)
