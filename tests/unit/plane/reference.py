"""One lane, sample by sample and in double precision: what the tick must amount to."""

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import Pcm
from active_call.dsp.g711 import G711, SILENCE
from active_call.lanes.messages import AdjustLane

_LEVELS = (1.0, 0.6, 0.25, 0.0)
_DELAY = 2


def _taps() -> NDArray[np.float64]:
    time = np.arange(24) - 11.5
    window = np.i0(5.2 * np.sqrt(1 - (time / 12) ** 2)) / np.i0(5.2)
    taps = np.sinc(time) * window
    normalised: NDArray[np.float64] = taps / taps.sum()
    return normalised


class ReferenceLane:
    """Plays, flushes, receives in order with losses; no adaptation of delay."""

    def __init__(self, law: int) -> None:
        self.law = law
        self.adjusted = AdjustLane(0, 0)
        self._taps = _taps()
        self._queue: list[int] = []
        self._fade: tuple[int, int] | None = None  # samples done, length
        self._dropped = 0
        self._flush: int | None = None
        self._played: list[int] = [0] * 46
        self._heard: list[int] = [0] * 23
        self._packets: dict[int, bytes] = {}
        self._tick = 0
        self._last: list[int] = []
        self._missing = len(_LEVELS)

    def play(self, samples: Pcm) -> None:
        self._queue += samples.tolist()

    def flush(self, fade: int) -> None:
        if self._queue:
            self._flush = fade
            self._dropped = len(self._queue)

    def receive(self, number: int, codes: bytes) -> None:
        self._packets[number + _DELAY] = codes

    def tick(self) -> tuple[Pcm, NDArray[np.uint8], Pcm]:
        """Samples played, codes sent, samples heard."""
        played = self._shaped(self._next_played())
        heard = self._next_heard()
        if self.adjusted.mute_received:
            heard = np.zeros(320, np.int16)
        self._tick += 1
        return played, self._encode(played), heard

    def _shaped(self, played: Pcm) -> Pcm:
        gain = 0.0 if self.adjusted.mute_sent else self.adjusted.gain
        return np.array([max(-32_768, min(32_767, round(gain * int(value)))) for value in played], np.int16)

    def _next_played(self) -> Pcm:
        out = [0] * 320
        if self._flush is not None and self._fade is None:
            self._fade = (0, 0 if self.adjusted.paused else min(self._flush, self._dropped))
        self._flush = None
        if self._fade is None and self.adjusted.paused:
            return np.array(out, np.int16)
        if self._fade is None:
            part = self._queue[:320]
            out[: len(part)] = part
            del self._queue[:320]
            return np.array(out, np.int16)
        done, length = self._fade
        for i in range(min(320, length - done)):
            out[i] = int(self._queue.pop(0) * (1 - (done + i + 1) / length))
            self._dropped -= 1
        done = min(length, done + 320)
        self._fade = (done, length)
        if done == length:
            del self._queue[: self._dropped]
            self._fade = None
        return np.array(out, np.int16)

    def _encode(self, played: Pcm) -> NDArray[np.uint8]:
        quiet = not any(self._played) and not played.any()
        self._played = (self._played + played.tolist())[-366:]
        odd, even = self._played[1::2], self._played[0::2]
        narrow = [
            0.5 * even[i + 12] + 0.5 * sum(odd[i + k] * self._taps[k] for k in range(24)) for i in range(160)
        ]
        self._played = self._played[-46:]
        codes = np.full(160, SILENCE[self.law], np.uint8)
        if quiet:
            return codes
        samples = np.clip(np.rint(narrow), -32_768, 32_767).astype(np.int16)[None]
        G711(1, 160).encode(samples, np.array([self.law]), codes[None])
        return codes

    def _next_heard(self) -> Pcm:
        codes = self._packets.pop(self._tick, None)
        if codes is not None:
            out = np.empty((1, 160), np.int16)
            narrow = (
                G711(1, 160)
                .decode(np.frombuffer(codes, np.uint8)[None].copy(), np.array([self.law]), out)[0]
                .tolist()
            )
            self._last, self._missing = narrow, 0
        else:
            narrow = self._concealed() or [0] * 160
        line = self._heard + narrow
        self._heard = line[-23:]
        out16 = []
        for i in range(160):
            out16 += [line[i + 11], sum(line[i + k] * self._taps[k] for k in range(24))]
        return np.clip(np.rint(out16), -32_768, 32_767).astype(np.int16)

    def _concealed(self) -> list[int]:
        """The last frame once more, back and forth and quieter; nothing before the first."""
        if self._missing >= len(_LEVELS) - 1:
            return [0] * len(self._last)
        self._missing += 1
        start, end = _LEVELS[self._missing - 1], _LEVELS[self._missing]
        last = self._last if self._missing % 2 == 0 else self._last[::-1]
        return [int(value * (start + (end - start) * i / (len(last) - 1))) for i, value in enumerate(last)]


class ReferenceExternal(ReferenceLane):
    """The same for an external lane of 16 kHz PCM that hears nothing quiet, so that no frame is spared."""

    def __init__(self) -> None:
        super().__init__(0)
        self._frames: list[list[int]] = []
        self._chunk = 0
        self._flowing = False
        self._waited = 0
        self._fresh = True

    def feed(self, samples: Pcm) -> None:
        self._frames += samples.reshape(-1, 320).tolist()
        self._chunk = len(samples) // 320
        self._waited = 0

    def _next_heard(self) -> Pcm:
        frames = self._frames
        most = max(2, self._chunk) if self._fresh else max(10, self._chunk + 8)
        if len(frames) > most:
            del frames[: len(frames) - max(2, self._chunk)]
            self._fresh = False
        self._waited += 1
        self._flowing = bool(frames) and (self._flowing or len(frames) > self._chunk or self._waited > 1)
        if self._flowing:
            self._fresh, self._missing = False, 0
            self._last = frames.pop(0)
            return np.array(self._last, np.int16)
        return np.array(self._concealed() or [0] * 320, np.int16)
