"""Calls that can't be taken are refused with a status and a reason, over real SIP."""

import asyncio
from pathlib import Path

import pytest

from active_call.testing.caller import CallRefused, Telephones
from active_call.testing.process import GatewayProcess

pytestmark = pytest.mark.e2e

PLAYBOOK = "---\nllm: {provider: scripted}\ntts: {provider: instant}\nasr: {provider: instant}\n---\nA test.\n"
BROKEN = "---\nllm: {provider: scripted\ngreeting: hello\n---\nA test.\n"


def refusal(gateway: GatewayProcess, *, codecs: tuple[str, ...] = ("pcmu",)) -> CallRefused:
    async def dial() -> CallRefused:
        async with Telephones(capacity=2, codecs=codecs) as phones:
            phone = phones.dial(gateway.uri)
            with pytest.raises(CallRefused) as refused:
                await phone.wait_answered()
            return refused.value

    return asyncio.run(dial())


def test_only_codecs_we_do_not_have(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, {"p.md": PLAYBOOK}, "p.md", config='codecs = ["pcmu"]') as gateway:
        refused = refusal(gateway, codecs=("g722",))
        gateway.wait_lanes(0)  # the media plane confirms with its next tick
    assert refused.status == 488
    assert "G722" in refused.reason.upper()


def test_t12_a_playbook_that_is_not_there(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, {}, "absent.md") as gateway:
        refused = refusal(gateway)
        log = gateway.log()
    assert (refused.status, refused.reason) == (503, "Playbook Not Found")
    assert "playbook absent.md is missing" in log


def test_t12_a_broken_playbook_is_named_with_its_line(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, {"broken.md": BROKEN}, "broken.md") as gateway:
        refused = refusal(gateway)
        log = gateway.log()
    assert refused.status == 503
    assert "broken.md:" in log
    assert "Traceback" not in log


def test_t11_no_handler_at_all(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as gateway:
        refused = refusal(gateway)
    assert (refused.status, refused.reason) == (503, "No invite handler configured")
