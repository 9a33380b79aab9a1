"""Audio files as 16 kHz mono PCM."""

import struct
from functools import cache

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
from active_call.core.resample import resample

_SUPPORTED = (
    "supported: WAV, mono or stereo, with 8, 16, 24 or 32-bit integers, 32-bit floats, A-law or \u00b5-law"
)
_PCM, _FLOAT, _ALAW, _ULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_NAMES = {2: "MS ADPCM", 0x11: "IMA ADPCM", 0x31: "GSM 6.10", 0x55: "MP3", 0x64: "G.726", 0x65: "G.722"}


def read_wav(data: bytes) -> Pcm:
    """The samples of a WAV file, resampled to 16 kHz, stereo averaged; shape (samples,).

    A `data` chunk that is cut off, or whose size a streaming writer left open, is read as far as it goes.
    Raises MediaError, which names what is supported, for anything else.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise MediaError(f"not a WAV file; {_SUPPORTED}")
    layout: bytes | None = None
    position = 12
    while position + 8 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        body = position + 8
        if name == b"fmt ":
            layout = data[body : body + size]
        elif name == b"data":
            if layout is None:
                break
            return _decode(layout, data[body : body + size] if 0 < size < 0xFFFF_FFFF else data[body:])
        position = body + size + (size & 1)
    missing = "data" if layout is not None else "fmt"
    raise MediaError(f"WAV file without its {missing} chunk; {_SUPPORTED}")


def _decode(layout: bytes, data: bytes) -> Pcm:
    if len(layout) < 16:
        raise MediaError(f"WAV file with a broken fmt chunk; {_SUPPORTED}")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", layout)
    if tag == _EXTENSIBLE and len(layout) >= 26:
        tag = int.from_bytes(layout[24:26], "little")
    if channels not in (1, 2):
        raise MediaError(f"WAV file with {channels} channels; {_SUPPORTED}")
    values = _values(tag, bits, data)
    frames = values[: len(values) // channels * channels].reshape(-1, channels)
    mono = frames[:, 0] if channels == 1 else frames.mean(axis=1)
    samples = np.clip(np.rint(np.nan_to_num(mono)), -32768, 32767).astype(np.int16)
    try:
        return resample(samples, rate)
    except ValueError as error:
        raise MediaError(f"WAV file with a sample rate of {rate} Hz; {_SUPPORTED}") from error


def _values(tag: int, bits: int, data: bytes) -> NDArray[np.float32]:
    """Interleaved values on the scale of 16-bit samples."""
    whole = data[: len(data) // max(1, bits // 8) * max(1, bits // 8)]
    if tag == _PCM and bits == 8:
        return (np.frombuffer(whole, np.uint8).astype(np.float32) - np.float32(128)) * np.float32(256)
    if tag == _PCM and bits == 16:
        return np.frombuffer(whole, "<i2").astype(np.float32)
    if tag == _PCM and bits == 24:
        # The two upper bytes are the sample, the lowest only its fraction.
        octets = np.frombuffer(whole, np.uint8).reshape(-1, 3)
        upper = np.ascontiguousarray(octets[:, 1:]).view("<i2")[:, 0].astype(np.float32)
        return upper + octets[:, 0].astype(np.float32) / np.float32(256)
    if tag == _PCM and bits == 32:
        return np.frombuffer(whole, "<i4").astype(np.float32) / np.float32(65536)
    if tag == _FLOAT and bits == 32:
        return np.frombuffer(whole, "<f4") * np.float32(32768)
    if tag in (_ALAW, _ULAW) and bits == 8:
        return _g711(tag)[np.frombuffer(whole, np.uint8)]
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
