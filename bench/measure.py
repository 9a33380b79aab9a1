"""What the scenarios share: a gateway with telephones, measured calls, speech, and what packets tell."""

import asyncio
import json
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from active_call.core.audio import SAMPLE_RATE, TICK_SAMPLES, Pcm
from active_call.core.errors import ActiveCallError, ProviderError
from active_call.core.resample import resample
from active_call.sdp.negotiate import LocalMedia, accept_answer, make_offer
from active_call.sip.agent import SipCall
from active_call.sip.events import Answered, Ended, Rejected, SipEvent
from active_call.speech.providers import load_tts
from active_call.testing.caller import CallRefused, Telephones
from active_call.testing.probe import Packet, Probe
from active_call.testing.process import GatewayProcess
from active_call.wire.options import TtsOption

T = TypeVar("T")

HOST = "127.0.0.1"
_SENTENCE = (
    "I would like to know whether my new yellow umbrella may already have arrived in your lovely warehouse"
)
_LOUD = 1000.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    calls: tuple[int, ...] = (50, 200, 500)
    seconds: float = 15.0
    quick: bool = False

    def times(self, count: int) -> int:
        """So many repetitions; a quarter of them if it has to be quick."""
        return max(2, count // 4) if self.quick else count


SPEECH_PADDING_MS = 250
SILENCE_PADDING_MS = 100
SILERO = {"type": "silero", "speechPadding": SPEECH_PADDING_MS, "silencePadding": SILENCE_PADDING_MS}
"""A `vad` block of playbooks."""

LEAST_JITTER = "rtp_jitter_ms = 20\n"
"""Configuration: the loopback is clean."""

Tell = Callable[[str], None]
"""Shows progress."""


def playbook(**front_matter: Any) -> str:
    """A playbook without any model, whose recogniser and voice take no time; JSON is YAML too."""
    instant = {"provider": "instant"}
    matter = {"asr": instant, "tts": instant, "llm": {"provider": "scripted"}, **front_matter}
    return f"---\n{json.dumps(matter)}\n---\nYou are a benchmark.\n"


@asynccontextmanager
async def gateway_with_phones(
    text: str, *, capacity: int = 64, config: str = ""
) -> AsyncIterator[tuple[GatewayProcess, Telephones]]:
    """A gateway that answers every call with one playbook, and telephones to call it."""
    with tempfile.TemporaryDirectory(prefix="active-call-bench-") as folder:
        gateway = GatewayProcess(
            Path(folder),
            playbooks={"bench.md": text},
            default="bench.md",
            config=config,
            log_level="warn",
        )
        with gateway:
            async with Telephones(capacity=capacity, codecs=("pcmu",)) as phones:
                yield gateway, phones


async def settled(gateway: GatewayProcess, timeout: float = 10.0) -> None:
    """Wait until a warm spare stands by. Raises TimeoutError."""
    await _poll(lambda: gateway.health()[1]["media"]["spare"], timeout)


async def health(gateway: GatewayProcess) -> dict[str, Any]:
    """The body of /health."""
    return (await asyncio.to_thread(gateway.health))[1]


async def _poll(look: Callable[[], T | None], timeout: float) -> T:
    """What `look` finds, as soon as it finds something. Raises TimeoutError."""
    async with asyncio.timeout(timeout):
        while True:
            found = look()
            if found is not None:
                return found
            await asyncio.sleep(0.02)


# --- calls that are measured ------------------------------------------------------------------------------


@dataclass(eq=False)
class ProbeCall:
    """A call whose audio is a Probe's."""

    probe: Probe
    sip: SipCall | None = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    refused: CallRefused | None = None

    @classmethod
    async def dial(cls, phones: Telephones, target: str, timeout: float = 10.0) -> "ProbeCall":
        """Call and wait for the answer. Raises CallRefused, TimeoutError."""
        call = cls(Probe(HOST))
        local = LocalMedia(
            HOST, call.probe.port, ("pcmu",), dtmf=False, session_id=secrets.randbits(31), version=1
        )

        def on_sip(event: SipEvent) -> None:
            match event:
                case Answered() if event.sdp is not None:
                    call.probe.remote = accept_answer(event.sdp, local).remote
                    call.answered.set()
                case Rejected():
                    call.refused = CallRefused(event.status, event.reason)
                    call.answered.set()
                case Ended():
                    call.ended.set()
                case _:
                    pass

        call.probe.start()
        call.sip = phones.agent.invite(
            target,
            caller=f"sip:probe@{HOST}",
            sdp=make_offer(local),
            listener=on_sip,
            headers={},
            credentials=None,
            call_id=secrets.token_hex(12),
        )
        await asyncio.wait_for(call.answered.wait(), timeout)
        if call.refused is not None:
            raise call.refused
        return call

    async def first_audible(self, since_ns: int = 0, timeout: float = 10.0) -> Packet:
        """Wait for the first packet with sound after a moment. Raises TimeoutError."""
        return await _poll(lambda: self.probe.first_audible_after(since_ns), timeout)

    async def quiet(self, packets: int = 10, timeout: float = 20.0) -> None:
        """Wait until the last so many packets were silent. Raises TimeoutError."""

        def quiet() -> bool | None:
            latest = self.probe.packets[-packets:]
            return len(latest) == packets and not any(packet.audible for packet in latest) or None

        await _poll(quiet, timeout)

    async def said(self, count: int, timeout: float = 20.0) -> tuple[int, int]:
        """Wait until the `count`-th thing was said: Unix ns of its first and of its last packet."""
        said = self.probe.said
        return await _poll(lambda: said[count - 1] if len(said) >= count else None, timeout)

    def hang_up(self) -> None:
        """End the call and the probe; what it noted stays."""
        if self.sip is not None and not self.ended.is_set():
            self.sip.hangup()
        self.probe.close()


@asynccontextmanager
async def probe_call(phones: Telephones, target: str) -> AsyncIterator[ProbeCall]:
    """A measured call, hung up at the end."""
    call = await ProbeCall.dial(phones, target)
    try:
        yield call
    finally:
        call.hang_up()


@asynccontextmanager
async def probe_calls(phones: Telephones, target: str, count: int) -> AsyncIterator[list[ProbeCall]]:
    """Several at once."""
    calls = [await ProbeCall.dial(phones, target) for _ in range(count)]
    try:
        yield calls
    finally:
        for call in calls:
            call.hang_up()


# --- what packets tell ------------------------------------------------------------------------------------


def within(packets: Iterable[Packet], start_ns: int, end_ns: int) -> list[Packet]:
    """Those received between two moments."""
    return [packet for packet in packets if start_ns <= packet.time_ns <= end_ns]


def lost(packets: Sequence[Packet]) -> int:
    """Sequence numbers that never came, between the first and the last packet."""
    if not packets:
        return 0
    first = packets[0].sequence
    # Sequence numbers wrap; these calls are short enough that one wrap can be told from reordering.
    offsets = {(packet.sequence - first + 0x8000 & 0xFFFF) - 0x8000 for packet in packets}
    return max(offsets) - min(offsets) + 1 - len(offsets)


def largest_gap_ms(packets: Sequence[Packet]) -> float:
    """The longest time without a packet."""
    times = np.array([packet.time_ns for packet in packets])
    return float(np.diff(times).max()) / 1e6 if len(times) > 1 else 0.0


def missing(packets: Sequence[Packet]) -> int:
    """Timestamps that never came, in steps of 160 (20 ms of G.711): packets lost or never sent."""
    stamps = {
        (packet.timestamp - packets[0].timestamp + 0x8000_0000 & 0xFFFF_FFFF) // 160 for packet in packets
    }
    return max(stamps) - min(stamps) + 1 - len(stamps) if stamps else 0


# --- speech -----------------------------------------------------------------------------------------------


async def speech(seconds: float) -> Pcm:
    """So much speech at 16 kHz whose first and last 20 ms are loud; by espeak, or else like speech."""
    try:
        pcm = await _espeak()
    except ProviderError:
        pcm = _synthetic(6.0)
    frames = pcm[: len(pcm) // TICK_SAMPLES * TICK_SAMPLES].reshape(-1, TICK_SAMPLES).astype(np.float64)
    loud = np.flatnonzero(np.sqrt((frames * frames).mean(axis=1)) > _LOUD)
    wanted = loud[0] + round(seconds * SAMPLE_RATE / TICK_SAMPLES) - 1
    last = loud[loud <= wanted][-1]
    return pcm[loud[0] * TICK_SAMPLES : (last + 1) * TICK_SAMPLES].astype(np.int16)


async def telephone_speech(seconds: float) -> Pcm:
    """The same at 8 kHz, for probes."""
    return resample(await speech(seconds), SAMPLE_RATE, 8000)


async def _espeak() -> Pcm:
    async def text() -> AsyncIterator[str]:
        yield _SENTENCE

    chunks = [chunk.pcm async for chunk in load_tts("espeak").synthesize(text(), TtsOption())]
    pcm: Pcm = np.concatenate(chunks)
    return pcm


def _synthetic(seconds: float) -> Pcm:
    """A buzz of 120 Hz with two formants, in syllables."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    voice = np.zeros(len(time))
    for harmonic in range(1, 30):
        frequency = 120.0 * harmonic
        strength = np.exp(-(((frequency - 650) / 250) ** 2)) + 0.5 * np.exp(-(((frequency - 1700) / 300) ** 2))
        voice += (strength + 0.02) * np.sin(2 * np.pi * frequency * time + harmonic)
    syllables = 0.55 - 0.45 * np.cos(2 * np.pi * 4 * time)
    pcm: Pcm = (5000 * voice / np.abs(voice).max() * syllables).astype(np.int16)
    return pcm


def ensure(condition: bool, text: str) -> None:
    """Raises ActiveCallError if a measurement would be worth nothing."""
    if not condition:
        raise ActiveCallError(text)
