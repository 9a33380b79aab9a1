"""What callers notice when the control plane hangs, and when the media plane dies."""

import asyncio
import os
import signal
import time

from active_call.testing.probe import Packet
from bench.figures import Figure, one, spread
from bench.measure import (
    Options,
    Tell,
    gateway_with_phones,
    health,
    largest_gap_ms,
    lost,
    missing,
    playbook,
    probe_calls,
    settled,
    within,
)

CALLS = 20
BLOCKED_SECONDS = 1.0
PLAYBOOK = playbook(greeting="a" * 1000, vad={"type": "off"}, interruption={"strategy": "none"})


async def run(options: Options, tell: Tell) -> list[Figure]:
    """The agents speak all the while, so that a hole is heard as one."""
    async with (
        gateway_with_phones(PLAYBOOK) as (gateway, phones),
        probe_calls(phones, gateway.uri, CALLS) as calls,
    ):
        for call in calls:
            await call.first_audible()
        await settled(gateway)
        media = (await health(gateway))["media"]["pid"]
        blocked = time.time_ns()
        gateway.process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(BLOCKED_SECONDS)
        finally:
            gateway.process.send_signal(signal.SIGCONT)
        resumed = time.time_ns()
        tell("control plane was stopped")
        await asyncio.sleep(1.0)
        killed = time.time_ns()
        os.kill(media, signal.SIGKILL)
        await asyncio.sleep(2.0)
        recovered = time.time_ns()
        promotions = (await health(gateway))["media"]["promotions"]
        tell("media plane was killed")
    during = [within(call.probe.packets, blocked, resumed) for call in calls]
    deviations = [abs(value) for call in calls for value in call.probe.clock_deviations_ms(blocked, resumed)]
    across = [within(call.probe.packets, killed - 500_000_000, recovered) for call in calls]
    gaps = [largest_gap_ms(packets) for packets in across]
    losses = [lost(packets) for packets in across]
    silences = [missing(packets) for packets in across]
    jumps = sum(
        max(map(abs, call.probe.clock_deviations_ms(killed - 500_000_000, recovered))) > 20 for call in calls
    )
    note = f"{CALLS} calls"
    return [
        spread(
            "control plane stopped 1 s: send clock",
            deviations,
            "ms",
            (50, 99),
            limited=99,
            limit=5.0,
            note=note,
        ),
        one("… silent packets", sum(_silent(packets) for packets in during), "", limit=0, note=note),
        one("media plane killed: gap", max(gaps), "ms", stat="largest", limit=60.0, note=note),
        one("… packets lost per call", max(losses), "", stat="most", limit=1, note=note),
        one("… ticks without a packet per call", max(silences), "", stat="most", limit=1, note="by timestamps"),
        one("… calls whose timestamps left the clock", jumps, "", limit=0, note=note),
        one("… silent packets", sum(_silent(packets) for packets in across), "", note=note),
        one("… takeovers", promotions, "", note="1 is right"),
    ]


def _silent(packets: list[Packet]) -> int:
    return sum(not packet.audible for packet in packets)
