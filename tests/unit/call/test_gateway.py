"""What the gateway gives to calls."""

import asyncio
from typing import Any

import pytest

from active_call.call.gateway import Gateway, redirection_judge, sip_config
from active_call.config import Config
from active_call.config.loader import parse_config
from active_call.outbound import OutboundPolicy


def test_a_playbook_written_by_a_client_does_not_see_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUSH", "sk-123")
    gateway = Gateway(Config(), lanes=1)
    lead = gateway.lead_for_client('---\ntts: {speaker: "${HUSH}"}\n---\nHello', {})
    assert lead.option.tts is not None
    assert lead.option.tts.speaker == "${HUSH}"


def test_what_the_file_says_of_sip() -> None:
    config = sip_config(
        parse_config(
            'addr = "::"\nudp_port = 5060\nexternal_ip = "203.0.113.1"\nuseragent = "us"\ntcp = false\n'
            'tls_port = 5061\ntls_cert_file = "c.pem"\ntls_key_file = "k.pem"\ntls_verify = false\n'
            'tls_ca_file = "ca.pem"\nenable_options_response = false\ncallid_suffix = "gw"\n'
            "auto_learn_public_address = true"
        )
    )
    assert (config.host, config.port, config.external_ip, config.user_agent) == (
        "::",
        5060,
        "203.0.113.1",
        "us",
    )
    assert (config.tcp, config.tls_port, config.tls_verify, config.tls_ca_file) == (
        False,
        5061,
        False,
        "ca.pem",
    )
    assert (config.tls_cert_file, config.tls_key_file) == ("c.pem", "k.pem")
    assert (config.answer_options, config.callid_suffix, config.learn_public_address) == (False, "gw", True)


def test_a_gateway_that_has_not_started_tells_so() -> None:
    async def status() -> dict[str, Any]:
        return Gateway(Config(), lanes=1).status()

    found = asyncio.run(status())
    assert (found["status"], found["reasons"]) == ("unavailable", ["starting"])
    assert found["registrations"] == []


def test_a_peer_redirects_us_only_to_hosts_that_a_call_may_name() -> None:
    judge = redirection_judge(OutboundPolicy(allow_hosts=("10.1.0.0/16",), deny_hosts=("*.evil.example",)))
    assert judge("sbc.example", "93.184.216.34") == ""
    assert judge("10.1.0.7", "10.1.0.7") == ""
    assert "private network" in judge("sbc.example", "10.2.0.7")
    assert "not allowed" in judge("a.evil.example", "93.184.216.34")
