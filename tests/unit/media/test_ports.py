"""RTP ports: even, in pairs, in range, free again."""

import socket

import pytest

from active_call.core.errors import MediaError
from active_call.media.ports import PortRange


def test_pairs_are_even_and_in_range() -> None:
    ports = PortRange(45_101, 45_120, "127.0.0.1")
    pairs = [ports.open_pair() for _ in range(3)]
    try:
        assert all(pair.port % 2 == 0 and 45_101 <= pair.port < 45_120 for pair in pairs)
        assert all(pair.rtcp.getsockname()[1] == pair.port + 1 for pair in pairs)
        assert len({pair.port for pair in pairs}) == 3
    finally:
        for pair in pairs:
            pair.close()


def test_an_exhausted_range_says_so_and_recovers() -> None:
    ports = PortRange(45_130, 45_133, "127.0.0.1")
    pairs = [ports.open_pair(), ports.open_pair()]
    with pytest.raises(MediaError, match="no RTP port is free in 45130-45133"):
        ports.open_pair()
    pairs.pop().close()
    pairs.append(ports.open_pair())
    for pair in pairs:
        pair.close()


def test_a_pair_with_a_taken_rtcp_port_is_skipped() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 45_141))
        pair = PortRange(45_140, 45_143, "127.0.0.1").open_pair()
        assert pair.port == 45_142
        pair.close()


def test_a_range_without_a_pair_is_refused() -> None:
    with pytest.raises(MediaError, match="no even port"):
        PortRange(45_151, 45_152)
