import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
from active_call.media.wav import WavDecoder

VALUES = np.array([0, 1_000, -1_000, 32_767, -32_768] * 20, np.int16)


def wav(
    tag: int, bits: int, body: bytes, *, rate: int = 16_000, channels: int = 1, size: int | None = None
) -> bytes:
    width = bits // 8 * channels
    layout = struct.pack("<HHIIHH", tag, channels, rate, rate * width, width, bits)
    chunks = b"fmt " + struct.pack("<I", len(layout)) + layout
    chunks += b"LIST" + struct.pack("<I", 3) + b"odd\0"
    chunks += b"data" + struct.pack("<I", len(body) if size is None else size) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def read_wav(data: bytes, *sizes: int) -> Pcm:
    """All of a file, fed in pieces of these sizes and then the rest."""
    decoder, pieces = WavDecoder(), []
    for size in sizes:
        pieces.append(decoder.feed(data[:size]))
        data = data[size:]
    return np.concatenate([*pieces, decoder.feed(data), decoder.finish()])


@given(st.lists(st.integers(0, 120)), st.sampled_from([8_000, 16_000, 44_100]), st.sampled_from([1, 2]))
def test_any_pieces_give_the_same_samples(sizes: list[int], rate: int, channels: int) -> None:
    data = wav(1, 16, VALUES.tobytes(), rate=rate, channels=channels)
    assert np.array_equal(read_wav(data, *sizes), read_wav(data))


@given(st.binary(max_size=200), st.integers(0, 100))
def test_garbage_is_refused_or_a_little_noise(tail: bytes, keep: int) -> None:
    data = wav(1, 16, VALUES.tobytes())[:keep] + tail
    try:
        pcm = read_wav(data)
    except MediaError:
        return
    assert len(pcm) <= 16 * len(data)


def test_what_follows_the_samples_is_not_played() -> None:
    assert read_wav(wav(1, 16, VALUES.tobytes()) + b"LIST\4\0\0\0abcd", 50).tolist() == VALUES.tolist()


def test_float_of_64_bits() -> None:
    assert read_wav(wav(3, 64, np.array([0.5, 1e300, -np.inf], "<f8").tobytes())).tolist() == [
        16_384,
        32_767,
        -32_768,
    ]


def test_16_bit() -> None:
    assert np.array_equal(read_wav(wav(1, 16, VALUES.tobytes())), VALUES)


def test_8_bit_is_unsigned() -> None:
    assert read_wav(wav(1, 8, bytes([128, 255, 0]))).tolist() == [0, 32_512, -32_768]


def test_24_bit() -> None:
    body = b"".join((int(value) << 8).to_bytes(3, "little", signed=True) for value in VALUES)
    assert np.array_equal(read_wav(wav(1, 24, body)), VALUES)


def test_32_bit() -> None:
    assert np.array_equal(read_wav(wav(1, 32, (VALUES.astype("<i4") << 16).tobytes())), VALUES)


def test_float() -> None:
    values = np.array([0, 0.5, -1.0, 7.0, np.nan], "<f4")
    assert read_wav(wav(3, 32, values.tobytes())).tolist() == [0, 16_384, -32_768, 32_767, 0]


def test_mu_law() -> None:
    assert read_wav(wav(7, 8, bytes([0xFF, 0x7F, 0x80, 0x00]))).tolist() == [0, 0, 32_124, -32_124]


def test_a_law() -> None:
    assert read_wav(wav(6, 8, bytes([0xD5, 0x55, 0xAA, 0x2A]))).tolist() == [8, -8, 32_256, -32_256]


def test_extensible_names_its_format_inside() -> None:
    layout = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 16_000, 32_000, 2, 16, 22, 16, 4, 1) + bytes(14)
    chunks = b"fmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", 4) + b"\1\0\2\0"
    assert read_wav(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks).tolist() == [1, 2]


def test_stereo_is_averaged() -> None:
    body = np.array([100, 300, -5, -15], np.int16).tobytes()
    assert read_wav(wav(1, 16, body, channels=2)).tolist() == [200, -10]


def test_other_rates_are_converted() -> None:
    assert len(read_wav(wav(1, 16, bytes(2 * 8_000), rate=8_000))) == 16_000


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 1_000_000])
def test_open_or_wrong_sizes_read_to_the_end(size: int) -> None:
    assert np.array_equal(read_wav(wav(1, 16, VALUES.tobytes(), size=size)), VALUES)


def test_half_a_sample_at_the_end_is_left_out() -> None:
    assert read_wav(wav(1, 16, b"\1\0\2\0\3")).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"ID3\x03 some mp3", "not a WAV file"),
        (b"", "not a WAV file"),
        (b"RIFF\x20\0\0\0WAVEfmt \x02\0\0\0\1\0data\0\0\0\0", "broken fmt chunk"),
        (wav(1, 16, b"")[:12], "without its fmt chunk"),
        (wav(1, 16, b"")[:48], "without its data chunk"),
        (wav(0x11, 4, bytes(8)), "IMA ADPCM"),
        (wav(1, 12, bytes(8)), "12 bits"),
        (wav(1, 16, bytes(12), channels=6), "6 channels"),
        (wav(1, 16, bytes(12), rate=3), "3 Hz"),
        (wav(1, 16, bytes(12), rate=700_000), "700000 Hz"),
    ],
)
def test_anything_else_is_refused_with_what_is_supported(data: bytes, text: str) -> None:
    with pytest.raises(MediaError, match=text) as refusal:
        read_wav(data)
    assert "supported" in str(refusal.value)
