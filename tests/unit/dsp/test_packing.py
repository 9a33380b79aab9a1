import numpy as np
import pytest

from active_call.core.errors import MediaError
from active_call.dsp.coders import make_decoder
from active_call.dsp.packing import Cutter, Packed, Packer
from active_call.lanes.messages import PCMA, PCMU, RtpFormat
from tests.unit.dsp.voice import FORMATS, G722, L16, OPUS, voice


def packer(form: RtpFormat, ptime_ms: int) -> Packer:
    made = Packer(4)
    made.open(2, form, ptime_ms)
    return made


def say(made: Packer, ticks: int, *, first: int = 0) -> list[list[Packed]]:
    """The packets of each tick."""
    length = 320 if made.is_wide(2) else 160
    said = voice(20 * ticks, length * 50)
    told = []
    for tick in range(ticks):
        made.add(2, said[tick * length :][:length], 160 * (first + tick))
        told.append(made.take(2))
    return told


@pytest.mark.parametrize(
    ("ptime_ms", "per_tick"),
    [(10, [2] * 6), (20, [1] * 6), (30, [0, 1, 1] * 2), (40, [0, 1] * 3), (60, [0, 0, 1] * 2)],
)
def test_packets_come_when_they_are_full(ptime_ms: int, per_tick: list[int]) -> None:
    told = say(packer(PCMA, ptime_ms), 6)
    assert [len(packets) for packets in told] == per_tick
    flat = [packed for packets in told for packed in packets]
    assert [packed.time for packed in flat] == [8 * ptime_ms * n for n in range(len(flat))]
    assert {len(packed.payload) for packed in flat} == {8 * ptime_ms}


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.codec}-{form.clock_hz}")
def test_nothing_is_left_out(form: RtpFormat) -> None:
    flat = [packed for packets in say(packer(form, 40), 10) for packed in packets]
    decoder = make_decoder(form)
    assert sum(len(decoder.decode(packed.payload)) for packed in flat) == decoder.rate_hz // 5


@pytest.mark.parametrize(("form", "ptime_ms"), [(OPUS, 30), (L16, 60), (G722, 25)])
def test_a_duration_that_the_codec_does_not_have_is_20_ms(form: RtpFormat, ptime_ms: int) -> None:
    if form in FORMATS:
        assert [len(packets) for packets in say(packer(form, ptime_ms), 4)] == [1] * 4


def test_after_a_gap_a_packet_begins_anew() -> None:
    made = packer(PCMU, 60)
    say(made, 2)
    told = say(made, 3, first=10)
    assert [packed.time for packets in told for packed in packets] == [1600]


def test_the_same_again_changes_nothing_and_something_else_starts_over() -> None:
    made = packer(PCMU, 40)
    say(made, 1)
    made.open(2, PCMU, 40)
    assert len(say(made, 1, first=1)[0]) == 1
    say(made, 1, first=2)
    made.open(2, G722, 40)
    assert len(say(made, 1, first=3)[0]) == 0


def test_a_restart_forgets_what_was_said() -> None:
    made, other = packer(G722, 20), packer(G722, 20)
    say(made, 3)
    made.restart(2)
    made.restart(1)
    assert [p.payload for p in say(made, 1)[0]] == [p.payload for p in say(other, 1)[0]]


def test_what_can_not_be_encoded_is_refused_and_nothing_is_left() -> None:
    made = Packer(4)
    with pytest.raises(MediaError, match="l16 at 44100 Hz"):
        made.open(2, RtpFormat(11, "l16", 44_100), 20)
    assert made.idle
    assert not made.rows.any()


def test_a_closed_lane_is_no_more() -> None:
    made = packer(PCMU, 10)
    assert made.rows.tolist() == [False, False, True, False]
    made.close(2)
    assert made.idle
    assert np.count_nonzero(made.rows) == 0


@pytest.mark.parametrize("ptime_ms", [10, 30, 40, 50, 60])
def test_codes_are_cut_without_one_too_many(ptime_ms: int) -> None:
    cutter = Cutter(4)
    cutter.open(2, "pcmu", ptime_ms)
    codes = bytes(n % 251 for n in range(30 * 160))
    packed = [one for n in range(30) for one in cutter.cut(2, codes[n * 160 :][:160], 800 + n * 160)]
    assert b"".join(one.payload for one in packed) == codes
    assert [one.time for one in packed] == [800 + 8 * ptime_ms * n for n in range(600 // ptime_ms)]


def test_codes_that_waited_are_not_sent_after_a_pause_nor_as_those_of_another_law() -> None:
    cutter = Cutter(4)
    cutter.open(2, "pcmu", 40)
    cutter.cut(2, bytes(160), 0)
    cutter.open(2, "pcmu", 40)
    assert cutter.cut(2, b"x" * 160, 320) == []
    cutter.open(2, "pcma", 40)
    assert cutter.cut(2, b"y" * 160, 480) == []
    assert cutter.cut(2, b"y" * 160, 640) == [Packed(480, b"y" * 320)]
    cutter.close(2)
    assert cutter.idle
    assert not cutter.rows.any()
