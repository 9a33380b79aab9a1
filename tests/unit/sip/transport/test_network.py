import asyncio
from pathlib import Path
from typing import Any

import pytest

from active_call.core.errors import ConfigError
from active_call.sip.config import SipConfig
from active_call.sip.hop import Hop
from active_call.sip.transport.network import Network
from active_call.testing.clock import run


class World:
    """A network that was never opened."""

    def __init__(self, host: str = "0.0.0.0", **config: Any) -> None:
        self.failed: list[tuple[Hop, str]] = []

        def ignore(*_: object) -> None:
            pass

        self.network = Network(
            SipConfig(host, 5060, **config),
            spawn=ignore,
            on_message=ignore,
            on_failed=lambda hop, why: self.failed.append((hop, why)),
            on_closed=ignore,
            on_unreachable=ignore,
        )


@pytest.mark.parametrize(
    ("host", "ipv4", "ipv6"),
    [
        ("", True, False),
        ("0.0.0.0", True, False),
        ("10.0.0.1", True, False),
        ("::1", False, True),
        ("::", True, True),
    ],
)
def test_which_ip_versions_there_are(host: str, ipv4: bool, ipv6: bool) -> None:
    network = World(host).network
    assert (network.ipv4, network.ipv6) == (ipv4, ipv6)


@pytest.mark.parametrize(
    ("host", "hop", "why"),
    [
        ("10.0.0.1", Hop("::1", 5060), "can't send to [::1]:5060: no IPv6, SIP listens on 10.0.0.1 only"),
        ("::1", Hop("10.0.0.9", 5060), "can't send to 10.0.0.9:5060: no IPv4, SIP listens on ::1 only"),
        ("10.0.0.1", Hop("10.0.0.9", 5060, "tcp"), "can't send to 10.0.0.9:5060 over TCP: TCP is switched off"),
    ],
)
def test_what_can_not_be_sent_is_told_later(host: str, hop: Hop, why: str) -> None:
    async def scene() -> None:
        world = World(host, tcp=False)
        world.network.send(b"x", hop)
        assert world.failed == []
        await asyncio.sleep(0)
        assert world.failed == [(hop, why)]

    run(scene())


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"tls_port": 5061}, "tls_port needs tls_cert_file"),
        ({"tls_port": 5061, "tls_cert_file": "none.pem"}, "tls_cert_file .*none.pem: No such file"),
        ({"tls_ca_file": "none.pem"}, "tls_ca_file .*none.pem: No such file"),
    ],
)
def test_certificates_that_can_not_be_used_are_said_at_once(
    config: dict[str, Any], said: str, tmp_path: Path
) -> None:
    files = {key: str(tmp_path / value) if isinstance(value, str) else value for key, value in config.items()}
    with pytest.raises(ConfigError, match=said):
        World(**files)
