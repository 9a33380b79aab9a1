"""Voice activity detection for all lanes, in a thread of its own.

The tick hands over one copy of its audio and goes on; everything else, settings included, travels on the same
queue and is owned by the thread. onnxruntime releases the interpreter lock while it computes.
"""

import logging
import threading
from collections import deque
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final, TypeAlias

import msgspec
import numpy as np
import webrtcvad
from numpy.typing import NDArray

from active_call.core.audio import TICK_MS, TICK_SAMPLES, Pcm
from active_call.core.errors import MediaError
from active_call.dsp.energy import EnergyDetector
from active_call.dsp.speech import Speech
from active_call.lanes.messages import ConfigureVad, SpeechEnded, SpeechStarted, VadKind
from active_call.plane.priority import leave_real_time
from active_call.plane.silero import SileroLanes, SileroModel

_log = logging.getLogger(__name__)

_RATES: Final = {160: 8000, 320: 16_000}  # samples per tick -> Hz
_MOST_TICKS_BEHIND: Final = 25
_WEBRTC_MODE: Final = 3  # least false alarms
_OFF, _SILERO, _WEBRTC, _ENERGY = range(4)
_KINDS: Final[dict[VadKind | None, int]] = {None: _OFF, "silero": _SILERO, "webrtc": _WEBRTC, "energy": _ENERGY}


@dataclass(frozen=True, slots=True)
class _Configure:
    row: int
    message: ConfigureVad | None


@dataclass(frozen=True, slots=True)
class _Audio:
    rows: NDArray[np.int64]
    audio: Pcm
    positions: NDArray[np.int64]
    tick: int


_Item: TypeAlias = _Configure | _Audio | None


class VadEngine:
    """Tells when the callers of `capacity` lanes speak.

    With `threaded` False everything happens within `feed`, for tests.
    """

    def __init__(self, capacity: int, *, threaded: bool = True) -> None:
        self._capacity = capacity
        self._detectors: _Detectors = _Detectors(capacity)
        self._items: SimpleQueue[_Item] = SimpleQueue()
        self._behind = False
        self._thread = threading.Thread(target=self._work, name="vad", daemon=True) if threaded else None
        if self._thread:
            self._thread.start()

    def configure(self, row: int, message: ConfigureVad, position: int) -> None:
        """Start the lane's detection anew with these settings, or stop it, from lane `position` on.

        An utterance that was being told is ended. A model that can't be loaded is replaced by `webrtc`.
        """
        del position  # the audio that follows says where it is
        self._put(_Configure(row, message))

    def remove(self, row: int) -> None:
        """Forget the lane without a further event."""
        self._put(_Configure(row, None))

    def feed(self, rows: NDArray[np.int64], audio: Pcm, positions: NDArray[np.int64], tick: int) -> None:
        """Take one tick of `rows`: shape (n, 160) at 8 kHz or (n, 320) at 16 kHz, copied.

        `positions` are the lane positions of the first samples. Lanes without detection may be among them.
        A tick may be fed in several parts, each lane once.
        """
        if self._thread and self._items.qsize() > _MOST_TICKS_BEHIND:
            if not self._behind:
                _log.warning("speech detection can't keep up: audio is skipped")
            self._behind = True
            return
        self._behind = False
        self._put(_Audio(rows.copy(), audio.copy(), positions.copy(), tick))

    def collect(self, tick: int) -> list[SpeechStarted | SpeechEnded]:
        """What has been found since the last call, told as of `tick`."""
        found = self._detectors.found
        return [msgspec.structs.replace(found.popleft(), tick=tick) for _ in range(len(found))]

    def counters(self) -> tuple[int, int]:
        """Windows given to the Silero model, and windows that the gate spared."""
        return self._detectors.counters()

    def warm_up(self) -> None:
        """Load the Silero model and run it once, so that no call has to wait for it."""
        self._detectors.load_model()

    def close(self) -> None:
        """Stop the thread after what is queued."""
        if self._thread:
            self._items.put(None)
            self._thread.join()
            self._thread = None

    def _put(self, item: _Configure | _Audio) -> None:
        if self._thread:
            self._items.put(item)
        else:
            self._detectors.take(item)

    def _work(self) -> None:
        leave_real_time()
        while (item := self._items.get()) is not None:
            try:
                self._detectors.take(item)
            except Exception:  # one bad window must not leave all calls deaf
                _log.exception("speech detection failed in a tick")


