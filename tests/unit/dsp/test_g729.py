import numpy as np
import pytest

from active_call.core.errors import MediaError
from active_call.dsp import g729
from active_call.dsp.g729 import G729Decoder, G729Encoder, samples_of
from active_call.lanes.codecs import g729_library
from tests.unit.dsp.voice import voice

pytestmark = pytest.mark.skipif(g729_library() is None, reason="needs libbcg729")


@pytest.mark.parametrize(
    ("size", "samples"), [(0, 0), (2, 80), (10, 80), (20, 160), (22, 240), (30, 240), (11, 0), (8, 0)]
)
def test_frames_of_10_ms_and_perhaps_one_of_noise(size: int, samples: int) -> None:
    assert samples_of(bytes(size)) == samples
    assert len(G729Decoder().decode(bytes(size))) == samples


def test_noise_begins_a_pause() -> None:
    decoder, payload = G729Decoder(), G729Encoder().encode(voice(20, 8000))
    resting = []
    for received in (payload, payload + bytes(2), payload):
        decoder.decode(received)
        resting.append(decoder.resting)
    assert resting == [False, True, False]


def test_10_ms_are_10_bytes() -> None:
    encoder = G729Encoder()
    assert [len(encoder.encode(voice(ms, 8000))) for ms in (10, 20, 60)] == [10, 20, 60]
    assert len(encoder.encode(np.zeros(160, np.int16))) == 20


def test_without_the_library_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(g729, "g729_library", lambda: None)
    g729._library.cache_clear()
    with pytest.raises(MediaError, match="needs libbcg729"):
        G729Decoder()
