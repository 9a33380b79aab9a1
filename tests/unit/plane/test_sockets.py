"""Which lanes have the arrival of their packets measured."""

import socket

from active_call.plane import sockets as sockets_module
from active_call.plane.sockets import LaneSockets
from tests.unit.plane.rig import Rig


def open_sockets(sockets: LaneSockets, rows: int) -> None:
    for row in range(rows):
        sockets.open(row, *(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach() for _ in range(2)))


def test_few_lanes_are_all_measured_from_the_start() -> None:
    sockets = LaneSockets(Rig().media)
    open_sockets(sockets, 3)
    assert sockets._sampled == {0, 1, 2}
    sockets.close(1)
    sockets._rotate_samples(64)
    assert sockets._sampled == {0, 2}
    for row in (0, 2):
        sockets.close(row)


def test_many_lanes_take_turns() -> None:
    sockets = LaneSockets(Rig().media)
    rows = 2 * sockets_module._SAMPLED_LANES + 1
    open_sockets(sockets, rows)
    turns = []
    for tick in (0, 64, 128):
        sockets._rotate_samples(tick)
        turns.append(set(sockets._sampled))
    assert set.union(*turns) == set(range(rows))
    assert sum(map(len, turns)) == rows
    for row in range(rows):
        sockets.close(row)
