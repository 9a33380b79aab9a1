import pytest

from active_call.dsp.jitter import JitterBuffer
from active_call.dsp.rtcp import ReceiverReport, ReportBlock, SenderReport, build_report, ntp_time, parse
from active_call.lanes.messages import PCMU, ConfigureLane, RtpFormat
from active_call.lanes.table import Table
from active_call.plane.reports import Reports

NOW = 1_700_000_000_000_000_000
MS = 1_000_000


def make() -> tuple[Table, Reports]:
    table = Table.create(4, epoch_ns=0, wall_ns=NOW)
    reports = Reports(table, JitterBuffer(4))
    reports.open(1, 77, "cname")
    return table, reports


def from_peer(block: ReportBlock | None, ntp: int = 0) -> bytes:
    return build_report(ssrc=9, cname="x", ntp=ntp, rtp_timestamp=0, packets=1, octets=160, source=block)


def test_a_lane_that_has_sent_makes_a_sender_report() -> None:
    table, reports = make()
    table.tx_packets[1], table.tx_octets[1] = 10, 1600
    report = parse(reports.build(1, NOW, 2**32 + 160))[0]
    assert report == SenderReport(77, ntp_time(NOW), 160, 10, 1600)


def test_a_lane_that_has_not_sent_makes_a_receiver_report() -> None:
    _, reports = make()
    assert parse(reports.build(1, NOW, 0))[0] == ReceiverReport(77)


def test_round_trip_and_remote_loss_come_from_the_block_on_our_stream() -> None:
    table, reports = make()
    sent_mid32 = ntp_time(NOW) >> 16 & 0xFFFF_FFFF
    block = ReportBlock(77, 0, 12, 100, 0, last_sr=sent_mid32, delay_since_last_sr=65_536)
    assert not reports.receive(1, from_peer(block), NOW + 1_050 * MS)
    assert abs(table.rtt_ms[1] - 50) < 0.1
    assert table.remote_lost[1] == 12


def test_blocks_on_other_streams_are_ignored() -> None:
    table, reports = make()
    reports.receive(1, from_peer(ReportBlock(78, 0, 12, 100, 0)), NOW)
    assert table.remote_lost[1] == 0


def test_garbage_and_closed_lanes_are_ignored() -> None:
    _, reports = make()
    assert not reports.receive(1, b"\x80\xc8garbage", NOW)
    reports.close(1)
    assert not reports.receive(1, from_peer(None), NOW)


class FakeJitter(JitterBuffer):
    """Says of row 1 what it is told to."""

    stream: tuple[int, int, int, int] | None = None

    def reception(self, row: int) -> tuple[int, int, int, int] | None:
        return self.stream


def make_hearing(*stream: int) -> tuple[FakeJitter, Table, Reports]:
    table, jitter = Table.create(4, epoch_ns=0, wall_ns=NOW), FakeJitter(4)
    reports = Reports(table, jitter)
    reports.open(1, 77, "cname")
    reports.enter(1)
    hear(jitter, *stream)
    return jitter, table, reports


def hear(jitter: FakeJitter, *stream: int) -> None:
    ssrc, base, highest, lost = stream
    jitter.stream = ssrc, base, highest, lost


def block_of(reports: Reports) -> ReportBlock:
    (report,) = parse(reports.build(1, NOW, 0))
    assert isinstance(report, SenderReport | ReceiverReport)
    return report.blocks[0]


def test_a_lane_on_hold_goes_over_to_receiver_reports() -> None:
    table, reports = make()
    table.tx_packets[1] = 10
    kinds = [type(parse(reports.build(1, NOW, 0))[0]) for _ in range(4)]
    assert kinds == [SenderReport, SenderReport, ReceiverReport, ReceiverReport]
    table.tx_packets[1] = 11
    assert isinstance(parse(reports.build(1, NOW, 0))[0], SenderReport)


def test_loss_is_told_of_the_interval_and_of_the_whole_stream() -> None:
    jitter, _, reports = make_hearing(9, 0, 99, 10)
    assert (block_of(reports).fraction_lost, block_of(reports).cumulative_lost) == (25, 10)
    hear(jitter, 9, 0, 199, 60)
    block = block_of(reports)
    assert (block.fraction_lost, block.cumulative_lost, block.highest_sequence) == (128, 60, 199)


def test_another_stream_of_the_peer_begins_with_no_loss() -> None:
    jitter, _, reports = make_hearing(9, 0, 99, 10)
    block_of(reports)
    hear(jitter, 10, 500, 549, 15)
    block = block_of(reports)
    assert (block.ssrc, block.cumulative_lost, block.fraction_lost) == (10, 5, 25)


def test_loss_of_before_a_takeover_is_not_of_the_interval() -> None:
    table, jitter = Table.create(4, epoch_ns=0, wall_ns=NOW), FakeJitter(4)
    table.rx_lost[1] = 40
    reports = Reports(table, jitter)
    reports.open(1, 77, "cname")
    reports.enter(1)
    hear(jitter, 9, 0, 99, 40)
    block = block_of(reports)
    assert (block.fraction_lost, block.cumulative_lost) == (0, 40)


def test_the_last_sender_report_is_that_of_the_stream() -> None:
    jitter, _, reports = make_hearing(9, 0, 99, 0)
    reports.receive(1, from_peer(None, ntp=0xAAAA_BBBB_CCCC_DDDD), NOW - 2_000 * MS)
    assert (block_of(reports).last_sr, block_of(reports).delay_since_last_sr) == (0xBBBB_CCCC, 2 * 65_536)
    hear(jitter, 10, 0, 9, 0)
    assert (block_of(reports).last_sr, block_of(reports).delay_since_last_sr) == (0, 0)


@pytest.mark.parametrize(("clock_hz", "units"), [(8_000, 80), (48_000, 480)])
def test_jitter_is_in_units_of_the_clock_both_ways(clock_hz: int, units: int) -> None:
    jitter, table, reports = make_hearing(9, 0, 99, 0)
    jitter.clock_hz[1] = clock_hz
    audio = RtpFormat(111, "opus", clock_hz)
    reports.configure(1, ConfigureLane(1, 0, audio, (audio, PCMU), None, None, None))
    table.jitter_ms[1] = 10.0
    assert block_of(reports).jitter == units
    reports.receive(1, from_peer(ReportBlock(77, 0, 0, 0, units)), NOW)
    assert table.remote_jitter_ms[1] == 10.0


@pytest.mark.parametrize(("ssrc", "is_goodbye"), [(9, True), (8, False)])
def test_only_the_stream_that_is_heard_can_say_goodbye(ssrc: int, is_goodbye: bool) -> None:
    _, _, reports = make_hearing(9, 0, 99, 0)
    data = build_report(
        ssrc=ssrc, cname="x", ntp=0, rtp_timestamp=0, packets=1, octets=1, source=None, bye=True
    )
    assert reports.receive(1, data, NOW) is is_goodbye
