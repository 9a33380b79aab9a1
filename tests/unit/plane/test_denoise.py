import numpy as np
import pytest

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.core.errors import MediaError
from active_call.lanes.messages import (
    AdjustLane,
    CloseLane,
    ConfigureVad,
    DenoiseKind,
    SetDenoise,
    StartRecording,
    StopRecording,
)
from active_call.lanes.ring import ring_read
from active_call.lanes.table import Table
from active_call.plane import denoise
from active_call.plane.denoise import MOST_RNNOISE, Denoise
from active_call.plane.rnnoise import library
from tests.unit.plane.rig import REMOTE, Rig


@pytest.fixture
def lanes() -> Denoise:
    return Denoise(Table.create(64, epoch_ns=0, wall_ns=0), threaded=False)


def noise(ticks: int, lanes: int = 1, *, seed: int = 1) -> Pcm:
    """Shape (ticks, lanes, 320)."""
    samples: Pcm = np.random.default_rng(seed).normal(0, 1000, (ticks, lanes, TICK_SAMPLES)).astype(np.int16)
    return samples


def power(pcm: Pcm) -> float:
    return float((pcm.astype(float) ** 2).mean())


def run(lanes: Denoise, audio: Pcm) -> Pcm:
    """All of `audio` (ticks, n, 320), cleaned."""
    return np.stack([lanes.clean(tick) for tick in audio])


def test_noise_gets_less(lanes: Denoise) -> None:
    lanes.configure(5, "webrtc")
    wide = run(lanes, noise(150))
    assert wide.shape == (150, 1, 320)
    assert power(wide[100:]) < power(noise(50)) / 20


def test_each_lane_has_its_own_state(lanes: Denoise) -> None:
    audio = noise(60, 2)
    alone = Denoise(Table.create(64, epoch_ns=0, wall_ns=0), threaded=False)
    alone.configure(9, "webrtc")
    expected = run(alone, audio[:, 1:])
    lanes.configure(9, "webrtc")
    lanes.configure(2, "webrtc")
    assert lanes.rows.tolist() == [2, 9]
    wide = run(lanes, audio)
    np.testing.assert_array_equal(wide[:, 1:], expected)


def test_what_came_in_is_left_as_it_is(lanes: Denoise) -> None:
    lanes.configure(5, "webrtc")
    audio = noise(30)
    before = audio.copy()
    run(lanes, audio)
    np.testing.assert_array_equal(audio, before)


def test_silence_costs_nothing_after_a_tick(lanes: Denoise, monkeypatch: pytest.MonkeyPatch) -> None:
    lanes.configure(5, "webrtc")
    run(lanes, noise(5))
    asked: list[int] = []
    suppress = lanes._suppress

    def count(row: int, samples: Pcm) -> Pcm:
        asked.append(row)
        return suppress(row, samples)

    monkeypatch.setattr(lanes, "_suppress", count)
    wide = run(lanes, np.zeros((10, 1, TICK_SAMPLES), np.int16))
    assert asked == [5]
    assert not wide[1:].any()
    run(lanes, noise(1))
    assert asked == [5, 5]


def test_states_are_made_over_several_ticks(lanes: Denoise) -> None:
    for row in range(7):
        lanes.configure(row, "webrtc")
    audio = noise(4, 7)
    untouched = [
        int((wide == tick).all(axis=1).sum()) for tick, wide in zip(audio, run(lanes, audio), strict=True)
    ]
    assert untouched == [5, 3, 1, 0]


def test_lane_that_comes_again_begins_afresh(lanes: Denoise) -> None:
    lanes.configure(5, "webrtc")
    audio = noise(40)
    first = run(lanes, audio)
    again = run(lanes, audio)
    assert not np.array_equal(first, again)
    lanes.configure(5, None)
    assert lanes.rows.tolist() == []
    lanes.configure(5, "webrtc")
    np.testing.assert_array_equal(run(lanes, audio), first)


def test_saying_it_again_changes_nothing(lanes: Denoise) -> None:
    other = Denoise(Table.create(64, epoch_ns=0, wall_ns=0), threaded=False)
    for one in (lanes, other):
        one.configure(5, "webrtc")
        run(one, noise(20))
    other.configure(5, "webrtc")
    np.testing.assert_array_equal(run(lanes, noise(5)), run(other, noise(5)))


def test_rnnoise_comes_a_tick_later(lanes: Denoise) -> None:
    _need_rnnoise()
    lanes.configure(5, "rnnoise")
    lanes.configure(6, "webrtc")
    wide = run(lanes, noise(60, 2))
    assert not wide[0, 0].any()
    assert power(wide[30:, 0]) < power(noise(30)) / 50


def test_rnnoise_is_for_a_few_lanes(lanes: Denoise, caplog: pytest.LogCaptureFixture) -> None:
    _need_rnnoise()
    for row in range(MOST_RNNOISE):
        lanes.configure(row, "rnnoise")
    assert caplog.text == ""
    lanes.configure(MOST_RNNOISE, "rnnoise")
    assert "gets webrtc" in caplog.text
    assert len(lanes.rows) == MOST_RNNOISE + 1


