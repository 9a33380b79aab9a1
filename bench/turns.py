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
_DETECTORS = {
    "energy": "the gateway itself",
    "silero": "with the time that the model goes on hearing speech",
}


async def run(options: Options, tell: Tell) -> list[Figure]:
    """Recogniser, model and voice take no time; jitter buffer, clock and detection do."""
    figures = []
    for detector, note in _DETECTORS.items():
        values = await _measure(detector, options.times(TURNS))
        tell(f"{len(values)} turns with {detector}")
        overheads = [value - SILENCE_PADDING_MS for value in values if value >= 0]
        name = f"turn with {detector}, beyond silencePadding"
        figures.append(spread(name, overheads, "ms", (50, 95), limited=95, limit=120.0, note=note))
        early = len(values) - len(overheads)
        figures.append(
            one("… replies before the caller had finished", early, "", limit=0, note=f"of {len(values)}")
        )
    return figures


async def _measure(detector: str, turns: int) -> list[float]:
    pcm = await telephone_speech(0.9)
    text = playbook(greeting="hello", vad={**SILERO, "type": detector}, rules=[{"say": "a" * 15}])
    async with (
        gateway_with_phones(text) as (gateway, phones),
        probe_calls(phones, gateway.uri, CALLS) as calls,
    ):
        found = await asyncio.gather(*(_turns(call, pcm, turns, at / CALLS) for at, call in enumerate(calls)))
    return [value for values in found for value in values]


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
