"""G.711 µ-law and A-law by table look-up, for many lanes at once (ITU-T G.711).

A lane's law is a number, so that one look-up serves a block of lanes of both laws: the tables of both stand
one behind the other and the law selects the half.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MU_LAW: Final = 0
A_LAW: Final = 1
SILENCE: Final = np.array([0xFF, 0xD5], np.uint8)
"""The code of sample 0 (A-law: +8, its smallest), indexed by law."""

_CODES = 256
_PAIRS = 65_536


def _mu_law_values() -> NDArray[np.int16]:
    code = ~np.arange(_CODES) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _a_law_values() -> NDArray[np.int16]:
    code = np.arange(_CODES) ^ 0x55
    mantissa, segment = code & 0x0F, (code >> 4) & 7
    magnitude = np.where(
        segment == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(segment - 1, 0)
    )
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _mu_law_codes() -> NDArray[np.uint8]:
    sample = np.arange(65_536).astype(np.uint16).view(np.int16).astype(np.int64)
    magnitude = np.minimum(np.abs(sample), 32_635) + 0x84
    segment = np.floor(np.log2(magnitude)).astype(np.int64) - 7
    mantissa = (magnitude >> (segment + 3)) & 0x0F
    codes: NDArray[np.uint8] = ~(np.where(sample < 0, 0x80, 0) | segment << 4 | mantissa).astype(np.uint8)
    return codes


def _a_law_codes() -> NDArray[np.uint8]:
    sample = np.arange(65_536).astype(np.uint16).view(np.int16).astype(np.int64)
    # One's complement of the negative half: -1 is the mirror image of 0.
    magnitude = np.where(sample < 0, ~sample, sample)
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int64) - 7, 0)
    mantissa = (magnitude >> (np.maximum(segment, 1) + 3)) & 0x0F
    codes: NDArray[np.uint8] = (np.where(sample < 0, 0, 0x80) | segment << 4 | mantissa).astype(np.uint8)
    return codes ^ np.uint8(0x55)


def _two_sample_table(values: NDArray[np.int16]) -> NDArray[np.uint32]:
    pairs = np.arange(_PAIRS).astype(np.uint16).view(np.uint8).reshape(_PAIRS, 2)
    table: NDArray[np.uint32] = np.ascontiguousarray(values[pairs]).view(np.uint32)[:, 0]
    return table


_decode_pairs = np.concatenate((_two_sample_table(_mu_law_values()), _two_sample_table(_a_law_values())))
_encode = np.concatenate((_mu_law_codes(), _a_law_codes()))
_recode = (_mu_law_codes()[_a_law_values().view(np.uint16)], _a_law_codes()[_mu_law_values().view(np.uint16)])


def recode(codes: NDArray[np.uint8], law: int) -> NDArray[np.uint8]:
    """Codes of any shape of the other law to `law` (ITU-T G.711, tables 3 and 4, as near as samples tell)."""
    recoded: NDArray[np.uint8] = _recode[law][codes]
    return recoded


class G711:
    """Decodes and encodes blocks of up to `lanes` lanes with `samples` (even) samples each.

    Holds the scratch memory of the look-ups, so one instance must not be used by two threads.
    """

    def __init__(self, lanes: int, samples: int) -> None:
        self._pairs: NDArray[np.intp] = np.empty((lanes, samples // 2), np.intp)
        self._singles: NDArray[np.intp] = np.empty((lanes, samples), np.intp)

    def decode(self, codes: NDArray[np.uint8], laws: NDArray[Any], out: NDArray[np.int16]) -> NDArray[np.int16]:
        """Codes (n, samples), contiguous, and laws (n,) to samples in `out` (n, samples), contiguous."""
        index = self._pairs[: len(codes)]
        np.add(codes.view(np.uint16), (laws * _PAIRS)[:, None], out=index, casting="unsafe")
        np.take(_decode_pairs, index, out=out.view(np.uint32), mode="clip")
        return out

    def encode(
        self, samples: NDArray[np.int16], laws: NDArray[Any], out: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Samples (n, samples), contiguous, and laws (n,) to codes in `out` (n, samples), contiguous."""
        index = self._singles[: len(samples)]
        np.add(samples.view(np.uint16), (laws * _PAIRS)[:, None], out=index, casting="unsafe")
        np.take(_encode, index, out=out, mode="clip")
        return out
