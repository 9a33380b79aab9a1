import numpy as np

from active_call.dsp.g711 import MU_LAW
from active_call.dsp.jitter import Accepted, JitterBuffer
from active_call.dsp.rtp import PacketMatrix, packet

ROW = np.array([2])
LAW = np.array([MU_LAW])
LOUD, QUIET = 0x10, 0xFF


class Line:
    """One lane: packets are given for a tick, frames are taken tick by tick."""

    def __init__(self, delay_ms: int = 40, first_tick: int = 1000) -> None:
        self.jitter = JitterBuffer(4)
        self.jitter.open(2, law=MU_LAW, delay_ms=delay_ms)
        self.matrix = PacketMatrix(1)
        self.now = first_tick
        self.late = self.duplicate = self.lost = 0

    def take(
        self, number: int, *, code: int | None = None, stamp: int | None = None, ssrc: int = 1
    ) -> Accepted:
        """Packet `number`, filled with its number or with `code`."""
        payload = bytes([number % 256 if code is None else code]) * 160
        data = packet(0, number, number * 160 if stamp is None else stamp, ssrc, payload)
        self.matrix.views[0][: len(data)] = data
        fields = self.matrix.parse(np.array([len(data)]))
        result = self.jitter.receive(
            self.now,
            ROW,
            fields.sequence,
            fields.timestamp,
            fields.ssrc,
            fields.valid,
            fields.length,
            self.matrix,
            np.array([0]),
        )
        self.late += int(result.late[0])
        self.duplicate += int(result.duplicate[0])
        self.lost = int(result.lost[0])
        return result

    def play(self) -> int | None:
        """The code this tick plays; None if there is nothing."""
        out = np.zeros((1, 160), np.uint8)
        present = self.jitter.playout(self.now, ROW, LAW, out)
        self.jitter.judge(self.now)
        self.now += 1
        assert (out == out[0, 0]).all()
        return int(out[0, 0]) if present[0] else None

    @property
    def delay(self) -> int:
        return int(self.jitter.delay[2])

    def run(self, arrivals: dict[int, list[int]], ticks: int, code: int | None = None) -> list[int | None]:
        """Packets by the tick (from now) of their arrival. Returns what was played."""
        played = []
        for tick in range(ticks):
            for number in arrivals.get(tick, []):
                self.take(number, code=code)
            played.append(self.play())
        return played


def on_time(numbers: range) -> dict[int, list[int]]:
    return {tick: [number] for tick, number in enumerate(numbers)}


def test_packets_play_in_order_after_the_delay() -> None:
    assert Line(40).run(on_time(range(5)), 7) == [None, None, 0, 1, 2, 3, 4]
    assert Line(20).run(on_time(range(3)), 4) == [None, 0, 1, 2]


def test_sequence_and_timestamp_wrap() -> None:
    line = Line()
    first = 65_533
    for n in range(6):
        line.take(first + n, stamp=2**32 - 320 + n * 160)
        line.play()
    assert (line.late, line.lost) == (0, 0)
    assert line.play() == (first + 4) % 256


def test_reordered_packets_play_in_order() -> None:
    line = Line()
    assert line.run({0: [0], 1: [2], 2: [1, 3], 3: [4]}, 7) == [None, None, 0, 1, 2, 3, 4]
    assert (line.late, line.duplicate, line.lost) == (0, 0, 0)


def test_duplicates_are_counted_and_play_once() -> None:
    line = Line()
    assert line.run({0: [0, 0], 1: [1], 2: [1, 2]}, 5) == [None, None, 0, 1, 2]
    assert line.duplicate == 2
    assert line.lost == 0


def test_a_lost_packet_is_missing_once_and_adds_no_delay() -> None:
    line = Line()
    numbers = [number for number in range(200) if number != 50]
    played = line.run({number: [number] for number in numbers}, 202, code=LOUD)
    assert [tick for tick, code in enumerate(played) if code is None] == [0, 1, 52]
    assert line.delay == 2
    assert line.lost == 1


def test_a_stall_adds_delay_at_once_and_gives_it_back_in_silence() -> None:
    line = Line()
    arrivals = on_time(range(100))
    arrivals[103] = [100, 101, 102, 103]  # up to 60 ms late
    arrivals |= {number: [number] for number in range(104, 110)}
    line.run(arrivals, 110, code=LOUD)
    assert line.delay == 3
    line.run({tick: [tick + 110] for tick in range(250)}, 250, code=QUIET)
    assert line.delay == 2
    assert line.late == 0


