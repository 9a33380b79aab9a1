"""The codecs of external lanes: 20 ms frames of one codec and rate to 16 kHz and back, for many lanes at once.

Decoding has two steps, so that what is missing can be concealed between them: to samples at the codec's own
rate, then to 16 kHz. G.711 and PCM are one operation for all lanes; G.722 is a call per lane (11 us to decode a
frame, 19 us to encode one).
"""

from typing import Protocol, TypeAlias

import numpy as np
from G722 import G722
from numpy.typing import NDArray

from active_call.core.audio import SAMPLE_RATE, TICK_MS, Pcm
from active_call.dsp.g711 import A_LAW, G711, MU_LAW
from active_call.dsp.polyphase import Polyphase
from active_call.dsp.resample import Downsampler, Upsampler
from active_call.lanes.external import ExternalCodec, frame_bytes

Frames: TypeAlias = NDArray[np.uint8]
Int64: TypeAlias = NDArray[np.int64]


class _Payload(Protocol):
    """Frames (n, bytes) to samples (n, samples) at the codec's rate, and back."""

    def open(self, row: int) -> None: ...
    def close(self, row: int) -> None: ...
    def decode(self, rows: Int64, frames: Frames) -> Pcm: ...
    def encode(self, rows: Int64, samples: Pcm) -> Frames: ...


class _Rate(Protocol):
    """Samples (n, ...) of `rows` at one rate to `out` (n, ...) at another."""

    def reset(self, row: int) -> None: ...
    def run(self, rows: Int64, samples: Pcm, out: Pcm) -> None: ...


class CodecGroup:
    """Lanes of one codec and rate, up to `lanes` of `capacity` rows at a time."""

    def __init__(self, codec: ExternalCodec, rate_hz: int, capacity: int, lanes: int) -> None:
        self.frame_bytes = frame_bytes(codec, rate_hz)
        self.rate_hz = {"pcm": rate_hz, "g722": SAMPLE_RATE}.get(codec, 8000)
        self.samples = self.rate_hz * TICK_MS // 1000
        """Samples of a frame at the codec's own rate."""
        self._payload = _payload(codec, lanes, self.samples)
        self._widen, self._narrow = _rates(self.rate_hz, capacity, lanes)

    def open(self, row: int) -> None:
        """A fresh lane: nothing was heard or said before."""
        self._payload.open(row)
        for converter in (self._widen, self._narrow):
            if converter is not None:
                converter.reset(row)

    def close(self, row: int) -> None:
        """Drop what is kept for the row."""
        self._payload.close(row)

    def decode(self, rows: Int64, frames: Frames) -> Pcm:
        """Frames (n, frame_bytes), contiguous, of `rows` (n,) to samples (n, samples)."""
        return self._payload.decode(rows, frames)

    def widen(self, rows: Int64, samples: Pcm, out: Pcm) -> None:
        """Decoded samples (n, samples) of `rows` (n,) to 16 kHz in `out` (n, 320)."""
        if self._widen is None:
            out[:] = samples
        else:
            self._widen.run(rows, samples, out)

    def encode(self, rows: Int64, wide: Pcm) -> Frames:
        """16 kHz samples (n, 320), contiguous, of `rows` (n,) to frames (n, frame_bytes)."""
        if self._narrow is None:
            return self._payload.encode(rows, wide)
        samples = np.empty((len(rows), self.samples), np.int16)
        self._narrow.run(rows, wide, samples)
        return self._payload.encode(rows, samples)


class _LinearPcm:
    """16-bit little-endian, as NumPy has it here."""

    def open(self, row: int) -> None:
        del row

    close = open

    def decode(self, rows: Int64, frames: Frames) -> Pcm:
        del rows
        return frames.view("<i2")

    def encode(self, rows: Int64, samples: Pcm) -> Frames:
        del rows
        return np.ascontiguousarray(samples, "<i2").view(np.uint8)


class _Companded:
    """G.711 of one law."""

    def __init__(self, law: int, lanes: int, samples: int) -> None:
        self._law = law
        self._samples = samples
        self._g711 = G711(lanes, samples)

    def open(self, row: int) -> None:
        del row

    close = open

    def decode(self, rows: Int64, frames: Frames) -> Pcm:
        out = np.empty((len(rows), self._samples), np.int16)
        return self._g711.decode(frames, np.full(len(rows), self._law), out)

    def encode(self, rows: Int64, samples: Pcm) -> Frames:
        out = np.empty((len(rows), self._samples), np.uint8)
        return self._g711.encode(samples, np.full(len(rows), self._law), out)


class _SubBand:
    """G.722 at 64 kbit/s: a decoder and an encoder per lane."""

    def __init__(self) -> None:
        self._coders: dict[int, tuple[G722, G722]] = {}

    def open(self, row: int) -> None:
        self._coders[row] = (G722(SAMPLE_RATE, 64_000), G722(SAMPLE_RATE, 64_000))

    def close(self, row: int) -> None:
        self._coders.pop(row, None)

    def decode(self, rows: Int64, frames: Frames) -> Pcm:
        coders = self._coders
        decoded = [
            np.frombuffer(coders[row][0].decode(frame.tobytes()), np.int16)
            for row, frame in zip(rows.tolist(), frames, strict=True)
        ]
        return np.stack(decoded) if decoded else np.empty((0, 320), np.int16)

    def encode(self, rows: Int64, samples: Pcm) -> Frames:
        coders = self._coders
        data = b"".join(coders[row][1].encode(part) for row, part in zip(rows.tolist(), samples, strict=True))
        return np.frombuffer(data, np.uint8).reshape(len(rows), samples.shape[1] // 2)


class _Halving:
    """A Downsampler whose tick is never run again."""

    def __init__(self, capacity: int, lanes: int) -> None:
        self._downsampler = Downsampler(capacity, lanes)

    def reset(self, row: int) -> None:
        self._downsampler.clear(np.array([row]))

    def run(self, rows: Int64, samples: Pcm, out: Pcm) -> None:
        self._downsampler.run(rows, samples, out)
        self._downsampler.advance(rows, samples)


def _payload(codec: ExternalCodec, lanes: int, samples: int) -> _Payload:
    match codec:
        case "pcm":
            return _LinearPcm()
        case "g722":
            return _SubBand()
        case "pcmu" | "pcma":
            return _Companded(MU_LAW if codec == "pcmu" else A_LAW, lanes, samples)


def _rates(rate_hz: int, capacity: int, lanes: int) -> tuple[_Rate | None, _Rate | None]:
    """To 16 kHz and from it."""
    if rate_hz == SAMPLE_RATE:
        return None, None
    if rate_hz == 8000:
        return Upsampler(capacity, lanes), _Halving(capacity, lanes)
    return Polyphase(capacity, lanes, rate_hz, SAMPLE_RATE), Polyphase(capacity, lanes, SAMPLE_RATE, rate_hz)
