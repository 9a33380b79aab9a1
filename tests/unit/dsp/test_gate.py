import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.dsp.gate import EnergyGate

ROW = np.array([0])
WINDOW = 512


def noise(rms: float, seed: int = 0) -> Pcm:
    return np.random.default_rng(seed).normal(0, rms, (1, 256)).astype(np.int16)


def listen(gate: EnergyGate, windows: Pcm, *, probability: float = 0.0, speaking: bool = False) -> bool:
    is_open = bool(gate.listen(ROW, windows)[0])
    if is_open:
        gate.judge(ROW, np.array([probability], np.float32), np.array([speaking]), WINDOW)
    return is_open


@pytest.fixture
def gate() -> EnergyGate:
    gate = EnergyGate(1)
    gate.reset(0)
    return gate


def test_silence_closes_it_after_400_ms(gate: EnergyGate) -> None:
    states = [listen(gate, noise(0)) for _ in range(20)]
    assert states == [True] * 13 + [False] * 7


@pytest.mark.parametrize("rms", [30, 300, 3000])
def test_steady_noise_is_learnt(gate: EnergyGate, rms: float) -> None:
    states = [listen(gate, noise(rms, seed)) for seed in range(200)]
    assert states[0]
    assert not any(states[150:])


def test_a_rise_of_a_few_db_opens_it_at_once(gate: EnergyGate) -> None:
    for seed in range(200):
        listen(gate, noise(100, seed))
    assert listen(gate, noise(170))


def test_it_stays_open_while_the_model_hears_speech(gate: EnergyGate) -> None:
    assert all(listen(gate, noise(100, seed), probability=0.2) for seed in range(200))


def test_it_stays_open_within_an_utterance(gate: EnergyGate) -> None:
    assert all(listen(gate, noise(0), speaking=True) for _ in range(100))


def test_a_loud_utterance_does_not_raise_the_floor(gate: EnergyGate) -> None:
    for seed in range(200):
        listen(gate, noise(100, seed))
    for seed in range(300):
        listen(gate, noise(3000, seed), probability=0.9)
    for seed in range(50):
        listen(gate, noise(100, seed))
    assert listen(gate, noise(200))
