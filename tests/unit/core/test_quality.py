import pytest

from active_call.core.quality import mos


def test_a_perfect_call() -> None:
    assert mos(0, 0, 0) == pytest.approx(4.41, abs=0.01)


@pytest.mark.parametrize(
    ("loss_share", "jitter_ms", "delay_ms", "score"),
    [(0.01, 0, 0, 4.33), (0.05, 0, 0, 3.93), (0, 0, 150, 4.34), (0, 0, 300, 3.71), (0, 50, 200, 3.71)],
)
def test_impairments_cost_what_the_model_says(
    loss_share: float, jitter_ms: float, delay_ms: float, score: float
) -> None:
    assert mos(loss_share, jitter_ms, delay_ms) == pytest.approx(score, abs=0.03)


def test_more_loss_is_never_better() -> None:
    scores = [mos(loss / 100, 0, 0) for loss in range(101)]
    assert scores == sorted(scores, reverse=True)


def test_the_scale_is_kept() -> None:
    assert mos(1, 500, 5000) == 1.0
    assert mos(2, -5, -5) >= 1.0
