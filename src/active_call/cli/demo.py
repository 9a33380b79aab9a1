"""`active-call demo`: a whole call on this machine, live in the terminal.

The gateway is started on the embedded providers and calls itself: a simulated caller dials it over real SIP and
RTP, speaks, interrupts the agent once, presses a key. Then it stays up for softphones, or exits (`--once`).
"""

import asyncio
import signal
import wave
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
import uvloop
from rich.console import Console
from rich.table import Table
from rich.text import Text

from active_call.api.listener import bind
from active_call.api.server import HttpServer
from active_call.call.call import Call
from active_call.call.gateway import Gateway
from active_call.cli.serve import first_error
from active_call.config import Config
from active_call.core import log as logs
from active_call.core.audio import SAMPLE_RATE, TICK_SAMPLES, Pcm
from active_call.core.errors import ActiveCallError, ConfigError
from active_call.records.turns import Stage, Turn
from active_call.speech.providers import load_tts
from active_call.testing.caller import Phone, Telephones
from active_call.wire import events
from active_call.wire.events import Event
from active_call.wire.options import TtsOption

PLAYBOOK = "demo.md"
SENTENCES = ("I would like to book a table", "four people", "yes please")
KEY = "1"
_PATIENCE = 20.0


@dataclass
class Transcript:
    """What was said and done in the call, printed as it happens."""

    console: Console
    heard: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    interruptions: int = 0
    digits: str = ""
    errors: list[str] = field(default_factory=list)
    _start: int = 0

    def observe(self, event: Event) -> None:
        """Print an event."""
        stamp = getattr(event, "timestamp", 0)
        self._start = self._start or stamp
        match event:
            case events.AddHistory():
                who, style = ("agent", "cyan") if event.speaker == "assistant" else ("caller", "green")
                (self.said if who == "agent" else self.heard).append(event.text)
                self._line(stamp, f"{who:>7}  {event.text}", f"bold {style}")
            case events.Interruption():
                self.interruptions += 1
                heard = f"{event.current / 1000:.1f} of {event.total_duration / 1000:.1f} s were heard"
                self._line(stamp, f"        interruption: {heard}", "yellow")
            case events.Dtmf():
                self.digits += event.digit
                self._line(stamp, f"        key {event.digit}", "magenta")
            case events.Error():
                self.errors.append(f"{event.sender}: {event.error}")
                self._line(stamp, f"        error: {event.error}", "bold red")
            case events.Hangup():
                self._line(stamp, f"        hangup: {event.reason} by {event.initiator}", "dim")
            case events.Metrics():
                self._line(stamp, f"        {event.key} {event.duration} ms", "dim")
            case (
                events.Answer() | events.Speaking() | events.Silence() | events.TrackStart() | events.TrackEnd()
            ):
                self._line(stamp, f"        {event.event}", "dim")
            case _:
                pass

    def _line(self, stamp: int, text: str, style: str) -> None:
        self.console.print(
            Text(f"{(stamp - self._start) / 1000:7.2f} s  ", "dim") + Text(text, style), soft_wrap=True
        )


@dataclass
class Outcome:
    """How the call went; `problems` is empty if it went as scripted."""

    call: Call
    record: Path | None
    problems: list[str]


def run_demo(*, once: bool) -> int:
    """Run the demo. Exit code 0 only if the conversation went as scripted. Raises ActiveCallError."""
    if not (Path("config/playbook") / PLAYBOOK).is_file():
        raise ConfigError(f"config/playbook/{PLAYBOOK} is missing; run the demo in the project's folder")
    logs.setup("warn")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_demo(Console(highlight=False), once=once))
        except BaseExceptionGroup as group:
            raise first_error(group) from None


async def _demo(console: Console, *, once: bool) -> int:
    config = _config(once=once)
    gateway = Gateway(config, lanes=256)
    async with asyncio.TaskGroup() as tasks:
        stop_http = asyncio.Event()
        server = HttpServer(gateway, config, bind(*config.http_address))
        tasks.create_task(server.run(stop_http))
        try:
            async with gateway:
                host, port = gateway.agent.address
                console.print(f"gateway: SIP on {host}:{port}, embedded voice and recogniser, no key needed\n")
                outcome = await _converse(gateway, console, f"sip:demo@127.0.0.1:{port}")
                _report(console, outcome)
                if not once:
                    await _stay(console, host, port)
                    await gateway.drain(0.0)
        finally:
            stop_http.set()
    return 1 if outcome.problems else 0


def _config(*, once: bool) -> Config:
    """The defaults, on any free port if the process is to exit anyway."""
    changes: dict[str, object] = (
        {"addr": "127.0.0.1", "udp_port": 0, "http_addr": "127.0.0.1:0"} if once else {}
    )
    return Config.model_validate(
        {
            **changes,
            "handler": {"type": "playbook", "default": PLAYBOOK},
            "recording": {"enabled": True, "auto_start": True},
            "callrecord": {"type": "local"},
        }
    )


