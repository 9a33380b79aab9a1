"""What conversations cost the control plane."""

import asyncio
from contextlib import AsyncExitStack

from active_call.core.audio import SAMPLE_RATE, Pcm
from active_call.testing.caller import Phone
from bench.figures import Figure, one
from bench.machine import cpu_ns
from bench.measure import SILERO, Options, Tell, gateway_with_phones, health, playbook, speech

CALLS = 20
TURN_SECONDS = 4.0
PLAYBOOK = playbook(greeting="hello", vad=SILERO, rules=[{"say": "a" * 15 + ". " + "b" * 15 + "."}])


async def run(options: Options, tell: Tell) -> list[Figure]:
    """Callers speak for 1.5 s every 4 s and get an answer of 1.3 s each time."""
    pcm = await speech(1.5)
    async with AsyncExitStack() as stack:
        gateway, phones = await stack.enter_async_context(gateway_with_phones(PLAYBOOK))
        callers = [phones.dial(gateway.uri) for _ in range(CALLS)]
        for phone in callers:
            await phone.wait_answered()
        async with asyncio.TaskGroup() as tasks:
            talking = [
                tasks.create_task(_talk(phone, pcm, at * TURN_SECONDS / CALLS))
                for at, phone in enumerate(callers)
            ]
            await asyncio.sleep(TURN_SECONDS + 1)
            control, media = gateway.process.pid, (await health(gateway))["media"]["pid"]
            heard = _seconds_heard(callers)
            before = cpu_ns(control), cpu_ns(media)
            await asyncio.sleep(options.seconds)
            after = cpu_ns(control), cpu_ns(media)
            heard = _seconds_heard(callers) - heard
            for task in talking:
                task.cancel()
    call_seconds = CALLS * options.seconds
    tell(f"{CALLS} calls, agents heard for {heard / call_seconds:.0%} of the time")
    note = f"{CALLS} calls, a turn every {TURN_SECONDS:g} s each"
    return [
        one(
            "control plane CPU",
            (after[0] - before[0]) / 1e6 / call_seconds,
            "ms/call-s",
            stat="mean",
            note=note,
        ),
        one(
            "media plane CPU", (after[1] - before[1]) / 1e6 / call_seconds, "ms/call-s", stat="mean", note=note
        ),
        one("agents heard", 100 * heard / call_seconds, "%", stat="mean"),
    ]


async def _talk(phone: Phone, pcm: Pcm, start: float) -> None:
    await asyncio.sleep(start)
    while True:
        await phone.leg.lane.play(pcm)
        await asyncio.sleep(TURN_SECONDS)


def _seconds_heard(phones: list[Phone]) -> float:
    """How long the agents were heard up to now."""
    return sum(heard.end - heard.start for phone in phones for heard in phone.heard) / SAMPLE_RATE
