"""Rings by absolute position."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.lanes.ring import ring_read, ring_write


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_what_was_written_is_read_wherever_it_wraps(position: int, count: int) -> None:
    ring = np.zeros(64, np.int16)
    samples = np.arange(1, count + 1, dtype=np.int16)
    ring_write(ring, position, samples)
    assert np.array_equal(ring_read(ring, position, count), samples)


def test_more_than_the_ring_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        ring_write(np.zeros(8, np.int16), 0, np.zeros(9, np.int16))
