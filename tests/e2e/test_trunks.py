"""The operator's rules for outbound calls, on the wire."""

import asyncio
from pathlib import Path

import httpx
import pytest

from active_call.sip.agent import SipAgent, SipCall, SipConfig
from active_call.testing.process import GatewayProcess
from tests.e2e.api import TALK, until

pytestmark = pytest.mark.e2e

RULES = """
callid_suffix = "gw1.example"

[[rewrites]]
match = '@(\\w+)\\.invalid'
rewrite = "@127.0.0.1:{port}"

[[trunk_rules]]
match.to.user = '^\\+49'
rewrite = {{from = {{user = "+493012345", host = "us.example"}}, contact = {{user = "trunk"}}}}
"""


def invited(tmp_path: Path, option: dict[str, object]) -> SipCall:
    """What a telephone gets when the gateway is told to call."""

    async def scene() -> SipCall:
        calls: list[SipCall] = []
        agent = SipAgent(SipConfig("127.0.0.1", 0), on_call=calls.append)
        await agent.start()
        config = RULES.format(port=agent.address[1])
        with GatewayProcess(tmp_path, {"p.md": TALK}, config=config) as gateway:
            async with httpx.AsyncClient() as client:
                answer = await client.post(f"{gateway.http_url}/call", json={"playbook": "p.md", **option})
                assert answer.status_code == 200, answer.text
            await until(lambda: bool(calls))
            calls[0].reject(486, "Busy Here")
            await until(lambda: len(gateway.records()) == 1)
        await agent.aclose()
        return calls[0]

    return asyncio.run(asyncio.wait_for(scene(), 40))


def test_t29_a_call_goes_where_the_rules_say(tmp_path: Path) -> None:
    sip = {"identity": "tel:+4930", "privacy": "id"}
    call = invited(
        tmp_path, {"callee": "sip:+4989@carrier.invalid", "caller": "sip:bot@here.example", "sip": sip}
    )
    assert call.request_uri == "sip:+4989@carrier.invalid"
    assert "P-Asserted-Identity: <tel:+4930>" in call.header_lines
    assert "Privacy: id" in call.header_lines
    assert call.caller == "sip:anonymous@anonymous.invalid"
    [contact] = [line for line in call.header_lines if line.startswith("Contact: ")]
    assert contact.startswith("Contact: <sip:trunk@127.0.0.1:")
    assert call.call_id.endswith("@gw1.example")


def test_a_trunk_rule_says_who_calls(tmp_path: Path) -> None:
    call = invited(tmp_path, {"callee": "sip:+4989@carrier.invalid"})
    assert call.caller == "sip:+493012345@us.example"
