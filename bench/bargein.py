"""How soon the agent falls silent when the caller speaks."""

import asyncio

from active_call.core.audio import Pcm
from active_call.testing.caller import Telephones
from bench.figures import Figure, spread
from bench.measure import (
    LEAST_JITTER,
    SILERO,
    SPEECH_PADDING_MS,
    Options,
    Tell,
    ensure,
    gateway_with_phones,
    playbook,
    probe_call,
    telephone_speech,
)

CALLS = 20
AT_ONCE = 4
PLAYBOOK = playbook(
    greeting="a" * 250,
    vad=SILERO,
    rules=[{"say": "yes"}],
    interruption={"strategy": "both", "ignoreFirstMs": 500},
)


async def run(options: Options, tell: Tell) -> list[Figure]:
    """A caller speaks up 1.5 s into a long greeting; the last audible packet is the first one of the fade."""
    pcm = await telephone_speech(1.2)
    count = options.times(CALLS)
    values: list[float] = []
    async with gateway_with_phones(PLAYBOOK, config=LEAST_JITTER) as (gateway, phones):
        for _ in range(0, count, AT_ONCE):
            values += await asyncio.gather(*(_one_call(phones, gateway.uri, pcm) for _ in range(AT_ONCE)))
            tell(f"{len(values)} of {count}")
    return [
        spread(
            "speech to the fade, beyond speechPadding",
            [value - SPEECH_PADDING_MS for value in values],
            "ms",
            (50, 95),
            limited=95,
            limit=100.0,
            note=f"speechPadding {SPEECH_PADDING_MS} ms, {len(values)} calls",
        )
    ]


async def _one_call(phones: Telephones, target: str, pcm: Pcm) -> float:
    async with probe_call(phones, target) as call:
        await call.first_audible()
        await asyncio.sleep(1.5)
        call.probe.say(pcm)
        began, _ = await call.said(1)
        await asyncio.sleep(0.5)
        last = call.probe.last_audible_before_silence(began)
        ensure(last is not None, "the greeting went on")
        assert last is not None
        return (last.time_ns - began) / 1e6
