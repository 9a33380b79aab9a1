"""Decoders and encoders of one RTP stream each: payloads of any codec to samples at its own rate, and back.

For lanes whose packets have to be taken one by one. G.711 in packets of 20 ms, and external lanes, are done
for many lanes at once: see `g711` and `codecs`.
"""

from typing import Final, Protocol

import numpy as np
from G722 import G722

from active_call.core.audio import SAMPLE_RATE, Pcm
from active_call.core.errors import MediaError
from active_call.dsp import g729, opus
from active_call.dsp.concealment import Echo
from active_call.dsp.g711 import A_LAW, G711, MU_LAW
from active_call.dsp.rtp import MAX_PAYLOAD
from active_call.lanes.messages import RtpFormat

LAWS: Final = {"pcmu": MU_LAW, "pcma": A_LAW}
_L16_RATES: Final = (8000, SAMPLE_RATE)
_LENGTHS_MS: Final = (10, 20, 30, 40, 50, 60)


class Decoder(Protocol):
    """Payloads, in order, to samples at `rate_hz` (8000 or 16000)."""

    @property
    def rate_hz(self) -> int: ...
    @property
    def resting(self) -> bool:
        """The last payload began a pause: nothing is missing until the next."""

    def decode(self, payload: bytes) -> Pcm:
        """The samples of a payload; none if it makes no sense."""

    def conceal(self, count: int, following: bytes | None = None) -> Pcm:
        """`count` samples (whole 10 ms) in place of a lost payload; `following` is the next, if known."""


class Encoder(Protocol):
    """Samples at `rate_hz` to payloads."""

    @property
    def rate_hz(self) -> int: ...
    @property
    def lengths_ms(self) -> tuple[int, ...]:
        """How long a payload can be."""

    def encode(self, samples: Pcm) -> bytes:
        """One payload. May raise ValueError if it has none of `lengths_ms`."""


def make_decoder(form: RtpFormat) -> Decoder:
    """A decoder at the start of a stream. Raises MediaError for what can't be decoded here."""
    match form.codec:
        case "opus":
            return opus.OpusDecoder()
        case "g729":
            return g729.G729Decoder()
    return _Plain(form)


def make_encoder(form: RtpFormat) -> Encoder:
    """An encoder at the start of a stream. Raises MediaError for what can't be encoded here."""
    match form.codec:
        case "opus":
            return opus.OpusEncoder()
        case "g729":
            return g729.G729Encoder()
    return _Plain(form)


def duration_ms(form: RtpFormat, payload: bytes) -> int:
    """How long a payload lasts, in ms rounded down; 0 if it can't be read."""
    match form.codec:
        case "opus":
            return opus.samples_of(payload) * 1000 // SAMPLE_RATE
        case "g729":
            return g729.samples_of(payload) * 1000 // g729.RATE_HZ
        case "l16":
            return len(payload) // 2 * 1000 // form.clock_hz
    return len(payload) // 8  # 64 kbit/s


class _Plain:
    """Codecs that know nothing of frames and loss: G.711, G.722 (RFC 3551 §4.5.2) and L16 (§4.5.11)."""

    resting: Final = False

    def __init__(self, form: RtpFormat) -> None:
        self._codec = form.codec
        self.rate_hz = 8000
        self.lengths_ms: tuple[int, ...] = _LENGTHS_MS
        match form.codec:
            case "g722":
                self.rate_hz = SAMPLE_RATE
                self._sub_band = G722(SAMPLE_RATE, 64_000)
            case "l16":
                if form.clock_hz not in _L16_RATES:
                    raise MediaError(f"codec l16 at {form.clock_hz} Hz: lanes have it at 8000 and 16000 Hz")
                self.rate_hz = form.clock_hz
                longest_ms = MAX_PAYLOAD * 1000 // (2 * form.clock_hz)
                self.lengths_ms = tuple(ms for ms in _LENGTHS_MS if ms <= longest_ms)
            case "pcmu" | "pcma":
                self._law = np.array([LAWS[form.codec]])
            case _:
                raise MediaError(f"{form.codec} is no audio codec")
        self._echo = Echo(self.rate_hz)

    def decode(self, payload: bytes) -> Pcm:
        samples = self._decode(payload)
        self._echo.hear(samples)
        return samples

    def conceal(self, count: int, following: bytes | None = None) -> Pcm:
        del following
        return self._echo.fill(count)

    def _decode(self, payload: bytes) -> Pcm:
        match self._codec:
            case "g722":
                return np.frombuffer(self._sub_band.decode(payload), np.int16)
            case "l16":
                return np.frombuffer(payload, ">i2", len(payload) // 2).astype(np.int16)
        codes = np.frombuffer(payload + bytes(len(payload) % 2), np.uint8)[None]
        out = np.empty(codes.shape, np.int16)
        return G711(1, codes.shape[1]).decode(codes, self._law, out)[0, : len(payload)]

    def encode(self, samples: Pcm) -> bytes:
        samples = np.ascontiguousarray(samples)
        match self._codec:
            case "g722":
                return bytes(self._sub_band.encode(samples))
            case "l16":
                return samples.astype(">i2").tobytes()
        out = np.empty((1, len(samples)), np.uint8)
        return G711(1, len(samples)).encode(samples[None], self._law, out).tobytes()
