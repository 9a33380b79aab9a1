"""G.729 with Annexes A and B by the C library libbcg729: 10 ms at 8 kHz are 10 bytes, or 2 bytes of noise."""

import ctypes
from functools import cache
from typing import Final

import numpy as np

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
from active_call.lanes.codecs import g729_library

RATE_HZ: Final = 8000
FRAME_BYTES: Final = 10
NOISE_BYTES: Final = 2
"""A SID frame (Annex B): the last of a packet, and then nothing comes until somebody speaks."""
FRAME: Final = 80
"""Samples."""


@cache
def _library() -> ctypes.CDLL:
    name = g729_library()
    if name is None:
        raise MediaError("codec g729 needs libbcg729, which is not installed")
    loaded = ctypes.CDLL(name)
    pointer, byte = ctypes.c_void_p, ctypes.c_uint8
    loaded.initBcg729DecoderChannel.restype = loaded.initBcg729EncoderChannel.restype = pointer
    loaded.initBcg729EncoderChannel.argtypes = [byte]
    loaded.bcg729Decoder.argtypes = [pointer, ctypes.c_char_p, byte, byte, byte, byte, pointer]
    loaded.bcg729Encoder.argtypes = [pointer, pointer, pointer, pointer]
    for function in (loaded.bcg729Decoder, loaded.bcg729Encoder):
        function.restype = None
    for function in (loaded.closeBcg729DecoderChannel, loaded.closeBcg729EncoderChannel):
        function.argtypes, function.restype = [pointer], None
    return loaded


def samples_of(payload: bytes) -> int:
    """Length of a packet in samples; 0 if it is not G.729."""
    frames, rest = divmod(len(payload), FRAME_BYTES)
    return (frames + (rest == NOISE_BYTES)) * FRAME if rest in (0, NOISE_BYTES) else 0


class G729Decoder:
    """Decodes one stream. Raises MediaError if there is no library."""

    rate_hz: Final = RATE_HZ

    def __init__(self) -> None:
        self._library = _library()
        self._state = self._library.initBcg729DecoderChannel()
        if not self._state:
            raise MediaError("codec g729: out of memory")
        self.resting = False
        """The last packet began a pause: nothing is missing until the next."""

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.closeBcg729DecoderChannel(self._state)

    def decode(self, payload: bytes) -> Pcm:
        """The samples of a packet; none if it makes no sense."""
        frames = samples_of(payload) // FRAME
        out = np.empty((frames, FRAME), np.int16)
        for index in range(frames):
            frame = payload[index * FRAME_BYTES : (index + 1) * FRAME_BYTES]
            noise = int(len(frame) == NOISE_BYTES)
            self._library.bcg729Decoder(self._state, frame, len(frame), 0, noise, 0, out[index].ctypes.data)
        self.resting = len(payload) % FRAME_BYTES == NOISE_BYTES
        return out.reshape(-1)

    def conceal(self, count: int, following: bytes | None = None) -> Pcm:
        """`count` samples (whole 10 ms) in place of a lost packet."""
        del following
        out = np.empty((count // FRAME, FRAME), np.int16)
        for frame in out:
            self._library.bcg729Decoder(self._state, None, 0, 1, 0, 0, frame.ctypes.data)
        return out.reshape(-1)


class G729Encoder:
    """Encodes one stream, without pauses (Annex B off). Raises MediaError."""

    rate_hz: Final = RATE_HZ
    lengths_ms: Final = (10, 20, 30, 40, 50, 60)

    def __init__(self) -> None:
        self._library = _library()
        self._state = self._library.initBcg729EncoderChannel(0)
        if not self._state:
            raise MediaError("codec g729: out of memory")
        self._out = ctypes.create_string_buffer(FRAME_BYTES)
        self._size = ctypes.c_uint8()

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.closeBcg729EncoderChannel(self._state)

    def encode(self, samples: Pcm) -> bytes:
        """A packet of whole 10 ms."""
        frames = np.ascontiguousarray(samples).reshape(-1, FRAME)
        payload = b""
        for frame in frames:
            self._library.bcg729Encoder(self._state, frame.ctypes.data, self._out, ctypes.byref(self._size))
            payload += self._out.raw[: self._size.value]
        return payload
