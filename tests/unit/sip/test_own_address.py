from typing import Any

import pytest

from active_call.sip import own_address as module
from active_call.sip.config import SipConfig
from active_call.sip.hop import Hop, Transport
from active_call.sip.messages.via import Via
from active_call.sip.own_address import OwnAddress

TRUNK = Hop("8.8.8.8", 5060)
LAN = Hop("192.168.1.9", 5060)


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "source_address", lambda peer: "fd00::2" if ":" in peer else "192.168.1.2")


def own(host: str = "0.0.0.0", *, tls: bool = True, **config: Any) -> OwnAddress:
    address = OwnAddress(SipConfig(host, 5060, **config), lambda name: None)
    address.ports = {"udp": 5060, "tcp": 5060, **({"tls": 5071} if tls else {})}
    return address


def learn(address: OwnAddress, peer: Hop, received: str, rport: str = "40000") -> bool:
    return address.learn(peer, Via.parse(f"SIP/2.0/UDP 192.168.1.2:5060;rport={rport};received={received}"))


@pytest.mark.parametrize(("transport", "port"), [("udp", 5060), ("tcp", 5060), ("tls", 5071)])
def test_each_transport_has_its_port(transport: Transport, port: int) -> None:
    assert own().towards(Hop("8.8.8.8", 5060, transport)) == ("192.168.1.2", port)


def test_a_client_of_tls_that_does_not_listen_names_the_usual_port() -> None:
    assert own(tls=False).towards(Hop("8.8.8.8", 5061, "tls")) == ("192.168.1.2", 5061)


@pytest.mark.parametrize(
    ("host", "external", "peer", "ours"),
    [
        ("10.0.0.2", None, "8.8.8.8", "10.0.0.2"),
        ("0.0.0.0", "203.0.113.5", "8.8.8.8", "203.0.113.5"),
        ("::", "203.0.113.5", "2001:db8::1", "fd00::2"),
        ("::", "sip.example.com", "2001:db8::1", "sip.example.com"),
        ("::", None, "8.8.8.8", "192.168.1.2"),
    ],
)
def test_the_host_suits_the_peer(host: str, external: str | None, peer: str, ours: str) -> None:
    config: dict[str, Any] = {"external_ip": external} if external else {}
    assert own(host, **config).host_towards(peer) == ours


def test_what_a_trunk_says_of_us_holds_for_the_internet_only() -> None:
    address = own(learn_public_address=True)
    assert learn(address, TRUNK, "203.0.114.7")
    assert address.public == ("203.0.114.7", 40000)
    assert address.towards(Hop("1.1.1.1", 5060)) == ("203.0.114.7", 40000)
    assert address.towards(Hop("1.1.1.1", 5060, "tcp")) == ("203.0.114.7", 5060)
    assert address.towards(LAN) == ("192.168.1.2", 5060)
    assert address.host_towards("trunk.example") == "203.0.114.7"


def test_only_a_change_is_news() -> None:
    address = own(learn_public_address=True)
    assert [learn(address, TRUNK, "203.0.114.7", port) for port in ("1", "1", "2")] == [True, False, True]


def test_a_nat_within_the_house_holds_for_that_peer_only() -> None:
    address = own(learn_public_address=True)
    assert not learn(address, LAN, "10.9.9.9")
    assert address.towards(LAN) == ("10.9.9.9", 40000)
    assert address.towards(Hop("192.168.1.10", 5060)) == ("192.168.1.2", 5060)


@pytest.mark.parametrize(
    ("peer", "received", "rport"),
    [
        (TRUNK, "nonsense", "40000"),
        (TRUNK, "203.0.114.7", "70000"),
        (TRUNK, "203.0.114.7", "x"),
        (TRUNK, "10.0.0.1", "40000"),
        (TRUNK, "2001:db8::1", "40000"),
        (TRUNK._replace(transport="tcp"), "203.0.114.7", "40000"),
    ],
)
def test_what_makes_no_sense_is_not_believed(peer: Hop, received: str, rport: str) -> None:
    address = own(learn_public_address=True)
    learn(address, peer, received, rport)
    assert address.towards(TRUNK)[0] == "192.168.1.2"


def test_nothing_is_learnt_unless_wanted() -> None:
    configs: tuple[dict[str, Any], ...] = ({}, {"learn_public_address": True, "external_ip": "203.0.113.5"})
    for config in configs:
        assert not learn(own(**config), TRUNK, "203.0.114.7")