def test_without_rnnoise_the_lane_is_left_alone(
    lanes: Denoise, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> None:
        raise MediaError("it is not installed")

    monkeypatch.setattr(denoise, "library", missing)
    lanes.configure(5, "webrtc")
    lanes.configure(5, "rnnoise")
    assert lanes.rows.tolist() == []
    assert "it is not installed" in caplog.text


def _need_rnnoise() -> None:
    try:
        library()
    except MediaError as error:
        pytest.skip(str(error))


# In the tick.


def hiss(number: int) -> bytes:
    """20 ms of the noise of a bad line as G.711 codes, around -35 dB."""
    return bytes(np.random.default_rng(number).choice([*range(0x40, 0x60), *range(0xC0, 0xE0)], 160).tolist())


class Lines:
    """A tick with two lanes that hear the same noise; row 1 is left as it is."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.number = 0
        for row in (0, 1):
            self.rig.open(row)

    def tell(
        self, kind: type[SetDenoise | StartRecording | StopRecording | ConfigureVad], *fields: object
    ) -> None:
        generation = int(self.rig.table.generation[0])
        self.rig.media.apply(kind(0, generation, *fields))  # type: ignore[arg-type]

    def ticks(self, count: int) -> None:
        for _ in range(count):
            for row in (0, 1):
                self.rig.say(self.number, hiss(self.number), row)
            self.number += 1
            self.rig.tick()

    def kept(self, ticks: int) -> Pcm:
        table = self.rig.table
        return ring_read(table.original[0], int(table.position[0]) - 320 * ticks, 320 * ticks)


def test_recogniser_and_detector_get_clean_audio() -> None:
    lines = Lines()
    fed: list[Pcm] = []
    lines.rig.vad.heard = fed.append
    lines.tell(ConfigureVad, "silero")
    lines.tell(SetDenoise, "webrtc")
    lines.ticks(100)
    clean, noisy = lines.rig.heard(20, 0), lines.rig.heard(20, 1)
    assert power(noisy) > 1000
    assert power(clean) < power(noisy) / 20
    assert power(np.concatenate(fed[-20:])) < power(noisy) / 20
    assert not lines.rig.table.original[0].any()


def test_recording_keeps_the_original_from_its_first_sample() -> None:
    lines = Lines()
    lines.tell(SetDenoise, "webrtc")
    lines.ticks(30)
    lines.tell(StartRecording, "a.wav")
    lines.ticks(20)
    np.testing.assert_array_equal(lines.kept(20), lines.rig.heard(20, 1))
    assert not np.array_equal(lines.rig.heard(20, 0), lines.rig.heard(20, 1))


def test_recording_under_way_keeps_its_past_when_noise_reduction_begins_and_ends() -> None:
    lines = Lines()
    lines.tell(StartRecording, "a.wav")
    lines.ticks(20)
    lines.tell(SetDenoise, "webrtc")
    lines.ticks(20)
    assert lines.rig.table.original_kept[0]
    np.testing.assert_array_equal(lines.kept(40), lines.rig.heard(40, 1))
    lines.tell(SetDenoise, None)
    lines.ticks(10)
    assert not lines.rig.table.original_kept[0]
    np.testing.assert_array_equal(lines.rig.heard(50, 0), lines.rig.heard(50, 1))


def test_next_lane_of_the_row_is_not_cleaned() -> None:
    lines = Lines()
    lines.tell(SetDenoise, "webrtc")
    lines.tell(StartRecording, "a.wav")
    lines.ticks(5)
    lines.rig.media.apply(CloseLane(0, int(lines.rig.table.generation[0])))
    lines.rig.open(0)
    lines.number = 0
    lines.rig.open(1)
    lines.ticks(40)
    np.testing.assert_array_equal(lines.rig.heard(20, 0), lines.rig.heard(20, 1))
    assert not lines.rig.table.original_kept[0]


def test_spare_goes_on_cleaning_and_keeping() -> None:
    lines = Lines()
    spare = Rig(lines.rig.table, active=False)
    for row in (0, 1):
        spare.tell(row)
    generation = int(lines.rig.table.generation[0])
    for rig in (lines.rig, spare):
        rig.media.apply(SetDenoise(0, generation, "webrtc"))
        rig.media.apply(StartRecording(0, generation, "a.wav"))
    lines.ticks(60)
    spare.media.promote(lines.rig.media.next_tick, {0: REMOTE, 1: REMOTE})
    lines.rig = spare
    lines.ticks(60)
    np.testing.assert_array_equal(lines.kept(90), lines.rig.heard(90, 1))
    assert power(lines.rig.heard(10, 0)) < power(lines.rig.heard(10, 1)) / 10


@pytest.mark.parametrize("kind", ["webrtc", "rnnoise"])
def test_what_was_said_before_muting_is_not_heard_after_it(kind: DenoiseKind) -> None:
    rig = Rig()
    rig.open_external()
    rig.media.denoise = Denoise(rig.table, threaded=False)
    rig.media.apply(SetDenoise(0, 1, kind))
    for tick in noise(10):
        rig.feed(tick.tobytes())
        rig.tick()
    rig.media.apply(AdjustLane(0, 1, mute_received=True))
    for tick in noise(4):
        rig.feed(tick.tobytes())
        rig.tick()
    assert not rig.heard(4).any()
