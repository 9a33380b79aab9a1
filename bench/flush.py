"""How soon a flushed lane is silent: the store into shared memory to the first silent packet."""

import asyncio
import random
import time
from bisect import bisect_right
from dataclasses import replace

import numpy as np

from active_call.core.audio import SAMPLE_RATE, Pcm
from active_call.lanes.messages import PCMU, ConfigureLane
from active_call.media.lane import Lane
from active_call.media.ports import PortRange
from active_call.media.supervisor import MediaPlane
from active_call.testing.probe import Packet, Probe
from bench.figures import Figure, spread
from bench.measure import HOST, Options, Tell, ensure

FLUSHES = 200
LANES = 4
_TONE: Pcm = (8000 * np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)).astype(np.int16)


async def run(options: Options, tell: Tell) -> list[Figure]:
    """Lanes play a tone that is flushed at random phases of the clock, with the usual fade and a long one."""
    figures = []
    plane = MediaPlane(capacity=LANES, ports=PortRange(30_000, 34_000, HOST), cname="bench", spare=False)
    await plane.start()
    try:
        for fade_ms, limit in ((5.0, 25.0), (20.0, None)):
            count = options.times(FLUSHES) // LANES
            found = await asyncio.gather(*(_one_lane(plane, count, fade_ms) for _ in range(LANES)))
            values = [value for values in found for value in values]
            tell(f"{len(values)} flushes with a fade of {fade_ms:g} ms")
            name = f"flush written to silence, fade {fade_ms:g} ms"
            figures.append(spread(name, values, "ms", (50, 99), limited=99, limit=limit))
    finally:
        await plane.aclose()
    return figures


async def _one_lane(plane: MediaPlane, count: int, fade_ms: float) -> list[float]:
    probe = Probe(HOST)
    lane = plane.open_lane()
    _configure(lane, probe.port)
    probe.remote = (HOST, lane.port)
    probe.start()
    flushed = []
    try:
        for _ in range(count):
            await lane.play(_TONE)
            await asyncio.sleep(0.1 + random.random() * 0.02)
            flushed.append(time.time_ns())
            lane.flush(fade_ms=fade_ms)
            await asyncio.sleep(0.1)
    finally:
        lane.close()
        await asyncio.wait_for(lane.closed.wait(), 3.0)
        probe.close()
    return [_silence_after_ms(probe.packets, moment) for moment in flushed]


def _configure(lane: Lane, port: int) -> None:
    lane.configure(
        ConfigureLane(
            lane.ref.row,
            lane.ref.generation,
            sends=PCMU,
            receives=(PCMU,),
            sends_events=None,
            remote=(HOST, port),
            remote_rtcp=None,
        )
    )


def _silence_after_ms(packets: list[Packet], moment: int) -> float:
    """To the first packet that falls silent: its first half may hold the 1.5 ms that the resampler rings on."""
    at = bisect_right([packet.time_ns for packet in packets], moment)
    ensure(at > 0 and packets[at - 1].audible, "nothing was played before the flush")
    silent = next(
        (packet for packet in packets[at:] if not replace(packet, payload=packet.payload[80:]).audible), None
    )
    ensure(silent is not None, "a flush had no effect")
    assert silent is not None
    return (silent.time_ns - moment) / 1e6