def test_no_frame_is_dropped_while_somebody_speaks() -> None:
    line = Line()
    arrivals = on_time(range(100)) | {103: [100, 101, 102, 103]}
    line.run(arrivals, 104, code=LOUD)
    played = line.run({tick: [tick + 104] for tick in range(300)}, 300, code=LOUD)
    assert None not in played
    assert line.delay == 3


def test_delay_never_exceeds_100_ms() -> None:
    line = Line()
    line.run(on_time(range(20)), 20)
    for start in range(20, 60, 10):  # ever longer stalls
        line.run({8: list(range(start, start + 10))}, 10)
    assert line.delay <= 5


def test_a_slow_sender_gets_silence_inserted() -> None:
    line = Line()
    # Every 100th tick has no packet: 1 % slow, and so is each packet after it.
    arrivals = {tick: [tick - tick // 100] for tick in range(1000) if tick % 100}
    line.run(arrivals, 1000, code=QUIET)
    assert line.late <= 3
    assert line.lost == 0


def test_a_fast_sender_gets_silence_dropped() -> None:
    line = Line()
    arrivals: dict[int, list[int]] = {}
    number = 0
    for tick in range(1000):
        arrivals[tick] = [number, number + 1] if tick % 100 == 99 else [number]
        number += len(arrivals[tick])
    line.run(arrivals, 1000, code=QUIET)
    assert line.delay <= 4
    assert line.late == 0


def test_what_piled_up_before_the_start_is_no_standing_delay() -> None:
    line = Line()
    played = line.run({0: list(range(10))} | {tick: [tick + 9] for tick in range(1, 5)}, 5)
    assert played == [None, None, 9, 10, 11]


def test_a_new_stream_starts_over() -> None:
    line = Line()
    line.run(on_time(range(10)), 10)
    result = line.take(30_000, ssrc=2, stamp=77)
    assert result.new_ssrc[0]
    assert line.lost == 0
    assert [line.play() for _ in range(3)] == [8, 9, 30_000 % 256]


def test_stragglers_of_the_old_stream_are_ignored() -> None:
    line = Line()
    line.take(5, ssrc=1)
    line.take(900, ssrc=2)
    result = line.take(6, ssrc=1)
    assert not result.new_ssrc[0]
    assert result.late[0]


def test_a_timestamp_jump_is_followed() -> None:
    line = Line()
    line.run(on_time(range(10)), 10)
    for n in range(10, 15):
        line.take(n, stamp=5_000_000 + n * 160)
        last = line.play()
    assert last == 12


def test_a_timestamp_that_stepped_back_is_followed_in_the_end() -> None:
    line = Line()
    line.run(on_time(range(30)), 30)
    played = []
    for n in range(30, 60):
        line.take(n, stamp=(n - 20) * 160)
        played.append(line.play())
    assert played[-1] == 57


def test_a_sequence_jump_is_believed_at_its_second_packet() -> None:
    line = Line()
    line.run(on_time(range(10)), 10)
    assert line.take(20_000, stamp=1600).late[0]
    assert not line.take(20_001, stamp=1760).late[0]
    assert line.lost == 0


def test_reception_figures_for_rtcp() -> None:
    line = Line()
    assert line.jitter.reception(2) is None
    line.run({0: [10], 1: [11], 3: [13]}, 5)
    assert line.jitter.reception(2) == (1, 10, 13, 1)


def test_handles_are_queued_like_codes_and_missing_ones_are_0() -> None:
    jitter, matrix = JitterBuffer(4), PacketMatrix(1)
    jitter.open(2, law=None, delay_ms=20)
    out = np.zeros((1, 160), np.uint8)
    played, following = [], []
    for tick in range(5):
        if tick != 2:
            data = packet(0, tick, tick * 160, 1, bytes(160))
            matrix.views[0][: len(data)] = data
            fields = matrix.parse(np.array([len(data)]))
            matrix.handles[0, :2] = (10 * tick + 1, 10 * tick + 2)
            columns = fields.sequence, fields.timestamp, fields.ssrc, fields.valid, fields.length
            jitter.receive(tick, ROW, *columns, matrix, np.array([0]))
        jitter.playout(tick, ROW, LAW, out)
        played.append(out.view(np.uint64)[0, ::10].tolist())
        following.append(jitter.following(tick, 2))
    assert played == [[0, 0], [1, 2], [11, 12], [0, 0], [31, 32]]
    assert following == [1, 11, 0, 31, 41]


def test_a_clock_that_changed_goes_on_after_what_is_queued() -> None:
    line = Line()
    line.run(on_time(range(10)), 10)
    line.jitter.restart(line.now, 2, 700_000)
    for number in range(10, 14):
        line.take(number, stamp=700_000 + (number - 10) * 160)
    assert [line.play() for _ in range(6)] == [8, 9, 10, 11, 12, 13]
