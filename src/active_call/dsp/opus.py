"""Opus (RFC 6716) at 16 kHz, mono, by the C library libopus. The calls leave the interpreter lock free."""

import ctypes
from functools import cache
from typing import Final

import numpy as np

from active_call.core.audio import SAMPLE_RATE, Pcm
from active_call.core.errors import MediaError
from active_call.lanes.codecs import opus_library

LONGEST_MS: Final = 120
"""Of a packet."""

_VOIP: Final = 2048
_SET_BITRATE: Final = 4002
_SET_COMPLEXITY: Final = 4010
_SET_FEC: Final = 4012
_SET_EXPECTED_LOSS: Final = 4014
_BITRATE: Final = 24_000
_COMPLEXITY: Final = 5
_EXPECTED_LOSS: Final = 10  # percent; for 5 it spares no bits of this rate for what could get lost
_LONGEST_BYTES: Final = 1275
_DTX_BYTES: Final = 2
_SETTLED: Final = 10
"""After so many packets of nothing each further one would say the same."""


@cache
def _library() -> ctypes.CDLL:
    name = opus_library()
    if name is None:
        raise MediaError("codec opus needs libopus: install the system's package or 'av'")
    loaded = ctypes.CDLL(name)
    pointer, number = ctypes.c_void_p, ctypes.c_int
    for function, arguments in (
        ("opus_decoder_get_size", [number]),
        ("opus_decoder_init", [pointer, ctypes.c_int32, number]),
        ("opus_decode", [pointer, ctypes.c_char_p, ctypes.c_int32, pointer, number, number]),
        ("opus_encoder_get_size", [number]),
        ("opus_encoder_init", [pointer, ctypes.c_int32, number, number]),
        ("opus_encode", [pointer, pointer, number, pointer, ctypes.c_int32]),
        ("opus_packet_get_nb_samples", [ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32]),
    ):
        getattr(loaded, function).argtypes = arguments
    return loaded


def samples_of(payload: bytes) -> int:
    """Length of a packet in samples at 16 kHz; 0 if it is not Opus."""
    count: int = _library().opus_packet_get_nb_samples(payload, len(payload), SAMPLE_RATE)
    return max(count, 0)


class OpusDecoder:
    """Decodes one stream. Raises MediaError if there is no library."""

    rate_hz: Final = SAMPLE_RATE

    def __init__(self) -> None:
        self._library = _library()
        self._state = ctypes.create_string_buffer(self._library.opus_decoder_get_size(1))
        self._library.opus_decoder_init(self._state, SAMPLE_RATE, 1)
        self._out = np.empty(SAMPLE_RATE * LONGEST_MS // 1000, np.int16)
        self._at = self._out.ctypes.data
        self.resting = False
        """The last packet began a pause (DTX): nothing is missing until the next."""

    def decode(self, payload: bytes) -> Pcm:
        """The samples of a packet; none if it makes no sense."""
        self.resting = len(payload) <= _DTX_BYTES
        count = self._library.opus_decode(self._state, payload, len(payload), self._at, len(self._out), 0)
        return self._out[: max(count, 0)].copy()

    def conceal(self, count: int, following: bytes | None = None) -> Pcm:
        """`count` samples (whole 10 ms) in place of a lost packet.

        They are better if the packet that follows it is known, and was sent with forward error correction.
        """
        data, fec = (following, 1) if following else (None, 0)
        done = self._library.opus_decode(self._state, data, len(data or b""), self._at, count, fec)
        samples = self._out[:count].copy()
        samples[max(done, 0) :] = 0
        return samples


class OpusEncoder:
    """Encodes one stream for speech, with forward error correction. Raises MediaError."""

    rate_hz: Final = SAMPLE_RATE
    lengths_ms: Final = (10, 20, 40, 60)

    def __init__(self) -> None:
        self._library = _library()
        self._state = ctypes.create_string_buffer(self._library.opus_encoder_get_size(1))
        self._library.opus_encoder_init(self._state, SAMPLE_RATE, 1, _VOIP)
        for request, value in (
            (_SET_BITRATE, _BITRATE),
            (_SET_COMPLEXITY, _COMPLEXITY),
            (_SET_FEC, 1),
            (_SET_EXPECTED_LOSS, _EXPECTED_LOSS),
        ):
            self._library.opus_encoder_ctl(self._state, request, ctypes.c_int(value))
        self._out = ctypes.create_string_buffer(_LONGEST_BYTES)
        self._silent = 0
        self._last = b""

    def encode(self, samples: Pcm) -> bytes:
        """A packet of 10, 20, 40 or 60 ms.

        Long silence is not encoded: the last packet of it is sent again. To encode nothing costs as much as
        to encode speech, and says the same each time. A decoder hears no difference, then or later.
        """
        self._silent = 0 if samples.any() else self._silent + 1
        if self._silent <= _SETTLED:
            samples = np.ascontiguousarray(samples)
            at, count = samples.ctypes.data, len(samples)
            size = self._library.opus_encode(self._state, at, count, self._out, _LONGEST_BYTES)
            if size < 0:
                raise ValueError(f"opus can't encode {count} samples: 160, 320, 640 or 960 at a time")
            self._last = self._out.raw[:size]
        return self._last
