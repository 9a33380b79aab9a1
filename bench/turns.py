"""What the gateway adds to a turn: the caller's last packet to the first audible packet of the reply."""

import asyncio

import numpy as np

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.lanes.messages import ConfigureVad, SpeechEnded, VadKind
from active_call.plane.vad import VadEngine
from bench.figures import Figure, one, spread
from bench.measure import (
    LEAST_JITTER,
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
_RELEASED_SECONDS = 1.0


async def run(options: Options, tell: Tell) -> list[Figure]:
    """Recogniser, model and voice take no time; jitter buffer, clock and detection do."""
    pcm = await telephone_speech(0.9)
    figures = []
    for detector in ("energy", "silero"):
        values = await _measure(detector, pcm, options.times(TURNS))
        tell(f"{len(values)} turns with {detector}")
        release = release_ms(detector, pcm)
        overheads = [value - SILENCE_PADDING_MS - release for value in values if value >= 0]
        name = f"turn with {detector}, beyond silencePadding and detector"
        note = f"the detector goes on hearing speech for {release:.0f} ms"
        figures.append(spread(name, overheads, "ms", (50, 95), limited=95, limit=120.0, note=note))
        early = sum(value < 0 for value in values)
        figures.append(
            one("… replies before the caller had finished", early, "", limit=0, note=f"of {len(values)}")
        )
    return figures


def release_ms(detector: str, pcm: Pcm) -> float:
    """How long after the last sample of this speech the detector itself still hears some: its own time."""
    silence = np.zeros(int(_RELEASED_SECONDS * 8000), np.int16)
    audio = np.concatenate((silence, pcm, silence))
    audio = np.concatenate((audio, np.zeros(-len(audio) % 160, np.int16)))
    engine = VadEngine(1, threaded=False)
    kind: VadKind = "silero" if detector == "silero" else "energy"
    message = ConfigureVad(0, 0, kind, silence_padding_ms=SILENCE_PADDING_MS)
    engine.configure(0, message, 0)
    ended: list[int] = []
    for tick, part in enumerate(audio.reshape(-1, 160)):
        engine.feed(np.zeros(1, np.int64), part[None], np.array([tick * TICK_SAMPLES]), tick)
        ended += [event.end for event in engine.collect(tick) if isinstance(event, SpeechEnded)]
    spoken_to = 2 * (len(silence) + len(pcm))  # in 16 kHz samples
    return max(0.0, (ended[-1] - spoken_to) / 16)


async def _measure(detector: str, pcm: Pcm, turns: int) -> list[float]:
    text = playbook(greeting="hello", vad={**SILERO, "type": detector}, rules=[{"say": "a" * 15}])
    async with (
        gateway_with_phones(text, config=LEAST_JITTER) as (gateway, phones),
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
