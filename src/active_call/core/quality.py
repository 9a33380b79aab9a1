"""Estimated speech quality of a G.711 call, by the E-model (ITU-T G.107) with its default values.

The E-model sums impairments into a rating R = R0 - Is - Id - Ie,eff (G.107 eq. 7-1), where R0 - Is = 93.2
with all defaults. What a gateway can measure enters as delay (Id) and loss (Ie,eff).
"""

from typing import Final

_BEST_RATING: Final = 93.2
_LOSS_ROBUSTNESS: Final = 25.1
"""Bpl of G.711 with packet loss concealment, random loss (ITU-T G.113 Appendix I); its Ie is 0."""
_FREE_DELAY_MS: Final = 177.3


def mos(loss_share: float, jitter_ms: float, delay_ms: float) -> float:
    """Mean opinion score, 1.0 (bad) to 4.41 (best possible for G.711).

    `loss_share` (0 to 1) counts packets lost or too late; `delay_ms` is one way, mouth to ear, without the
    jitter buffer, which is taken to hold twice the jitter.
    """
    delay = max(delay_ms, 0.0) + 2 * max(jitter_ms, 0.0)
    # Id, linearised for echo-free calls: R. Cole, J. Rosenbluth, "Voice over IP performance monitoring" (2001).
    delay_impairment = 0.024 * delay + 0.11 * max(delay - _FREE_DELAY_MS, 0.0)
    # Ie,eff = Ie + (95 - Ie) * Ppl / (Ppl / BurstR + Bpl), G.107 eq. 7-29, with BurstR = 1.
    loss_percent = 100 * min(max(loss_share, 0.0), 1.0)
    loss_impairment = 95 * loss_percent / (loss_percent + _LOSS_ROBUSTNESS)
    return _opinion(_BEST_RATING - delay_impairment - loss_impairment)


def _opinion(rating: float) -> float:
    """MOS of a rating R (G.107 Annex B, eq. B-4)."""
    if rating <= 0:
        return 1.0
    if rating >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6)
