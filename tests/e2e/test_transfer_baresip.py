"""Real softphones are transferred: by REFER, by REFER with Replaces, and bridged."""

import asyncio
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from active_call.client import connect
from active_call.core.audio import Pcm
from active_call.testing.process import GatewayProcess
from active_call.wire import events
from active_call.wire.options import ReferOption
from tests.e2e.api import Log, option, purity, run
from tests.e2e.baresip import Baresip

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("needs_baresip")]

ALICE, BOB = 700, 1_100
"""What each says, in Hz."""


def last_second(pcm: Pcm, rate_hz: int = 8_000) -> Pcm:
    loud = np.flatnonzero(np.abs(pcm) > 1_000)
    end = int(loud[-1]) + 1 if len(loud) else 0
    return pcm[max(0, end - rate_hz) : end]


@pytest.mark.parametrize("mode", ["blind", "attended", "bridge"])
def test_baresip_is_transferred(tmp_path: Path, mode: Literal["blind", "attended", "bridge"]) -> None:
    async def scene(gateway: GatewayProcess, alice: Baresip, bob: Baresip) -> Log:
        async with connect(gateway.ws_url, "sip") as call:
            log = Log.of(call)
            await call.invite(option(callee=alice.uri, caller="sip:desk@127.0.0.1"))
            await call.until(events.Answer)
            await call.refer(bob.uri, options=ReferOption(mode=mode, timeout=10))
            await call.until(events.Answer, where=lambda event: bool(event.refer), timeout=15)
            if mode == "bridge":
                await asyncio.sleep(1.5)
                await call.hangup()
            await call.until(events.Hangup, where=lambda event: not event.refer)
            return log

    with (
        GatewayProcess(tmp_path / "gw") as gateway,
        Baresip(tmp_path / "alice", tone_hz=ALICE) as alice,
        Baresip(tmp_path / "bob", tone_hz=BOB) as bob,
    ):
        log = run(scene(gateway, alice, bob))
        gateway.wait_lanes(0)
        time.sleep(1.5)
        alice.command("hangup")
        bob.wait_for("session closed")
        time.sleep(0.3)
        heard = last_second(alice.heard_last()), last_second(bob.heard_last())
        (record,) = gateway.wait_records(1)
    assert record["hangupReason"] == ("bySystem" if mode == "bridge" else "byRefer")
    assert [error.error for error in log.all(events.Error)] == []
    assert purity(heard[0], 8_000, BOB) > 0.8
    assert purity(heard[1], 8_000, ALICE) > 0.8
