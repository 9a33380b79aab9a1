import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from active_call.core.errors import MediaError
from active_call.dsp.coders import duration_ms, make_decoder, make_encoder
from active_call.lanes.messages import PCMU, TELEPHONE_EVENT, RtpFormat
from tests.unit.dsp.voice import FORMATS, G722, L16, L16_NARROW, fidelity, voice

LEAST_DB = {"pcmu": 34, "pcma": 34, "g722": 25, "opus": 9, "g729": 4, "l16": 90}


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.codec}-{form.clock_hz}")
@pytest.mark.parametrize("length_ms", [10, 20, 40])
def test_what_is_encoded_can_be_decoded(form: RtpFormat, length_ms: int) -> None:
    encoder, decoder = make_encoder(form), make_decoder(form)
    assert encoder.rate_hz == decoder.rate_hz
    assert length_ms in encoder.lengths_ms
    said = voice(1600, encoder.rate_hz)
    payloads = [encoder.encode(part) for part in said.reshape(-1, encoder.rate_hz * length_ms // 1000)]
    assert {duration_ms(form, payload) for payload in payloads} == {length_ms}
    heard = np.concatenate([decoder.decode(payload) for payload in payloads])
    assert len(heard) == len(said)
    assert fidelity(said, heard, 200) > LEAST_DB[form.codec]


def test_l16_is_big_endian() -> None:
    assert make_encoder(L16).encode(np.array([1, -2], np.int16)) == b"\x00\x01\xff\xfe"
    assert make_decoder(L16_NARROW).decode(b"\x01\x00\xff").tolist() == [256]


def test_l16_packets_fit_into_a_datagram() -> None:
    assert make_encoder(L16).lengths_ms == (10, 20, 30, 40)
    assert 60 in make_encoder(L16_NARROW).lengths_ms


@pytest.mark.parametrize("form", [RtpFormat(11, "l16", 44_100), TELEPHONE_EVENT])
def test_what_is_no_codec_of_a_lane_is_refused(form: RtpFormat) -> None:
    with pytest.raises(MediaError, match=form.codec):
        make_decoder(form)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(FORMATS), st.lists(st.binary(max_size=300), max_size=5))
def test_garbage_does_no_harm(form: RtpFormat, payloads: list[bytes]) -> None:
    decoder = make_decoder(form)
    for payload in payloads:
        assert duration_ms(form, payload) >= 0
        assert decoder.decode(payload).dtype == np.int16
        assert len(decoder.conceal(decoder.rate_hz // 50, payload)) == decoder.rate_hz // 50


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.codec}-{form.clock_hz}")
def test_a_loss_sounds_like_what_was_before_it(form: RtpFormat) -> None:
    encoder, decoder = make_encoder(form), make_decoder(form)
    count = encoder.rate_hz // 50
    for part in voice(400, encoder.rate_hz).reshape(-1, count):
        last = decoder.decode(encoder.encode(part))
    filled = decoder.conceal(count)
    assert 0.2 < filled.astype(float).std() / last.astype(float).std() < 1.5


def test_a_codec_without_concealment_echoes() -> None:
    decoder = make_decoder(PCMU)
    heard = decoder.decode(make_encoder(PCMU).encode(voice(20, 8000)))
    assert (
        decoder.conceal(160)[:3].tolist() == (heard[:-4:-1] * np.array([1, 0.9975, 0.995])).astype(int).tolist()
    )


def test_a_stream_has_a_memory_of_its_own() -> None:
    first, second = make_encoder(G722), make_encoder(G722)
    said = voice(40)
    first.encode(said[:320])
    assert first.encode(said[320:]) != second.encode(said[320:])
