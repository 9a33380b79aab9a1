"""The ringback tone."""

import numpy as np

from active_call.call.transfer.ringback import ringback


def test_it_rings_a_second_and_is_silent_for_four() -> None:
    pcm = ringback()
    assert pcm.dtype == np.int16
    assert len(pcm) == 80_000
    spectrum = np.abs(np.fft.rfft(pcm[:16_000].astype(float)))
    assert int(spectrum.argmax()) == 425
    assert not pcm[16_000:].any()


def test_it_does_not_click() -> None:
    steps = np.abs(np.diff(ringback().astype(int), prepend=0, append=0))
    assert steps.max() < 400
