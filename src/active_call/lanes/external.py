"""Audio that reaches a lane through the control plane instead of a socket: frames in byte rings of the table.

`external_in` holds what the peer says and `external_out` what it is to hear, both in the lane's codec. A ring
is a row of slots of one 20 ms frame each, so a frame never wraps around. The writer of a ring never waits for
its reader; a reader that is too slow loses the oldest frames, and counts them.
"""

from typing import Final, Literal, TypeAlias, get_args

from active_call.core.audio import TICK_MS

ExternalCodec: TypeAlias = Literal["pcm", "pcmu", "pcma", "g722"]
"""`pcm` is 16-bit little-endian, mono."""

PCM_RATES: Final = (8000, 16_000, 24_000, 48_000)
IN_FRAMES: Final = 50
"""Slots of `external_in`: 1 s."""
OUT_FRAMES: Final = 25
"""Slots of `external_out`: 500 ms, for as long the control plane may be busy with something else."""

_LONGEST_FRAME: Final = 2 * PCM_RATES[-1] * TICK_MS // 1000
_PAGE: Final = 4096
IN_BYTES: Final = -(-IN_FRAMES * _LONGEST_FRAME // _PAGE) * _PAGE
OUT_BYTES: Final = -(-OUT_FRAMES * _LONGEST_FRAME // _PAGE) * _PAGE


def frame_bytes(codec: ExternalCodec, rate_hz: int) -> int:
    """Bytes of 20 ms. The rate matters to `pcm` only. Raises ValueError for what external lanes don't have."""
    if codec not in get_args(ExternalCodec):
        raise ValueError(f"codec {codec!r}: external lanes have {', '.join(get_args(ExternalCodec))}")
    if codec != "pcm":
        return 8000 * TICK_MS // 1000  # all of them at 64 kbit/s
    if rate_hz not in PCM_RATES:
        raise ValueError(f"rate {rate_hz}: pcm has {', '.join(str(rate) for rate in PCM_RATES)} Hz")
    return 2 * rate_hz * TICK_MS // 1000
