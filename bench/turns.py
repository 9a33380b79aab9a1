"""What the gateway adds to a turn: the caller's last packet to the first audible packet of the reply."""

import asyncio

from active_call.core.audio import Pcm
from bench.figures import Figure, one, spread
from bench.measure import (
    SILENCE_PADDING_MS,
    SILERO,
    Options,
    ProbeCall,
    Tell,
    gateway_with_phones,
    playbook,
    probe_calls,
    telephone_speech,
)

CALLS = 10
TURNS = 20
PLAYBOOK = playbook(greeting="hello", vad=SILERO, rules=[{"say": "a" * 15}])


async def run(options: Options, tell: Tell) -> list[Figure]:
    """Recogniser, model and voice take no time; jitter buffer, detection and clock do."""
    pcm = await telephone_speech(0.9)
    turns = options.times(TURNS)
    async with (
        gateway_with_phones(PLAYBOOK) as (gateway, phones),
        probe_calls(phones, gateway.uri, CALLS) as calls,
    ):
        found = await asyncio.gather(*(_turns(call, pcm, turns, at / CALLS) for at, call in enumerate(calls)))
    values = [value for values in found for value in values]
    early = [value for value in values if value < 0]
    tell(f"{len(values)} turns")
    return [
        spread(
            "turn, beyond silencePadding",
            [value - SILENCE_PADDING_MS for value in values if value >= 0],
            "ms",
            (50, 95),
            limited=95,
            limit=120.0,
            note=f"silencePadding {SILENCE_PADDING_MS} ms, {len(values)} turns",
        ),
        one("replies before the caller had finished", len(early), "", limit=0, note=f"of {len(values)}"),
    ]


async def _turns(call: ProbeCall, pcm: Pcm, count: int, start: float) -> list[float]:
    """Milliseconds of each turn; negative if the reply came too early."""
    await call.first_audible()
    await asyncio.sleep(start)
    values = []
    for number in range(1, count + 1):
        await call.quiet(packets=25)
        call.probe.say(pcm)
        began, ended = await call.said(number)
        reply = await call.first_audible(began)
        values.append((reply.time_ns - ended) / 1e6)
    return values
