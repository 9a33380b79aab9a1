import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.dsp.energy import EnergyDetector, NoiseFloor, levels

ROW = np.array([1])


def noise(rms: float, samples: int = 160, seed: int = 0) -> Pcm:
    return np.random.default_rng(seed).normal(0, rms, (1, samples)).astype(np.int16)


def test_levels_are_in_db_and_deaf_to_an_offset() -> None:
    silence, offset = np.zeros((1, 160), np.int16), np.full((1, 160), 5000, np.int16)
    assert levels(silence).tolist() == levels(offset).tolist() == [[0, 0]]
    assert levels(noise(1000, 16_000))[0, 0] == pytest.approx(60, abs=0.2)


def test_differences_hear_hiss_above_hum() -> None:
    hum = (8000 * np.sin(2 * np.pi * 50 * np.arange(256) / 8000))[None].astype(np.int16)
    change = levels(hum + noise(500, 256)) - levels(hum)
    assert change[0, 0] < 0.5
    assert change[0, 1] > 3


def test_floor_falls_fast_and_rises_as_told() -> None:
    floor = NoiseFloor(2, least_db=20)
    quiet, loud = np.full((1, 2), 30, np.float32), np.full((1, 2), 60, np.float32)
    for _ in range(200):
        floor.learn(ROW, loud, np.array([0.05], np.float32))
    assert floor.excess(ROW, loud) == pytest.approx(0, abs=0.1)
    for _ in range(20):
        floor.learn(ROW, quiet, np.array([0], np.float32))
    assert floor.excess(ROW, quiet) == pytest.approx(0, abs=0.1)
    floor.learn(ROW, loud, np.array([0], np.float32))
    assert floor.excess(ROW, loud) == pytest.approx(30, abs=0.1)


def test_floor_is_never_below_the_least() -> None:
    assert NoiseFloor(2, least_db=20).excess(ROW, np.full((1, 2), 25, np.float32)).tolist() == [[5, 5]]


def test_detector_hears_what_rises_above_the_noise() -> None:
    detector = EnergyDetector(2)
    for seed in range(150):
        background = detector.probabilities(ROW, noise(100, seed=seed))
    assert background < 0.1
    assert detector.probabilities(ROW, noise(1000)) > 0.9


def test_detector_gets_used_to_loud_noise() -> None:
    detector = EnergyDetector(2)
    for seed in range(1500):
        probability = detector.probabilities(ROW, noise(2000, seed=seed))
    assert probability < 0.1
    detector.reset(1)
    assert detector.probabilities(ROW, noise(2000)) > 0.9
