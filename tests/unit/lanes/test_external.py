import pytest

from active_call.lanes.external import IN_BYTES, IN_FRAMES, OUT_BYTES, OUT_FRAMES, ExternalCodec, frame_bytes


@pytest.mark.parametrize(
    ("codec", "rate_hz", "size"),
    [
        ("pcm", 8000, 320),
        ("pcm", 48_000, 1920),
        ("pcmu", 8000, 160),
        ("g722", 16_000, 160),
        ("pcma", 48_000, 160),
    ],
)
def test_a_frame_is_20_ms(codec: ExternalCodec, rate_hz: int, size: int) -> None:
    assert frame_bytes(codec, rate_hz) == size


def test_the_longest_frames_fit_into_the_rings() -> None:
    longest = frame_bytes("pcm", 48_000)
    assert longest * IN_FRAMES <= IN_BYTES
    assert longest * OUT_FRAMES <= OUT_BYTES


def test_other_codecs_and_rates_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'opus'.* g722"):
        frame_bytes("opus", 48_000)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="44100: pcm has 8000, 16000, 24000, 48000 Hz"):
        frame_bytes("pcm", 44_100)
