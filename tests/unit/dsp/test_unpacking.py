import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from active_call.core.audio import Pcm
from active_call.dsp.coders import make_encoder
from active_call.dsp.g711 import MU_LAW
from active_call.dsp.jitter import JitterBuffer
from active_call.dsp.unpacking import Unpacker
from active_call.lanes.messages import PCMU, RtpFormat
from tests.unit.dsp.voice import G722, L16, L16_NARROW, voice

SSRC = 9


class Lane:
    """Row 2 of an unpacker, whose packets are counted from 0."""

    def __init__(self) -> None:
        self.jitter = JitterBuffer(4)
        self.jitter.open(2, law=None, delay_ms=20)
        self.unpacker = Unpacker(4, self.jitter)
        self.unpacker.open(2)

    def keep(self, form: RtpFormat, timestamp: int, payload: bytes, ssrc: int = SSRC) -> tuple[int, list[int]]:
        stamp, handles = self.unpacker.keep(0, 2, form, ssrc, timestamp, payload)
        return stamp, handles.tolist()

    def play(self, first: int = 0, second: int = 0, *, paused: bool = False) -> tuple[Pcm, bool]:
        return self.unpacker.play(0, 2, (first, second), paused=paused)


def l16(samples: Pcm) -> bytes:
    return make_encoder(L16).encode(samples)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_a_packet_is_cut_into_10_ms(frames: int) -> None:
    lane, said = Lane(), voice(10 * frames)
    _, handles = lane.keep(L16, 0, l16(said))
    assert len(set(handles)) == len(said) // 160
    heard = [lane.play(*handles[start : start + 2])[0] for start in range(0, len(handles), 2)]
    assert np.concatenate(heard)[: len(said)].tolist() == said.tolist()


def test_two_packets_make_a_tick() -> None:
    lane, said = Lane(), voice(20)
    _, first = lane.keep(L16, 0, l16(said[:160]))
    _, second = lane.keep(L16, 160, l16(said[160:]))
    heard, concealed = lane.play(*first, *second)
    assert heard.tolist() == said.tolist()
    assert not concealed


def test_a_packet_is_heard_up_to_100_ms() -> None:
    _, handles = Lane().keep(PCMU, 0, bytes(1280))
    assert len(handles) == 10


def test_what_is_shorter_than_10_ms_is_not_heard() -> None:
    assert Lane().keep(PCMU, 0, bytes(79))[1] == []


def test_timestamps_become_those_of_8_khz_and_wrap_with_it() -> None:
    lane = Lane()
    first = 2**32 - 960 * 3
    stamps = [lane.keep(RtpFormat(111, "l16", 48_000), first + 960 * n & 0xFFFF_FFFF, b"")[0] for n in range(9)]
    steps = {(after - before) % 2**32 for before, after in zip(stamps, stamps[1:], strict=False)}
    assert steps == {160}


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([8000, 16_000, 48_000]),
    st.lists(st.integers(-40, 200), min_size=1, max_size=30),
)
def test_timestamps_keep_their_distances(first: int, clock_hz: int, steps: list[int]) -> None:
    lane, form = Lane(), RtpFormat(96, "l16", clock_hz)
    time = 0
    start = lane.keep(form, first, b"")[0]
    for step in steps:
        time += step
        stamp = lane.keep(form, first + time * clock_hz // 100 & 0xFFFF_FFFF, b"")[0]
        assert (stamp - start) % 2**32 == time * 80 % 2**32


def test_what_is_missing_is_concealed_for_100_ms_and_then_silent() -> None:
    lane = Lane()
    _, handles = lane.keep(G722, 0, make_encoder(G722).encode(voice(20)))
    lane.play(*handles)
    told = [lane.play() for _ in range(6)]
    assert [concealed for _, concealed in told] == [True] * 5 + [False]
    assert told[0][0].any()
    assert not told[5][0].any()


def test_a_tick_of_which_half_is_missing_is_completed() -> None:
    lane, said = Lane(), voice(40)
    lane.play(*lane.keep(L16, 0, l16(said[:320]))[1])
    _, (first, second) = lane.keep(L16, 320, l16(said[320:]))
    heard, concealed = lane.play(0, second)
    assert concealed
    assert heard[:160].any()
    assert heard[160:].tolist() == said[480:].tolist()
    heard, concealed = lane.play(first, 0)
    assert concealed
    assert heard[:160].tolist() == said[320:480].tolist()


def test_nothing_is_concealed_before_the_first_packet_or_in_a_pause() -> None:
    lane = Lane()
    assert not lane.play()[1]
    lane.play(*lane.keep(L16, 0, l16(voice(20)))[1])
    silence, concealed = lane.play(paused=True)
    assert not concealed
    assert not silence.any()
    assert not lane.play()[1]


def test_packets_that_were_never_played_are_forgotten() -> None:
    lane = Lane()
    _, old = lane.keep(L16, 0, l16(voice(20)))
    for number in range(1, 65):
        _, new = lane.keep(L16, 320 * number, l16(voice(20)))
    assert not lane.play(*old)[0].any()
    assert lane.play(*new)[0].any()


def test_the_codec_may_change_within_a_tick() -> None:
    lane = Lane()
    _, wide = lane.keep(L16, 0, l16(np.full(160, 500, np.int16)))
    _, narrow = lane.keep(L16_NARROW, 80, make_encoder(L16_NARROW).encode(np.full(80, 700, np.int16)))
    assert lane.play(*wide, *narrow)[0].tolist() == [500] * 80 + [700] * 80
    _, wide = lane.keep(L16, 320, l16(np.full(160, 500, np.int16)))
    assert lane.play(narrow[0], *wide)[0].tolist() == [700] * 160 + [500] * 160


def test_codes_that_are_queued_are_heard_when_packets_take_over() -> None:
    jitter = JitterBuffer(4)
    jitter.open(2, law=MU_LAW, delay_ms=20)
    unpacker = Unpacker(4, jitter)
    jitter._codes[3, 2] = codes = np.arange(160, dtype=np.uint8)
    jitter._filled[3, 2] = 160
    unpacker.open(2, PCMU)
    out = np.empty((1, 160), np.uint8)
    present = jitter.playout(3, np.array([2]), np.array([0]), out)
    first, second = out.view(np.uint64)[0, ::10].tolist()
    heard, concealed = unpacker.play(3, 2, (first, second), paused=False)
    assert present[0]
    assert not concealed
    assert np.array_equal(make_encoder(PCMU).encode(heard), codes.tobytes().replace(b"\x7f", b"\xff"))


def test_the_jitter_buffer_is_told_who_is_quiet() -> None:
    lane = Lane()
    lane.play(*lane.keep(L16, 0, l16(np.full(320, 256, np.int16)))[1])
    assert lane.jitter.quiet[2]
    lane.play(*lane.keep(L16, 320, l16(np.full(320, -257, np.int16)))[1])
    assert not lane.jitter.quiet[2]


def test_a_lane_that_is_closed_leaves_nothing() -> None:
    lane = Lane()
    assert lane.unpacker.rows.tolist() == [False, False, True, False]
    lane.unpacker.close(2)
    assert lane.unpacker.idle
    assert not lane.unpacker.rows.any()
