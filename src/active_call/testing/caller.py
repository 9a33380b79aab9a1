"""Simulated callers: SIP telephones with a media plane of their own, for demos, tests and load.

A `Telephones` is a room full of them: one SIP agent, one media plane. Each `Phone` dials (or is called), says
recorded or synthesised speech, presses keys, and notes when the other side is heard.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType

import numpy as np

from active_call.call.dialing.plan import DialPlan
from active_call.call.info import digit_of_info
from active_call.call.leg import KeyMode, MediaPolicy, SipLeg
from active_call.core.audio import SAMPLE_RATE, TICK_SAMPLES, Pcm
from active_call.core.errors import ActiveCallError, RemoteProtocolError
from active_call.lanes.messages import DigitReceived, LaneEvent, MarkPlayed, RecordingClosed
from active_call.media.ports import PortRange
from active_call.media.supervisor import MediaPlane
from active_call.sdp.negotiate import Srtp
from active_call.sip.agent import SipAgent, SipCall, SipConfig
from active_call.sip.events import (
    Acknowledged,
    Answered,
    Ended,
    InfoReceived,
    OfferAnswered,
    OfferReceived,
    OfferRefused,
    Rejected,
    Ringing,
    SipEvent,
)
from active_call.sip.messages.uri import bracketed
from active_call.testing.impair import Impairment, Relay

_AUDIBLE_RMS = 120.0
"""Quieter than this (about -49 dBFS) is silence."""


class CallRefused(ActiveCallError):
    """The other side answered with a final failure."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class Heard:
    """The other side was audible from `start` to `end` (lane positions, 16 kHz); `end` grows while it is."""

    start: int
    end: int


