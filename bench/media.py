"""What talking calls cost the media plane, and how well it keeps its clock while it serves them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from active_call.core.audio import Pcm
from active_call.media.lane import Lane
from active_call.testing.caller import Phone, Telephones
from active_call.testing.process import GatewayProcess
from bench.figures import Figure, one, spread
from bench.machine import Stalls, bare_loop, cpu_ns, pss_mb, sleeper
from bench.measure import (
    SILERO,
    Options,
    ProbeCall,
    Tell,
    ensure,
    gateway_with_phones,
    health,
    lost,
    playbook,
    settled,
    speech,
    telephone_speech,
    within,
)

PROBES = 8
SPEAK_SECONDS = 2.0
PAUSE_SECONDS = 3.0
WARM_UP_SECONDS = 3.0
AT_ONCE = 20
_RECORDING = '[callrecord]\ntype = "local"\n'


@dataclass(frozen=True, slots=True)
class Mode:
    """What is done with the audio of a call."""

    name: str
    vad: dict[str, Any]
    config: str = ""
    limit_ms: float | None = None


MODES = (
    Mode("RTP only", {"type": "off"}),
    Mode("silero", SILERO, limit_ms=1.2),
    Mode("silero, recording", SILERO, "[recording]\nenabled = true\nauto_start = true\n"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters at one moment."""

    time_ns: int
    control_ns: int
    media_ns: int
    media: dict[str, Any]


async def run(options: Options, tell: Tell) -> list[Figure]:
    """Every number of calls in every mode; the bare loop just before the first mode."""
    figures = []
    pcm, pcm_8k = await speech(SPEAK_SECONDS), await telephone_speech(SPEAK_SECONDS)
    for calls in options.calls:
        bare = await bare_loop(calls, options.seconds, partial(_talk, pcm, calls))
        tell(f"{calls} calls: bare loop {bare:.3f} ms/call-s")
        for mode in MODES:
            figures += await _row(calls, mode, bare, options.seconds, pcm, pcm_8k)
            tell(f"{calls} calls, {mode.name}: done")
    return figures


async def _row(count: int, mode: Mode, bare: float, seconds: float, pcm: Pcm, pcm_8k: Pcm) -> list[Figure]:
    greeting = ("a" * 50 + "." * 50) * round((seconds + 60) / 4)  # 2 s of tone, 2 s of silence
    text = playbook(greeting=greeting, vad=mode.vad, interruption={"strategy": "none"})
    config = mode.config + _RECORDING
    async with gateway_with_phones(text, capacity=count, config=config) as (gateway, phones):
        await settled(gateway)
        idle_mb = pss_mb(gateway.pids())
        async with _talking(gateway, phones, count, pcm, pcm_8k) as probes:
            await asyncio.sleep(WARM_UP_SECONDS)
            before, stalls, after = await _measure(gateway, seconds)
            busy_mb = pss_mb(gateway.pids())
            ensure((await health(gateway))["calls"]["active"] == count, "calls ended before their time")
        records = await asyncio.to_thread(gateway.wait_records, count, 30.0)
    return _figures(count, mode, bare, before, after, stalls, probes, (idle_mb, busy_mb), records)


async def _measure(gateway: GatewayProcess, seconds: float) -> tuple[Sample, Stalls, Sample]:
    before = await _sample(gateway)
    stalls = await sleeper(seconds)
    return before, stalls, await _sample(gateway)


async def _sample(gateway: GatewayProcess) -> Sample:
    media = (await health(gateway))["media"]
    return Sample(time.time_ns(), cpu_ns(gateway.process.pid), cpu_ns(media["pid"]), media)


@asynccontextmanager
async def _talking(
    gateway: GatewayProcess, phones: Telephones, count: int, pcm: Pcm, pcm_8k: Pcm
) -> AsyncIterator[list[ProbeCall]]:
    """`count` calls whose callers speak 40 % of the time; a few of them are probes."""
    room = asyncio.Semaphore(AT_ONCE)
    probes = [await ProbeCall.dial(phones, gateway.uri) for _ in range(min(PROBES, count))]
    callers = await asyncio.gather(*(_dial(phones, gateway.uri, room) for _ in range(count - len(probes))))
    async with asyncio.TaskGroup() as tasks:
        talking = [tasks.create_task(_talk(pcm, count, phone.leg.lane, at)) for at, phone in enumerate(callers)]
        talking += [
            tasks.create_task(_talk_probe(probe, pcm_8k, _start(at, len(probes))))
            for at, probe in enumerate(probes)
        ]
        yield probes
        for task in talking:
            task.cancel()
    for probe in probes:
        probe.hang_up()
    await asyncio.gather(*(phone.hang_up() for phone in callers))


