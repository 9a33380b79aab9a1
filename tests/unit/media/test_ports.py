"""RTP ports: even, in pairs, in range, free again."""

import socket

import pytest

from active_call.core.errors import MediaError
from active_call.media.ports import PortRange


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


def test_t40_pairs_are_even_and_in_range() -> None:
    ports = PortRange(45_101, 45_120, "127.0.0.1")
    pairs = [ports.open_pair() for _ in range(3)]
    try:
        assert all(pair.port % 2 == 0 and 45_101 <= pair.port < 45_120 for pair in pairs)
        assert all(pair.rtcp.getsockname()[1] == pair.port + 1 for pair in pairs)
        assert len({pair.port for pair in pairs}) == 3
    finally:
        for pair in pairs:
            pair.close()


def test_t40_an_exhausted_range_says_so_and_recovers() -> None:
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


@needs_ipv6
@pytest.mark.parametrize(
    ("bind_ip", "ipv6", "is_bound_to"),
    [
        ("127.0.0.1", False, "127.0.0.1"),
        ("127.0.0.1", True, "::1"),
        ("::1", False, "127.0.0.1"),
        ("0.0.0.0", True, "::"),
        ("::", True, "::"),
        ("::", False, "0.0.0.0"),
    ],
)
def test_each_family_has_sockets_of_its_own(bind_ip: str, ipv6: bool, is_bound_to: str) -> None:
    pair = PortRange(45_160, 45_169, bind_ip).open_pair(ipv6=ipv6)
    assert pair.rtp.getsockname()[:2] == (is_bound_to, pair.port)
    assert pair.rtcp.getsockname()[:2] == (is_bound_to, pair.port + 1)
    pair.close()


@needs_ipv6
def test_both_families_may_use_the_same_ports() -> None:
    ports = PortRange(45_170, 45_171)
    pairs = [ports.open_pair(), ports.open_pair(ipv6=True)]
    assert [pair.port for pair in pairs] == [45_170, 45_170]
    for pair in pairs:
        pair.close()


def test_a_family_without_an_address_is_refused_in_words() -> None:
    with pytest.raises(MediaError, match=r"no audio over IPv6: RTP is bound to 192\.0\.2\.1 \(rtp_bind_ip\)"):
        PortRange(45_180, 45_189, "192.0.2.1").open_pair(ipv6=True)


def test_an_address_that_is_not_ours_is_told_at_once() -> None:
    with pytest.raises(MediaError, match=r"RTP can't be bound to 192\.0\.2\.1: .+ \(rtp_bind_ip\)"):
        PortRange(45_180, 45_189, "192.0.2.1").open_pair()


@pytest.mark.parametrize("ipv6", [False, pytest.param(True, marks=needs_ipv6)])
def test_audio_is_marked_for_expedited_forwarding(ipv6: bool) -> None:
    pair = PortRange(45_140, 45_160, "127.0.0.1").open_pair(ipv6=ipv6)
    option = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if ipv6 else (socket.IPPROTO_IP, socket.IP_TOS)
    try:
        assert [sock.getsockopt(*option) >> 2 for sock in (pair.rtp, pair.rtcp)] == [46, 46]
    finally:
        pair.close()
