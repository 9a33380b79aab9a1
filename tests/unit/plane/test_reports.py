from active_call.dsp.jitter import JitterBuffer
from active_call.dsp.rtcp import ReceiverReport, ReportBlock, SenderReport, build_report, ntp_time, parse
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
