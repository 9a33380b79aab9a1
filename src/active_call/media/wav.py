"""WAV files as 16 kHz mono PCM, decoded as their bytes arrive."""

import struct
from functools import cache

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
from active_call.core.resample import Resampler

_SUPPORTED = (
    "supported: WAV, mono or stereo, of 8, 16, 24, 32-bit integers, 32, 64-bit floats, A-law or \u00b5-law"
)
_PCM, _FLOAT, _ALAW, _ULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_NAMES = {2: "MS ADPCM", 0x11: "IMA ADPCM", 0x31: "GSM 6.10", 0x55: "MP3", 0x64: "G.726", 0x65: "G.722"}
_LONGEST_HEADER = 1 << 20
"""Bytes before the samples: some writers put pictures there."""

LOWEST_RATE, HIGHEST_RATE = 1_000, 192_000
"""Hz of files that are played."""


def is_wav(data: bytes) -> bool:
    """Whether a file that begins so (12 bytes are enough) is a WAV file."""
    return data[:4] == b"RIFF" and data[8:12] == b"WAVE"


def wav_samples_at(data: bytes) -> tuple[bytes, int, int | None] | None:
    """Where the samples of a WAV file are that begins with `data`: its fmt chunk, their offset and their size.

    The size is None if a streaming writer left it open. The answer is None if more data is needed to say.
    Raises MediaError for what is no WAV file.
    """
    if len(data) >= 12 and not is_wav(data):
        raise MediaError(f"not a WAV file; {_SUPPORTED}")
    layout: bytes | None = None
    position = 12
    while position + 8 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        body = position + 8
        if name == b"data":
            if layout is None:
                raise MediaError(f"WAV file without its fmt chunk; {_SUPPORTED}")
            return layout, body, size if 0 < size < 0xFFFF_FFFF else None
        if name == b"fmt " and body + size <= len(data):
            layout = data[body : body + size]
        position = body + size + (size & 1)
    if position > _LONGEST_HEADER:
        raise MediaError(f"WAV file without its data chunk; {_SUPPORTED}")
    return None


class WavDecoder:
    """Turns the bytes of one WAV file into samples of shape (n,): stereo averaged, resampled to 16 kHz.

    A `data` chunk that is cut off, or whose size was left open, is read as far as it goes.
    """

    def __init__(self) -> None:
        self._held = b""
        self._left: int | None = None
        """Bytes of the data chunk still to come, if that is known."""
        self._format: _Format | None = None

    def feed(self, data: bytes) -> Pcm:
        """What the next bytes say; may be empty. Raises MediaError, which names what is supported."""
        self._held += data
        if self._format is None:
            found = wav_samples_at(self._held)
            if found is None:
                return np.zeros(0, np.int16)
            layout, offset, self._left = found
            self._format = _Format(layout)
            self._held = self._held[offset:]
        whole = len(self._held) if self._left is None else min(len(self._held), self._left)
        whole -= whole % self._format.frame_bytes
        frames, self._held = self._held[:whole], self._held[whole:]
        if self._left is not None:
            self._left -= whole
            if self._left < self._format.frame_bytes:
                self._left, self._held = 0, b""
        return self._format.decode(frames)

    def finish(self) -> Pcm:
        """The rest, at the end of the file. Raises MediaError if it ended before the samples."""
        if self._format is None:
            if len(self._held) < 12 or not is_wav(self._held):
                raise MediaError(f"not a WAV file; {_SUPPORTED}")
            missing = "data" if b"fmt " in self._held else "fmt"
            raise MediaError(f"WAV file without its {missing} chunk; {_SUPPORTED}")
        return self._format.resampler.flush()


class _Format:
    """What a fmt chunk says. Raises MediaError for formats that are not played."""

    def __init__(self, layout: bytes) -> None:
        if len(layout) < 16:
            raise MediaError(f"WAV file with a broken fmt chunk; {_SUPPORTED}")
        tag, self._channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", layout)
        if tag == _EXTENSIBLE and len(layout) >= 26:
            tag = int.from_bytes(layout[24:26], "little")
        if self._channels not in (1, 2):
            raise MediaError(f"WAV file with {self._channels} channels; {_SUPPORTED}")
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise MediaError(f"WAV file with a sample rate of {rate} Hz; {_SUPPORTED}")
        self._tag, self._bits = tag, bits
        self.frame_bytes = max(1, bits // 8) * self._channels
        self.resampler = Resampler(rate)
        self.decode(b"")  # refuses formats that are not supported

    def decode(self, data: bytes) -> Pcm:
        """Whole frames, as far as they can be resampled yet."""
        values = _values(self._tag, self._bits, data)
        mono = values if self._channels == 1 else values.reshape(-1, 2).mean(axis=1)
        samples = np.clip(np.rint(np.nan_to_num(mono)), -32768, 32767).astype(np.int16)
        return self.resampler.process(samples)


def _values(tag: int, bits: int, data: bytes) -> NDArray[np.floating]:
    """Interleaved values on the scale of 16-bit samples."""
    if tag == _PCM and bits == 8:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) * np.float32(256)
    if tag == _PCM and bits == 16:
        return np.frombuffer(data, "<i2").astype(np.float32)
    if tag == _PCM and bits == 24:
        # The two upper bytes are the sample, the lowest only its fraction.
        octets = np.frombuffer(data, np.uint8).reshape(-1, 3)
        upper = np.ascontiguousarray(octets[:, 1:]).view("<i2")[:, 0].astype(np.float32)
        return upper + octets[:, 0].astype(np.float32) / np.float32(256)
    if tag == _PCM and bits == 32:
        return np.frombuffer(data, "<i4").astype(np.float32) / np.float32(65536)
    if tag == _FLOAT and bits in (32, 64):
        with np.errstate(over="ignore", invalid="ignore"):
            return np.frombuffer(data, f"<f{bits // 8}") * 32768.0
    if tag in (_ALAW, _ULAW) and bits == 8:
        return _g711(tag)[np.frombuffer(data, np.uint8)]
    raise MediaError(f"WAV file of format {_NAMES.get(tag, hex(tag))} with {bits} bits; {_SUPPORTED}")


@cache
def _g711(tag: int) -> NDArray[np.float32]:
    """The 256 values of A-law or \u00b5-law (ITU-T G.711, tables 1a and 2a)."""
    code = np.arange(256)
    code = ~code & 0xFF if tag == _ULAW else code ^ 0x55
    segment, step = code >> 4 & 7, code & 15
    if tag == _ULAW:
        size = ((2 * step + 33) << segment + 2) - 132
        return np.where(code & 0x80, -size, size).astype(np.float32)
    size = np.where(segment == 0, 2 * step + 1, (2 * step + 33) << np.maximum(segment, 1) - 1) << 3
    return np.where(code & 0x80, size, -size).astype(np.float32)
