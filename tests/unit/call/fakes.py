"""What stands around a call: SIP, clock and dialogue that take notes, and a voice of samples per character."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

import numpy as np

from active_call.core.errors import ProviderError
from active_call.sip.dialogs.usage import UsageState
from active_call.sip.events import Answered, Ended, SipEvent
from active_call.speech.providers import TtsChunk
from active_call.wire.commands import Command
from active_call.wire.dialogue import CallPort
from active_call.wire.events import Event
from active_call.wire.options import TtsOption

SAMPLES_PER_CHARACTER = 320
OFFER = b"""v=0\r
o=- 1 1 IN IP4 192.0.2.7\r
s=-\r
c=IN IP4 192.0.2.7\r
t=0 0\r
m=audio 4000 RTP/AVP 0 101\r
a=rtpmap:101 telephone-event/8000\r
"""
HOLD = OFFER + b"a=sendonly\r\n"


class LoopClock:
    """Wall time as the (virtual) loop counts it."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return 1_700_000_000 + self.monotonic()


class NotingSip:
    """Stands in for SipCall and for the SipAgent that made it; `parties` are the calls it makes besides."""

    caller = "sip:alice@example.com"
    callee = "sip:bot@example.com"
    peer = ("192.0.2.7", 5060)
    dialog_id = call_id = "dialog-1"
    local_tag, remote_tag = "to", "from"
    offer_waits = True
    header_lines = ("X-Account: 7",)

    def __init__(self, offer: bytes | None = OFFER) -> None:
        self.remote_sdp = offer
        self.headers: dict[str, str] = {"X-Account": "7"}
        self.state = UsageState.CALLING
        self.done: list[str] = []
        """What it was told to do, in order."""
        self.sent_headers: dict[str, str] = {}
        self.refuses_to_dial: Exception | None = None
        self.replaces: NotingSip | None = None
        self.parties: list[NotingSip] = []
        self.remote_target: str | None = "sip:carol@192.0.2.9:5062"
        self.replaces_value = "leg-1;to-tag=theirs;from-tag=ours"
        self.dialled: dict[str, Any] = {}
        """What it was dialled with."""
        self._listener: Callable[[SipEvent], None] | None = None
        self._waiting: list[SipEvent] = []

    @property
    def listener(self) -> Callable[[SipEvent], None] | None:
        return self._listener

    @listener.setter
    def listener(self, listener: Callable[[SipEvent], None]) -> None:
        self._listener = listener
        for event in self._waiting:
            listener(event)

    def forget(self) -> None:
        """As the real one does when it has told of the end."""
        self._listener = None

    def happens(self, event: SipEvent) -> None:
        if isinstance(event, Ended):
            self.state = UsageState.ENDED
        if self._listener is None:
            self._waiting.append(event)
        else:
            self._listener(event)

    def answers(self, sdp: bytes | None = OFFER) -> None:
        self.remote_sdp = sdp
        self.state = UsageState.CONFIRMED
        self.happens(Answered(sdp))

    def ring(self) -> None:
        self.done.append("ring")

    def progress(self, sdp: bytes) -> None:
        self.done.append("progress")

    def accept(self, sdp: bytes) -> None:
        self.done.append("accept")
        self.state = UsageState.CONFIRMED

    def reject(self, status: int, reason: str, *, headers: Mapping[str, str]) -> None:
        self.done.append(f"reject {status} {reason}")
        self.state = UsageState.ENDED
        self.sent_headers = dict(headers)

    def hangup(self, *, headers: Mapping[str, str]) -> None:
        self.done.append("hangup")
        self.sent_headers = dict(headers)

    def answer_offer(self, sdp: bytes | None, status: int = 200, reason: str = "OK") -> None:
        self.done.append(f"answer offer {status}")

    def offer(self, sdp: bytes) -> None:
        self.done.append("offer")

    def refer(self, refer_to: str, *, referred_by: str | None, headers: Mapping[str, str]) -> None:
        self.done.append(f"refer {refer_to}")
        self.sent_headers = {**headers, "Referred-By": referred_by or ""}

    def notify_refer(self, status: int, reason: str, *, final: bool) -> None:
        self.done.append(f"notify {status} {reason}{' final' if final else ''}")

    def message(self, body: bytes, content_type: str, *, headers: Mapping[str, str]) -> None:
        self.done.append(f"message {body.decode()} {content_type}")
        self.sent_headers = dict(headers)

    def info(self, content_type: str, body: bytes) -> None:
        self.done.append(f"info {body.decode().split()[0]}")

    def advertised_host(self, peer: str) -> str:
        return "192.0.2.1"

    def invite(
        self, target: str, *, listener: Callable[[SipEvent], None], call_id: str, **rest: object
    ) -> "NotingSip":
        if self.refuses_to_dial is not None:
            raise self.refuses_to_dial
        if self._listener is None:
            made = self
        else:
            made = NotingSip()
            self.parties.append(made)
        made.done.append(f"invite {target}")
        made.dialled = {**rest, "call_id": call_id}
        made._listener = listener
        return made


class NotingDialogue:
    """Leads nowhere: keeps the events; `script` is what it does."""

    def __init__(self, script: Callable[[CallPort], Coroutine[Any, Any, None]] | None = None) -> None:
        self.events: list[Event] = []
        self._script = script

    async def run(self, call: CallPort) -> None:
        if self._script is not None:
            await self._script(call)
        await asyncio.Event().wait()

    def receive(self, event: Event) -> None:
        self.events.append(event)

    def names(self) -> list[str]:
        return [event.event for event in self.events]


class NotingCall:
    """Stands in for Call: keeps what is emitted, runs what is spawned."""

    def __init__(self) -> None:
        self.id = "c1"
        self.variables: dict[str, Any] = {}
        self.events: list[Event] = []
        self.commands: list[Command] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.ms = 1_000

    def send(self, command: Command, *, trusted: bool = True) -> None:
        self.commands.append(command)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        return task

    def expect(self, phrases: Sequence[str]) -> None:
        pass

    def now_ms(self) -> int:
        return self.ms

    def names(self) -> list[str]:
        """The events so far, without metrics."""
        return [event.event for event in self.events if event.event != "metrics"]


class SampleVoice:
    """Speaks each character for 20 ms; "fail" fails."""

    async def synthesize(self, text: AsyncIterable[str], option: TtsOption) -> AsyncIterator[TtsChunk]:
        async for piece in text:
            if piece == "fail":
                raise ProviderError("sample", "the voice is hoarse")
            yield TtsChunk(np.full(len(piece) * SAMPLES_PER_CHARACTER, 100, np.int16), piece)