class _Detectors:
    """All that the thread owns; `found` is what the tick takes away."""

    def __init__(self, capacity: int) -> None:
        self.found: deque[SpeechStarted | SpeechEnded] = deque()
        self._capacity = capacity
        self._kind = np.zeros(capacity, np.int8)
        self._speech = Speech(capacity)
        self._energy = EnergyDetector(capacity)
        self._webrtc: dict[int, webrtcvad.Vad] = {}
        self._silero: dict[int, SileroLanes] | None = None  # by rate
        self._model_failed = False
        self._loading = threading.Lock()

    def take(self, item: _Configure | _Audio) -> None:
        if isinstance(item, _Configure):
            self._configure(item.row, item.message)
        else:
            self._feed(item)

    def counters(self) -> tuple[int, int]:
        lanes = (self._silero or {}).values()
        return sum(lane.windows_run for lane in lanes), sum(lane.windows_gated for lane in lanes)

    def load_model(self) -> dict[int, SileroLanes] | None:
        with self._loading:
            if self._silero is None and not self._model_failed:
                try:
                    model = SileroModel()
                    model.warm_up()
                except MediaError as error:
                    _log.error("%s; lanes that ask for it get webrtc", error)
                    self._model_failed = True
                else:
                    self._silero = {
                        rate_hz: SileroLanes(model, self._capacity, rate_hz, self._speech)
                        for rate_hz in _RATES.values()
                    }
            return self._silero

    def _configure(self, row: int, message: ConfigureVad | None) -> None:
        self._webrtc.pop(row, None)
        for lanes in (self._silero or {}).values():
            lanes.remove(row)
        self._kind[row] = _OFF
        ended = self._speech.finish(row, 0)
        if message is None:
            return
        self.found.extend(ended)
        self._speech.configure(row, message)
        kind = _KINDS[message.kind]
        if kind == _SILERO:
            silero = self.load_model() or {}
            for lanes in silero.values():
                lanes.configure(row, gate=message.gate)
            kind = _SILERO if silero else _WEBRTC
        if kind == _WEBRTC:
            self._webrtc[row] = webrtcvad.Vad(_WEBRTC_MODE)
        if kind == _ENERGY:
            self._energy.reset(row)
        self._kind[row] = kind

    def _feed(self, item: _Audio) -> None:
        rate_hz = _RATES[item.audio.shape[1]]
        kinds = self._kind[item.rows]
        for kind in (_SILERO, _WEBRTC, _ENERGY):
            chosen = np.flatnonzero(kinds == kind)
            if not len(chosen):
                continue
            rows, audio, positions = item.rows[chosen], item.audio[chosen], item.positions[chosen]
            if kind == _SILERO and self._silero:
                self.found.extend(self._silero[rate_hz].feed(rows, audio, positions, item.tick))
                continue
            if kind == _WEBRTC:
                probabilities = self._ask_webrtc(rows, audio, rate_hz)
            else:
                probabilities = self._energy.probabilities(rows, audio)
            self.found.extend(self._speech.update(rows, probabilities, positions, TICK_SAMPLES, item.tick))

    def _ask_webrtc(self, rows: NDArray[np.int64], audio: Pcm, rate_hz: int) -> NDArray[np.float32]:
        frame_bytes = rate_hz * TICK_MS // 1000 * 2
        data = audio.tobytes()
        frames = (data[start : start + frame_bytes] for start in range(0, len(data), frame_bytes))
        speech = [
            self._webrtc[row].is_speech(frame, rate_hz)
            for row, frame in zip(rows.tolist(), frames, strict=True)
        ]
        return np.array(speech, np.float32)
