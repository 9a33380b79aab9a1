import pytest

from active_call.sip.hop import Hop, Target, is_address, is_public, only_public


@pytest.mark.parametrize(
    ("hop", "written"),
    [
        (Hop("10.0.0.1", 5060), "10.0.0.1:5060"),
        (Hop("::1", 5061, "tls", "a.example"), "[::1]:5061 over TLS"),
        (Hop("h", 5060, "tcp"), "h:5060 over TCP"),
    ],
)
def test_how_a_hop_is_written(hop: Hop, written: str) -> None:
    assert str(hop) == written


def test_the_socket_of_a_hop() -> None:
    assert Hop("::1", 5061, "tls", "a.example").peer == Hop("::1", 5061, "tls")


@pytest.mark.parametrize(
    ("target", "hop"),
    [
        (Target("10.0.0.1"), Hop("10.0.0.1", 5060)),
        (Target("a.example"), Hop("a.example", 5060, "udp", "a.example")),
        (Target("::1", None, "tls"), Hop("::1", 5061, "tls")),
        (Target("a.example", 5, "tcp"), Hop("a.example", 5, "tcp", "a.example")),
    ],
)
def test_where_a_target_leads_without_dns(target: Target, hop: Hop) -> None:
    assert target.hop == hop


def test_addresses_are_no_names() -> None:
    hosts = ("::1", "10.0.0.1", "[::1]", "a.example")
    assert [is_address(host) for host in hosts] == [True, True, False, False]


@pytest.mark.parametrize(
    ("host", "public"),
    [("8.8.8.8", True), ("10.0.0.1", False), ("100.64.0.1", False), ("fe80::1", False), ("pbx.example", False)],
)
def test_public_addresses(host: str, public: bool) -> None:
    assert is_public(host) is public


def test_a_private_address_is_judged_by_what_it_was_called() -> None:
    assert only_public("a.example", "8.8.8.8") == ""
    assert only_public("a.example", "10.0.0.1") == "a.example: its address 10.0.0.1 is in a private network"
