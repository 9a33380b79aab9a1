import numpy as np
import pytest

from active_call.core.errors import MediaError
from active_call.dsp import opus
from active_call.dsp.opus import OpusDecoder, OpusEncoder, samples_of
from active_call.lanes.codecs import opus_library
from tests.unit.dsp.voice import fidelity, voice

pytestmark = pytest.mark.skipif(opus_library() is None, reason="needs libopus")

SILENCE = np.zeros(320, np.int16)


def test_a_packet_says_how_long_it_is() -> None:
    encoder = OpusEncoder()
    for count in (160, 320, 640, 960):
        assert samples_of(encoder.encode(voice(60)[:count])) == count
    assert samples_of(b"") == samples_of(b"\xff\xff") == 0


def test_other_lengths_can_not_be_encoded() -> None:
    with pytest.raises(ValueError, match="can't encode 480 samples"):
        OpusEncoder().encode(voice(30))


def test_long_silence_is_one_packet_again_and_again() -> None:
    encoder = OpusEncoder()
    encoder.encode(voice(20))
    assert len({encoder.encode(SILENCE) for _ in range(100)}) <= 10


def test_the_decoder_hears_no_difference_after_a_silence_that_was_not_encoded() -> None:
    def call(*, silent_ms: int) -> np.ndarray:
        encoder, decoder = OpusEncoder(), OpusDecoder()
        said = np.concatenate((voice(400), np.zeros(16 * silent_ms, np.int16), voice(1000, seed=2)))
        return np.concatenate([decoder.decode(encoder.encode(part)) for part in said.reshape(-1, 320)])

    heard = call(silent_ms=3000)
    assert np.abs(heard[16 * 600 : 16 * 3390]).max() <= 2
    again = voice(1000, seed=2)
    assert fidelity(again, heard[-len(again) :], 0) == pytest.approx(
        fidelity(again, call(silent_ms=200)[-len(again) :], 0), abs=1.5
    )


def test_the_packet_after_a_loss_tells_what_was_lost() -> None:
    said = voice(1000).reshape(-1, 320)
    encoder = OpusEncoder()
    payloads = [encoder.encode(part) for part in said]
    errors = {True: 0.0, False: 0.0}
    for known in errors:
        for lost in range(10, 40, 3):
            whole, broken = OpusDecoder(), OpusDecoder()
            for payload in payloads[:lost]:
                whole.decode(payload)
                broken.decode(payload)
            wanted = whole.decode(payloads[lost]).astype(float)
            filled = broken.conceal(320, payloads[lost + 1] if known else None)
            errors[known] += float(((filled - wanted) ** 2).mean())
    assert errors[True] < errors[False] / 4


def test_a_pause_is_announced() -> None:
    decoder, resting = OpusDecoder(), []
    for payload in (OpusEncoder().encode(voice(20)), b"\x48"):
        decoder.decode(payload)
        resting.append(decoder.resting)
    assert resting == [False, True]


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opus, "opus_library", lambda: None)
    opus._library.cache_clear()
    with pytest.raises(MediaError, match="needs libopus"):
        OpusDecoder()
