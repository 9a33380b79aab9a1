"""Who decides whether audio is encrypted: the caller's offer; else the option, then the configuration."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from active_call.client import Rest, connect
from active_call.core.audio import SAMPLE_RATE
from active_call.testing.caller import CallRefused, Phone, Telephones
from active_call.testing.process import GatewayProcess
from active_call.wire import events
from active_call.wire.options import CallOption, SipOption
from tests.e2e.api import TALK, option, run, tone, until

pytestmark = pytest.mark.e2e

OPTIONS: tuple[Any, ...] = (None, False, True, "require")
REFUSAL = "488 encryption is required here (enable_srtp = require) and RTP/AVP was offered"


def expected(config: Any, asked: Any) -> bool:
    """The option, then the configuration, then no; but what the operator requires, nobody can waive."""
    return bool(config if asked is None or config == "require" else asked)


async def over_websocket(gateway: GatewayProcess, phones: Telephones, asked: Any) -> Phone:
    """Dial by `invite`; hear each other; hang up."""
    callee = f"sip:ws-{asked}@127.0.0.1:{phones.agent.address[1]}"
    sip = SipOption(enable_srtp=asked)
    async with connect(gateway.ws_url, "sip") as call:
        await call.invite(option(callee=callee, caller="sip:alice@127.0.0.1", sip=sip))
        answer = await call.until(events.Answer)
        phone = next(one for one in phones.phones if one.leg.sip.callee == callee)
        await call.tts("hello", end_of_stream=True)
        await phone.wait_heard()
        await phone.say(tone(SAMPLE_RATE, 300, 0.3))
        await call.hangup()
        await call.until(events.Hangup)
    assert ("inline:***" in (answer.sdp or "")) is phone.leg.secure
    return phone


async def over_rest(gateway: GatewayProcess, phones: Telephones, asked: Any) -> Phone:
    """Dial by `POST /call` with a playbook that greets."""
    callee = f"sip:rest-{asked}@127.0.0.1:{phones.agent.address[1]}"
    async with Rest(gateway.http_url) as rest:
        await rest.dial(
            CallOption(
                callee=callee,
                caller="sip:alice@127.0.0.1",
                playbook="talk.md",
                sip=SipOption(enable_srtp=asked),
            )
        )
    await until(lambda: any(one.leg.sip.callee == callee for one in phones.phones))
    phone = next(one for one in phones.phones if one.leg.sip.callee == callee)
    await phone.wait_heard()
    await phone.hang_up()
    return phone


async def inbound(gateway: GatewayProcess, phones: Telephones, offered: bool) -> bool | str:
    """Call a playbook that greets: was it encrypted, or why not taken?"""
    phone = phones.dial(gateway.uri, srtp=offered)
    try:
        await phone.wait_answered()
    except CallRefused as error:
        return str(error)
    await phone.wait_heard()
    secure = phone.leg.secure
    await phone.hang_up()
    return secure


@pytest.mark.parametrize("config", [None, False, True, "require"])
def test_t28_the_priority_chain(tmp_path: Path, config: Any) -> None:
    text = {None: "", False: "enable_srtp = false", True: "enable_srtp = true", "require": 'srtp = "require"'}

    async def scene(gateway: GatewayProcess) -> dict[str, Any]:
        async with Telephones(capacity=16) as phones:
            dialled = await asyncio.gather(
                *(dial(gateway, phones, asked) for dial in (over_websocket, over_rest) for asked in OPTIONS)
            )
            called = [await inbound(gateway, phones, offered) for offered in (False, True)]
        half = len(OPTIONS)
        return {
            "websocket": dict(zip(OPTIONS, [phone.leg.secure for phone in dialled[:half]], strict=True)),
            "rest": dict(zip(OPTIONS, [phone.leg.secure for phone in dialled[half:]], strict=True)),
            "inbound": called,
        }

    with GatewayProcess(tmp_path, {"talk.md": TALK}, "talk.md", config=text[config]) as gateway:
        found = run(scene(gateway))
        log = gateway.log()
        dumps = [path.read_text() for path in tmp_path.rglob("*.jsonl")]
    table = {asked: expected(config, asked) for asked in OPTIONS}
    assert found == {
        "websocket": table,
        "rest": table,
        "inbound": [REFUSAL if config == "require" else False, True],
    }
    assert dumps
    for shown in (log, *dumps):
        assert not re.search("inline:[A-Za-z0-9+/]{20}", shown)