async def _dial(phones: Telephones, target: str, room: asyncio.Semaphore) -> Phone:
    async with room:
        phone = phones.dial(target)
        await phone.wait_answered(30.0)
    phone.leg.lane.listen(None)  # the bench has no time to listen to all of them
    return phone


def _start(at: int, count: int) -> float:
    """When the so-manieth of `count` callers begins to speak, so that they are spread evenly."""
    return at * (SPEAK_SECONDS + PAUSE_SECONDS) / count


async def _talk(pcm: Pcm, count: int, lane: Lane, at: int) -> None:
    await asyncio.sleep(_start(at, count))
    while True:
        await lane.play(pcm)
        await asyncio.sleep(SPEAK_SECONDS + PAUSE_SECONDS)


async def _talk_probe(call: ProbeCall, pcm_8k: Pcm, start: float) -> None:
    await asyncio.sleep(start)
    while True:
        call.probe.say(pcm_8k)
        await asyncio.sleep(SPEAK_SECONDS + PAUSE_SECONDS)


def _figures(
    count: int,
    mode: Mode,
    bare: float,
    before: Sample,
    after: Sample,
    stalls: Stalls,
    probes: list[ProbeCall],
    pss: tuple[float, float],
    records: list[dict[str, Any]],
) -> list[Figure]:
    call_seconds = count * (after.time_ns - before.time_ns) / 1e9
    media_ms = (after.media_ns - before.media_ns) / 1e6 / call_seconds
    control_ms = (after.control_ns - before.control_ns) / 1e6 / call_seconds

    def grown(word: str) -> int:
        return int(after.media.get(word, 0)) - int(before.media.get(word, 0))

    deviations = [
        abs(value) for call in probes for value in call.probe.clock_deviations_ms(before.time_ns, after.time_ns)
    ]
    missing = sum(lost(within(call.probe.packets, before.time_ns, after.time_ns)) for call in probes)
    idle_mb, busy_mb = pss
    row = f"{count} calls, {mode.name}"
    figures = [one(f"{row}: media plane CPU", media_ms, "ms/call-s", stat="mean", limit=mode.limit_ms)]
    if mode is MODES[0]:
        figures = [
            one(f"{count} calls, bare loop: CPU", bare, "ms/call-s", stat="mean"),
            *figures,
            one("… to bare loop", media_ms / bare, "", stat="ratio", limit=1.6),
        ]
    windows, gated = grown("vadWindows"), grown("vadGated")
    if windows + gated:
        figures.append(one("… VAD windows spared by the gate", 100 * gated / (windows + gated), "%"))
    return [
        *figures,
        one("… control plane CPU", control_ms, "ms/call-s", stat="mean"),
        one(
            "… late ticks",
            grown("lateTicks"),
            "",
            limit=stalls.over_20_ms,
            note=_stalls_note(stalls, grown("ticks")),
        ),
        one("… skipped ticks", grown("skippedTicks"), ""),
        spread("… send clock", deviations, "ms", (50, 99), limited=99, limit=2.0),
        one("… packets lost to callers", missing, "", note=f"of {len(deviations)}"),
        _lost_from_callers(records),
        one(
            "… memory (PSS) per call",
            busy_mb / count,
            "MB",
            stat="all",
            limit=0.5 if count >= 500 else None,
            note=f"{(busy_mb - idle_mb) / count:.3g} more per call than idle ({idle_mb:.0f} MB)",
        ),
    ]


def _stalls_note(stalls: Stalls, ticks: int) -> str:
    return f"of {ticks}; a sleeper {stalls.over_20_ms}, worst {stalls.worst_ms:.0f} ms"


def _lost_from_callers(records: list[dict[str, Any]]) -> Figure:
    """What the gateway itself missed, over whole calls, by its call records."""
    received = sum(record["media"]["packetsReceived"] for record in records)
    missing = sum(record["media"]["lost"] for record in records)
    return one("… packets lost from callers", missing, "", note=f"of {received}, whole calls")
