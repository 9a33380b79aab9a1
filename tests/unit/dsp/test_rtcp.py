import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.dsp.rtcp import (
    Bye,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    build_report,
    ntp_time,
    parse,
    round_trip_ms,
)

WORD = st.integers(0, 0xFFFF_FFFF)
BLOCKS = st.builds(
    ReportBlock, WORD, st.integers(0, 255), st.integers(-0x80_0000, 0x7F_FFFF), WORD, WORD, WORD, WORD
)
BLOCK = ReportBlock(0x1111_2222, 25, -3, 70_000, 80, 0xAABB_CCDD, 65_536)


def report(
    *, packets: int = 10, source: ReportBlock | None = BLOCK, bye: bool = False, cname: str = "a@b"
) -> bytes:
    return build_report(
        ssrc=1, cname=cname, ntp=2 << 32, rtp_timestamp=3, packets=packets, octets=1600, source=source, bye=bye
    )


def test_sender_report_in_bytes() -> None:
    assert report(source=None).hex(" ", 4) == (
        "80c80006 00000001 00000002 00000000 00000003 0000000a 00000640 81ca0003 00000001 01036140 62000000"
    )


@given(
    ntp=st.integers(0, 2**64 - 1), timestamp=WORD, packets=st.integers(1, 0xFFFF_FFFF), block=BLOCKS | st.none()
)
def test_sender_report_survives_the_wire(
    ntp: int, timestamp: int, packets: int, block: ReportBlock | None
) -> None:
    data = build_report(
        ssrc=9, cname="x", ntp=ntp, rtp_timestamp=timestamp, packets=packets, octets=160, source=block
    )
    assert parse(data) == [SenderReport(9, ntp, timestamp, packets, 160, (block,) if block else ())]


def test_who_sent_nothing_reports_as_receiver() -> None:
    assert parse(report(packets=0)) == [ReceiverReport(1, (BLOCK,))]


def test_goodbye_comes_last() -> None:
    assert parse(report(packets=0, bye=True)) == [ReceiverReport(1, (BLOCK,)), Bye((1,))]


@pytest.mark.parametrize("length", range(9))
def test_any_cname_is_padded_to_words(length: int) -> None:
    data = report(cname="n" * length, bye=True)
    assert len(data) % 4 == 0
    assert parse(data)[-1] == Bye((1,))


def test_goodbye_with_reason_and_padding() -> None:
    body = b"\x00\x00\x00\x07\x04gone" + bytes(3)
    assert parse(b"\x81\xcb\x00\x03" + body) == [Bye((7,), "gone")]
    assert parse(b"\xa1\xcb\x00\x04" + body + b"\x00\x00\x00\x04") == [Bye((7,), "gone")]


def test_unknown_packets_are_skipped() -> None:
    feedback = b"\x81\xcd\x00\x02" + bytes(8)
    assert parse(feedback + report(packets=0)) == [ReceiverReport(1, (BLOCK,))]


@given(st.binary(max_size=80))
def test_garbage_never_raises(data: bytes) -> None:
    assert isinstance(parse(data), list)


@given(cut=st.integers(0, 200), flip=st.integers(0, 800))
def test_damaged_reports_never_raise(cut: int, flip: int) -> None:
    data = bytearray(report(bye=True))
    data[flip // 8 % len(data)] ^= 1 << flip % 8
    assert isinstance(parse(bytes(data[:cut])), list)


def test_what_is_complete_before_the_cut_is_kept() -> None:
    assert parse(report(bye=True)[:-1]) == parse(report())


def test_losses_beyond_24_bits_are_clamped() -> None:
    lost = ReportBlock(1, 0, 10_000_000, 0, 0)
    [parsed] = parse(report(packets=0, source=lost))
    assert isinstance(parsed, ReceiverReport)
    assert parsed.blocks[0].cumulative_lost == 0x7F_FFFF


def test_ntp_time_counts_from_1900() -> None:
    assert ntp_time(0) == 2_208_988_800 << 32
    assert ntp_time(1_500_000_000) & 0xFFFF_FFFF == 0x8000_0000


def test_round_trip_is_what_remains_of_the_time_since_our_report() -> None:
    sent = 0xFFFF_8000
    now = (sent + 65_536 + 6_554) & 0xFFFF_FFFF
    block = ReportBlock(1, 0, 0, 0, 0, last_sr=sent, delay_since_last_sr=65_536)
    assert round_trip_ms(now, block) == pytest.approx(100, abs=0.1)


def test_round_trip_is_unknown_before_the_first_report_and_never_negative() -> None:
    assert round_trip_ms(5, ReportBlock(1, 0, 0, 0, 0)) is None
    assert round_trip_ms(1000, ReportBlock(1, 0, 0, 0, 0, last_sr=900, delay_since_last_sr=200)) == 0.0