async def _converse(gateway: Gateway, console: Console, uri: str) -> Outcome:
    """One scripted call, seen from both sides."""
    transcript = Transcript(console)
    done: asyncio.Future[tuple[Call, Path | None]] = asyncio.get_running_loop().create_future()
    gateway.calls.on_start = lambda call: call.follow(transcript.observe)
    gateway.calls.on_record = lambda call, path: None if done.done() else done.set_result((call, path))
    sentences = [await _speech(text) for text in SENTENCES]
    problems: list[str] = []
    async with Telephones(capacity=4) as phones:
        phone = phones.dial(uri)
        try:
            await _script(phone, sentences)
        except (ActiveCallError, TimeoutError) as error:
            problems.append(f"the caller gave up: {error or 'waited too long'}")
            if not phone.ended.is_set():
                await phone.hang_up()
        call, path = await asyncio.wait_for(done, _PATIENCE)
    gateway.calls.on_start = gateway.calls.on_record = None
    return Outcome(call, path, problems + _differences(transcript, call))


async def _script(phone: Phone, sentences: list[Pcm]) -> None:
    """Listen, speak, interrupt the second answer, press a key when the third has been given."""
    await phone.wait_answered()
    await phone.wait_heard(1)
    await phone.wait_quiet()
    for number, sentence in enumerate(sentences, start=1):
        before = len(phone.heard)
        await phone.say(sentence)
        await phone.wait_heard(before + 1, _PATIENCE)
        if number == 2:
            # The agent is explaining at length: the next sentence interrupts it.
            await asyncio.sleep(2.0)
        else:
            await phone.wait_quiet()
    phone.press(KEY)
    await phone.wait_ended(_PATIENCE)


async def _speech(text: str) -> Pcm:
    """The simulated caller's voice."""

    async def one() -> AsyncIterator[str]:
        yield text

    voice = load_tts("espeak")
    return np.concatenate([chunk.pcm async for chunk in voice.synthesize(one(), TtsOption(speed=0.9))])


def _differences(transcript: Transcript, call: Call) -> list[str]:
    """What did not go as scripted."""
    problems = list(transcript.errors)
    if len(transcript.heard) != len(SENTENCES):
        problems.append(f"{len(SENTENCES)} sentences were spoken, {len(transcript.heard)} were understood")
    for said, heard in zip(SENTENCES, transcript.heard, strict=False):
        if heard.lower().strip(" .") != said.lower():
            problems.append(f'the caller said "{said}", the agent understood "{heard}"')
    if transcript.interruptions != 1:
        problems.append(
            f"the caller interrupted once, the agent was interrupted {transcript.interruptions} times"
        )
    if transcript.digits != KEY:
        problems.append(f'the caller pressed {KEY}, the agent saw "{transcript.digits}"')
    if call.ending is None or call.ending.initiator == "caller":
        problems.append("the agent should have ended the call")
    return problems


def _report(console: Console, outcome: Outcome) -> None:
    """Latency per turn, and where the files are."""
    call = outcome.call
    table = Table(title="latency per turn, ms", title_justify="left")
    stages: tuple[Stage, ...] = get_args(Stage)
    table.add_column("turn")
    for stage in [*stages, "caller's end → agent's first packet"]:
        table.add_column(stage, justify="right")
    for turn in call.news.turns.turns:
        if turn.latency_ms is not None:
            cells = [str(turn.stages[stage]) if stage in turn.stages else "" for stage in stages]
            table.add_row(_label(turn), *cells, str(turn.latency_ms))
    console.print()
    console.print(table)
    for recorded in call.recorded:
        with wave.open(recorded.path) as file:
            seconds = file.getnframes() / file.getframerate()
            ticks = file.getnframes() * SAMPLE_RATE // file.getframerate() / TICK_SAMPLES
        length = f"{seconds:.2f} s, {ticks:g} ticks; left caller, right agent"
        console.print(f"recording  {recorded.path}  ({length})", soft_wrap=True)
    console.print(f"events     {call.dump_path}", soft_wrap=True)
    console.print(f"record     {outcome.record}", soft_wrap=True)
    for problem in outcome.problems:
        console.print(f"not as scripted: {problem}", style="bold red")
    if not outcome.problems:
        console.print("the conversation went as scripted", style="bold green")


def _label(turn: Turn) -> str:
    return turn.user_text or (f"key {turn.digits}" if turn.digits else "greeting")


async def _stay(console: Console, host: str, port: int) -> None:
    """Wait for softphones until Ctrl-C."""
    console.print(
        f"\nup for softphones: call sip:demo@<this machine>:{port} (listening on {host}); Ctrl-C ends"
    )
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await stopping.wait()