@dataclass(eq=False)
class Phone:
    """One simulated telephone in one call."""

    leg: SipLeg
    relay: Relay | None = None
    status: int = 0
    ended_by: str = ""
    heard: list[Heard] = field(default_factory=list)
    digits: str = ""
    held: bool = False
    """The other side holds the call."""
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    recorded: asyncio.Event = field(default_factory=asyncio.Event)
    on_frame: Callable[[Pcm, int], None] | None = None
    _refused: CallRefused | None = None
    _marks: dict[int, asyncio.Future[int]] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _listened_to: int = 0

    # --- signalling -----------------------------------------------------------------------------------

    def on_sip(self, event: SipEvent) -> None:
        """Listener of the SIP dialog."""
        match event:
            case Ringing() if event.sdp is not None:
                self.leg.early(self._relayed(event.sdp))
                self._hear()
            case Answered() if event.sdp is not None:
                self.leg.answered(self._relayed(event.sdp))
                self._talk()
            case Acknowledged():
                self.leg.acknowledged()
                self._talk()
            case OfferReceived():
                self.held = self.leg.reoffered(event.sdp)
                self._tell()
            case OfferAnswered():
                self.held = self.leg.offer_answered(event.sdp)
                self._tell()
            case OfferRefused():
                self.leg.offer_refused()
            case InfoReceived():
                self.digits += digit_of_info(event.content_type, event.body) or ""
            case Rejected():
                self.status = event.status
                self._refused = CallRefused(event.status, event.reason)
                self.answered.set()
                self._over("rejected")
            case Ended():
                self._over(event.by)
            case _:
                pass

    def _relayed(self, sdp: bytes) -> bytes:
        return self.relay.rewrite(sdp) if self.relay is not None else sdp

    def _hear(self) -> None:
        if not self.leg.lane.listening:
            self.leg.lane.listen(self._listen)

    def _talk(self) -> None:
        if self.leg.negotiated is not None:
            self._hear()
            self.status = 200
            self.answered.set()

    def ring(self) -> None:
        """Tell the caller that it rings."""
        self.leg.sip.ring()

    def progress(self) -> None:
        """Let the caller hear what is said from now on, before the call is answered."""
        self.leg.progress()
        self._hear()

    def answer(self) -> None:
        """Take the call."""
        if self.leg.accept(self.on_sip):
            self._talk()

    def reject(self, status: int, reason: str) -> None:
        """Refuse the call."""
        self.status = status
        self.leg.sip.reject(status, reason, headers={})
        self._over("rejected")

    def _over(self, by: str) -> None:
        if not self.ended.is_set():
            self.ended_by = by
            self.leg.lane.stop_recording()
            self.leg.lane.close()
            if self.relay is not None:
                self.relay.close()
            for future in self._marks.values():
                if not future.done():
                    future.set_exception(ActiveCallError(f"the call ended ({by}) before that was said"))
            self._marks.clear()
            self.ended.set()
            self._tell()

    async def wait_answered(self, timeout: float = 10.0) -> None:
        """Until the call is answered. Raises CallRefused, TimeoutError."""
        await asyncio.wait_for(self.answered.wait(), timeout)
        if self._refused is not None:
            raise self._refused

    async def wait_ended(self, timeout: float = 10.0) -> None:
        """Until the call is over, from either side."""
        await asyncio.wait_for(self.ended.wait(), timeout)

    def hold(self, on: bool = True) -> None:
        """Put the other side on hold, or take it back."""
        self.leg.hold(on)

    async def wait_held(self, on: bool = True, timeout: float = 10.0) -> None:
        """Until the other side has put us on hold, or taken us back."""
        await self._until(lambda: self.held is on, timeout)

    async def hang_up(self) -> None:
        """End the call and wait until the lane is given back."""
        self.leg.sip.hangup()
        self._over("local")
        await asyncio.wait_for(self.leg.lane.closed.wait(), 3.0)

    # --- speaking -------------------------------------------------------------------------------------

    async def say(self, pcm: Pcm) -> int:
        """Speak 16 kHz samples. Returns the Unix milliseconds at which the last one was on the wire.

        Raises ActiveCallError if the call ends before.
        """
        lane = self.leg.lane
        padded = np.concatenate((pcm, np.zeros(-len(pcm) % TICK_SAMPLES, np.int16)))
        await lane.play(padded)
        return await self._played(lane.write_position)

    async def start_saying(self, pcm: Pcm) -> int:
        """Begin to speak; returns the Unix milliseconds at which the first packet of it was on the wire."""
        lane = self.leg.lane
        start = lane.write_position
        await lane.play(pcm)
        return await self._played(start + 1)

    async def _played(self, position: int) -> int:
        mark = self.leg.lane.mark(position)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._marks[mark] = future
        tick = await asyncio.wait_for(future, 60.0)
        return self.leg.lane.tick_wall_ms(tick)

    def press(self, digits: str, mode: KeyMode = "auto") -> KeyMode:
        """Press keys; returns the way they went. Raises MediaError if `mode` can't be."""
        return self.leg.press(digits, mode=mode)

    def record(self, path: str) -> None:
        """Record this call from this side."""
        self.leg.lane.start_recording(path, rate_hz=SAMPLE_RATE, flush_ms=200)

    # --- listening ------------------------------------------------------------------------------------

    def on_lane(self, event: LaneEvent) -> None:
        """Listener of the lane."""
        match event:
            case MarkPlayed():
                future = self._marks.pop(event.mark, None)
                if future is not None and not future.done():
                    future.set_result(event.tick)
            case DigitReceived():
                self.digits += event.digit
            case RecordingClosed():
                self.recorded.set()
            case _:
                pass

    def _listen(self, pcm: Pcm, position: int) -> None:
        self._listened_to = position + len(pcm)
        if self.on_frame is not None:
            self.on_frame(pcm, position)
        frames = pcm[: len(pcm) // TICK_SAMPLES * TICK_SAMPLES].reshape(-1, TICK_SAMPLES).astype(np.float32)
        loud = np.sqrt((frames * frames).mean(axis=1)) > _AUDIBLE_RMS
        for index in np.flatnonzero(loud):
            start = position + int(index) * TICK_SAMPLES
            if self.heard and start - self.heard[-1].end < SAMPLE_RATE // 4:
                self.heard[-1].end = start + TICK_SAMPLES
            else:
                self.heard.append(Heard(start, start + TICK_SAMPLES))
        self._tell()

    async def wait_heard(self, count: int = 1, timeout: float = 10.0) -> Heard:
        """Until the other side was heard for the `count`-th time (a pause of 250 ms separates)."""
        await self._until(lambda: len(self.heard) >= count, timeout)
        if len(self.heard) < count:
            raise ActiveCallError(f"the call ended ({self.ended_by}) before the agent was heard {count} times")
        return self.heard[count - 1]

    async def wait_quiet(self, seconds: float = 0.7, timeout: float = 30.0) -> None:
        """Until the other side has been silent for so long."""

        def quiet() -> bool:
            last = self.heard[-1].end if self.heard else 0
            return self._listened_to - last >= seconds * SAMPLE_RATE

        await self._until(quiet, timeout)

    async def _until(self, condition: Callable[[], bool], timeout: float) -> None:
        """Until `condition`, looked at whenever something was heard, or the call is over."""
        async with asyncio.timeout(timeout):
            while not condition() and not self.ended.is_set():
                await self._news.wait()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class Telephones:
    """A room of simulated telephones. An async context manager.

    `srtp` is what they offer, and with "require" all they take; `sip` replaces the SIP settings altogether, for
    example to use TLS. A target's URI says over which transport it is called: `sip:bob@host;transport=tcp`.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        ports: tuple[int, int] = (43_000, 49_000),
        capacity: int = 64,
        sip_port: int = 0,
        codecs: tuple[str, ...] = ("pcmu", "pcma"),
        jitter_ms: int = 20,
        srtp: Srtp = False,
        ptime_ms: int = 20,
        dtmf: bool = True,
        sip: SipConfig | None = None,
    ) -> None:
        self.plane = MediaPlane(
            capacity=capacity, ports=PortRange(*ports, host), cname="telephone", spare=False, realtime=False
        )
        sip = sip or SipConfig(host, sip_port, user_agent="active-call-telephone")
        self.agent = SipAgent(sip, on_call=self._on_call)
        self.host = host
        self.phones: list[Phone] = []
        self.on_phone: Callable[[Phone], None] | None = None
        """Told of each phone that has been called, and has answered."""
        self.on_ring: Callable[[Phone], None] | None = None
        """Decides what a phone does that is called: ring, answer, reject, nothing. None: it answers."""
        self._policy = MediaPolicy(codecs=codecs, jitter_ms=jitter_ms, srtp=srtp, ptime_ms=ptime_ms, dtmf=dtmf)

    async def __aenter__(self) -> "Telephones":
        await self.plane.start()
        await self.agent.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for phone in self.phones:
            if not phone.ended.is_set():
                phone.leg.sip.hangup()
                phone._over("local")
        await self.agent.aclose()
        await self.plane.aclose()

    def dial(
        self,
        target: str,
        *,
        caller: str | None = None,
        impairment: Impairment | None = None,
        codecs: tuple[str, ...] | None = None,
        srtp: Srtp | None = None,
        ptime_ms: int | None = None,
        dtmf: bool | None = None,
    ) -> Phone:
        """Call `target`, a SIP URI. Impaired audio passes a relay in both directions.

        `codecs`, `srtp`, `ptime_ms` and `dtmf` (telephone-event) may differ from the room's.
        """
        policy = self._policy
        policy = replace(
            policy,
            codecs=policy.codecs if codecs is None else codecs,
            srtp=policy.srtp if srtp is None else srtp,
            ptime_ms=policy.ptime_ms if ptime_ms is None else ptime_ms,
            dtmf=policy.dtmf if dtmf is None else dtmf,
        )
        leg = SipLeg.open(self.plane, self.host, policy)
        phone = Phone(leg, Relay(self.host, impairment) if impairment is not None else None)
        leg.lane.listener = phone.on_lane
        leg.dial(
            self.agent,
            DialPlan(target, caller or f"sip:caller@{bracketed(self.host)}", self.host),
            call_id=secrets.token_hex(12),
            listener=phone.on_sip,
        )
        self.phones.append(phone)
        return phone

    def _on_call(self, sip: SipCall) -> None:
        leg = SipLeg.open(self.plane, self.host, self._policy)
        phone = Phone(leg)
        leg.lane.listener = phone.on_lane
        self.phones.append(phone)
        try:
            leg.negotiate(sip)
        except RemoteProtocolError as error:
            phone.reject(error.status, str(error))
            return
        if self.on_ring is not None:
            sip.listener = phone.on_sip
            self.on_ring(phone)
            return
        phone.answer()
        if self.on_phone is not None:
            self.on_phone(phone)
