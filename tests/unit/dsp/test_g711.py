import numpy as np
import pytest

from active_call.dsp.g711 import A_LAW, G711, MU_LAW, SILENCE, recode


def decode(codes: list[int], law: int) -> list[int]:
    out = np.empty((1, len(codes)), np.int16)
    G711(1, len(codes)).decode(np.array([codes], np.uint8), np.array([law]), out)
    return [int(sample) for sample in out[0]]


def encode(samples: list[int], law: int) -> list[int]:
    out = np.empty((1, len(samples)), np.uint8)
    G711(1, len(samples)).encode(np.array([samples], np.int16), np.array([law]), out)
    return [int(code) for code in out[0]]


def test_mu_law_values_of_g711_table_2() -> None:
    assert decode([0x80, 0xFF, 0x7F, 0x00], MU_LAW) == [32124, 0, 0, -32124]


def test_a_law_values_of_g711_table_1() -> None:
    assert decode([0xD5, 0x55, 0xAA, 0x2A], A_LAW) == [8, -8, 32256, -32256]


@pytest.mark.parametrize("law", [MU_LAW, A_LAW])
def test_every_code_survives_decoding_and_encoding(law: int) -> None:
    codes = list(range(256))
    again = encode(decode(codes, law), law)
    if law == MU_LAW:
        codes[0x7F] = 0xFF  # minus zero
    assert again == codes


@pytest.mark.parametrize("law", [MU_LAW, A_LAW])
def test_no_sample_is_off_by_more_than_half_a_step(law: int) -> None:
    samples = np.arange(-32_768, 32_768)
    again = np.array(decode(encode([int(s) for s in samples], law), law))
    assert (np.abs(again - samples) <= np.maximum((np.abs(samples) + 132) / 32, 8)).all()
    assert (np.diff(again) >= 0).all()


def test_lanes_of_both_laws_in_one_block() -> None:
    codec, out = G711(2, 2), np.empty((2, 2), np.uint8)
    codec.encode(np.zeros((2, 2), np.int16), np.array([MU_LAW, A_LAW]), out)
    assert np.array_equal(out, np.repeat(SILENCE[:, None], 2, axis=1))


@pytest.mark.parametrize("law", [MU_LAW, A_LAW])
def test_codes_of_the_other_law_become_the_nearest_of_this(law: int) -> None:
    other = A_LAW if law == MU_LAW else MU_LAW
    codes = list(range(256))
    assert recode(np.array(codes, np.uint8), law).tolist() == encode(decode(codes, other), law)
