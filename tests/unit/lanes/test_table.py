"""The lane table: one memory, two mappings."""

import os

import pytest

from active_call.lanes.table import COLUMNS, HEADER, Table


def test_what_one_mapping_writes_the_other_reads() -> None:
    ours = Table.create(3, epoch_ns=10, wall_ns=20)
    theirs = Table.attach(os.dup(ours.fd))
    ours.play_write[2] = 77
    ours.playback[2, 5] = -3
    theirs.set("tick", 41)
    assert theirs.play_write[2] == 77
    assert theirs.playback[2, 5] == -3
    assert ours.get("tick") == 41
    theirs.close()
    ours.close()


def test_columns_are_aligned_and_do_not_overlap() -> None:
    table = Table.create(5, epoch_ns=0, wall_ns=0)
    spans = []
    for name, _, _ in COLUMNS:
        column = getattr(table, name)
        start = column.__array_interface__["data"][0]
        assert start % 64 == 0
        spans.append((start, start + column.nbytes))
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))


def test_a_fresh_table_has_no_open_lane_and_no_tick() -> None:
    table = Table.create(2, epoch_ns=0, wall_ns=0)
    assert list(table.opened_tick) == [-1, -1]
    assert table.get("tick") == -1
    assert table.get("capacity") == 2


def test_ticks_have_deadlines_and_wall_times() -> None:
    table = Table.create(1, epoch_ns=1_000, wall_ns=5_000_000_000)
    assert table.tick_ns(50) == 1_000_001_000
    assert table.tick_wall_ms(50) == 6_000


def test_another_file_is_not_a_table() -> None:
    fd = os.memfd_create("other")
    os.write(fd, bytes(8 * len(HEADER)))
    with pytest.raises(ValueError, match="not a lane table"):
        Table.attach(fd)
    os.close(fd)
