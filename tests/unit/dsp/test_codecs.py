import numpy as np
import pytest
from G722 import G722

from active_call.core.audio import Pcm
from active_call.dsp.codecs import CodecGroup
from active_call.dsp.g711 import A_LAW, G711, MU_LAW

ROWS = np.array([2, 5])


def group(codec: str, rate_hz: int = 16_000) -> CodecGroup:
    made = CodecGroup(codec, rate_hz, 8, 4)  # type: ignore[arg-type]
    for row in ROWS.tolist():
        made.open(row)
    return made


def wave(samples: int = 320) -> Pcm:
    """Two lanes' worth of different tones."""
    time = np.arange(samples)
    both: Pcm = (8000 * np.sin(np.stack((time * 0.05, time * 0.07)))).astype(np.int16)
    return both


@pytest.mark.parametrize(
    ("codec", "rate_hz", "frame_bytes", "samples"),
    [
        ("pcm", 8000, 320, 160),
        ("pcm", 16_000, 640, 320),
        ("pcm", 24_000, 960, 480),
        ("pcm", 48_000, 1920, 960),
        ("pcmu", 16_000, 160, 160),
        ("pcma", 8000, 160, 160),
        ("g722", 16_000, 160, 320),
    ],
)
def test_a_frame_is_20_ms(codec: str, rate_hz: int, frame_bytes: int, samples: int) -> None:
    made = group(codec, rate_hz)
    assert (made.frame_bytes, made.samples) == (frame_bytes, samples)
    frames = made.encode(ROWS, wave())
    assert frames.shape == (2, frame_bytes)
    decoded = made.decode(ROWS, np.ascontiguousarray(frames))
    assert decoded.shape == (2, samples)
    out = np.empty((2, 320), np.int16)
    made.widen(ROWS, decoded, out)
    assert out.any(axis=1).all()


def test_pcm_of_16_khz_is_left_as_it_is() -> None:
    made, samples = group("pcm"), wave()
    assert made.encode(ROWS, samples).tobytes() == samples.astype("<i2").tobytes()
    assert np.array_equal(made.decode(ROWS, samples.view(np.uint8)), samples)


@pytest.mark.parametrize(("codec", "law"), [("pcmu", MU_LAW), ("pcma", A_LAW)])
def test_g711_is_decoded_by_its_law(codec: str, law: int) -> None:
    codes = np.arange(320).astype(np.uint8).reshape(2, 160)
    wanted = G711(2, 160).decode(codes, np.array([law, law]), np.empty((2, 160), np.int16))
    assert np.array_equal(group(codec).decode(ROWS, codes), wanted)


def test_each_lane_has_a_g722_coder_of_its_own() -> None:
    made, samples = group("g722"), wave(640)
    alone = [G722(16_000, 64_000) for _ in ROWS]
    for tick in (0, 1):
        part = np.ascontiguousarray(samples[:, tick * 320 : tick * 320 + 320])
        frames = made.encode(ROWS, part)
        wanted = [coder.encode(row) for coder, row in zip(alone, part, strict=True)]
        assert [frame.tobytes() for frame in frames] == wanted
    made.close(2)
    made.open(2)
    first = np.ascontiguousarray(samples[:1, :320])
    assert made.encode(ROWS[:1], first).tobytes() == G722(16_000, 64_000).encode(first[0])


def test_no_lanes_are_no_frames() -> None:
    none = np.zeros(0, np.int64)
    for codec in ("pcm", "pcmu", "g722"):
        made = group(codec)
        assert made.encode(none, np.zeros((0, 320), np.int16)).size == 0
        assert made.decode(none, np.zeros((0, made.frame_bytes), np.uint8)).shape == (0, made.samples)
