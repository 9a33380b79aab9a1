import numpy as np

from active_call.core.audio import Pcm
from active_call.dsp.concealment import Concealment, Echo

ROW = np.array([2])


def conceal(concealment: Concealment, samples: Pcm, *, present: bool) -> tuple[Pcm, bool]:
    frame = samples[None].copy()
    concealed = concealment.fill(ROW, frame, np.array([present]))
    return frame[0], bool(len(concealed))


def test_missing_frames_echo_the_last_one_and_fade() -> None:
    concealment, voice = Concealment(4), np.full(160, 10_000, np.int16)
    conceal(concealment, voice, present=True)
    levels = [int(np.abs(conceal(concealment, voice, present=False)[0]).max()) for _ in range(5)]
    assert levels == [10_000, 6_000, 2_500, 0, 0]


def test_concealment_starts_without_a_step() -> None:
    concealment, ramp = Concealment(4), np.arange(160, dtype=np.int16) * 50
    conceal(concealment, ramp, present=True)
    filled, concealed = conceal(concealment, ramp, present=False)
    assert concealed
    assert filled[0] == ramp[-1]


def test_nothing_is_concealed_after_deliberate_silence() -> None:
    concealment, voice = Concealment(4), np.full(160, 10_000, np.int16)
    conceal(concealment, voice, present=True)
    concealment.silence(ROW)
    filled, concealed = conceal(concealment, voice, present=False)
    assert not concealed
    assert not filled.any()


def test_an_echo_starts_without_a_step_and_fades_within_60_ms() -> None:
    echo, ramp = Echo(8000), np.arange(160, dtype=np.int16) * 50
    echo.hear(ramp)
    filled = np.concatenate([echo.fill(80) for _ in range(8)])
    assert filled[0] == ramp[-1]
    assert np.abs(np.diff(filled.astype(int))).max() <= 100
    assert not filled[480:].any()
    assert filled[:320].any()


def test_an_echo_is_of_the_last_20_ms_however_they_came() -> None:
    echo = Echo(16_000)
    for value in (7, 1000, 2000, 3000):
        echo.hear(np.full(160, value, np.int16))
    filled = echo.fill(320)
    assert filled[0] == 3000
    assert 0.6 * 2000 <= filled[-1] < 0.61 * 2000
