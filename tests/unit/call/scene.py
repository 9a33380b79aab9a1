"""One call on a stage, in virtual time: its SIP dialog, lane, and playbook or client are played by the test."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, cast

from active_call.call.bridge import FindCall
from active_call.call.call import Call
from active_call.call.leg import MediaPolicy, SipLeg
from active_call.call.reasons import Ending
from active_call.call.services import CallServices, Lead
from active_call.call.succession import take_place
from active_call.core.errors import PlaybookError
from active_call.lanes.messages import SetMix
from active_call.media.lane import Lane
from active_call.media.supervisor import MediaPlane
from active_call.records.dump import Dump
from active_call.sip.agent import SipAgent, SipCall
from active_call.testing.clock import run
from active_call.wire import events
from active_call.wire.commands import Accept, Command, Invite, Play, Refer, Start, Tts
from active_call.wire.dialogue import CallType
from active_call.wire.options import CallOption, ReferOption, TtsOption
from tests.unit.call.fakes import OFFER, LoopClock, NotingDialogue, NotingSip
from tests.unit.media.fakes import NotingPlane

E = TypeVar("E", bound=events.Event)

Kind: TypeAlias = Literal["inbound", "outbound", "sip", "audio", "webrtc", "waiting"]
"""Led by a playbook: `inbound`, `outbound`. A client connected: to dial (`sip`), with its own audio, by WebRTC.
`waiting`: inbound, announced to a webhook."""

_CALL_TYPES: dict[Kind, CallType] = {"audio": "webSocket", "webrtc": "webrtc"}
VOICE = TtsOption(provider="sample")


class Scene:
    """`play` runs the call and a script beside it."""

    def __init__(
        self,
        kind: Kind = "inbound",
        *,
        option: CallOption | None = None,
        dialogue: NotingDialogue | None = None,
        playbooks: dict[str, Lead] | None = None,
        hook: Callable[[], Awaitable[None]] | None = None,
        **services: Any,
    ) -> None:
        self.plane, self.sip = NotingPlane(), NotingSip()
        self.dialogue = dialogue or NotingDialogue()
        self.call_id = "c1"
        self.find_call: FindCall = lambda call_id: None
        self.events: list[events.Event] = []
        """What followers of the call were told."""
        self._kind: Kind = kind
        self._option = option or CallOption()
        self._playbooks = playbooks or {}
        self._hook = hook
        self._more = services

    def play(self, script: Callable[["Scene"], Coroutine[Any, Any, None]]) -> "Scene":
        run(self.perform(script))
        return self

    async def perform(self, script: Callable[["Scene"], Coroutine[Any, Any, None]]) -> None:
        """`play`, within a loop that runs."""
        self._make()
        async with asyncio.timeout(1000), asyncio.TaskGroup() as group:
            group.create_task(self.call.run(self._begin))
            await asyncio.sleep(0)
            await script(self)

    def _make(self) -> None:
        services = CallServices(
            plane=cast("MediaPlane", self.plane),
            agent=lambda: cast("SipAgent", self.sip),
            clock=LoopClock(),
            find_playbook=self._find_playbook,
            **self._more,
        )
        leg = None
        if self._kind in ("inbound", "waiting"):
            leg = SipLeg.open(services.plane, "192.0.2.1", MediaPolicy())
            leg.negotiate(cast("SipCall", self.sip))
        self.call = Call(
            self.call_id,
            services,
            call_type=_CALL_TYPES.get(self._kind, "sip"),
            dump=Dump.null(),
            variables={},
            leg=leg,
            caller=self.sip.caller if leg else "",
            callee=self.sip.callee if leg else "",
            led_by_client=self._kind in ("sip", "audio", "webrtc"),
            find_call=self.find_call,
        )
        self.call.follow(self.events.append)
        if self._kind in ("inbound", "outbound"):
            self.call.setup.lead(Lead(self.dialogue, self._option))

    def _find_playbook(self, name: str, variables: dict[str, Any]) -> Lead:
        if name not in self._playbooks:
            raise PlaybookError("no such playbook")
        return self._playbooks[name]

    def _begin(self) -> None:
        if self._kind == "inbound":
            self.call.setup.pick_up()
        elif self._kind == "outbound":
            self.call.send(Invite(option=CallOption(callee="sip:bob@example.com", caller="sip:us@example.com")))
        elif self._kind == "waiting":
            self.call.setup.wait_for_client(self._hook or (lambda: asyncio.sleep(0)))

    # --- what scripts do ------------------------------------------------------------------------------

    async def give(self, *commands: Command) -> None:
        """The client sends commands; a moment later they are carried out."""
        for command in commands:
            await self.call.submit(command)
        await asyncio.sleep(0.01)

    async def start(self, **option: Any) -> None:
        """The client starts its own audio."""
        await self.give(Start(option=CallOption(**option)))

    async def dial(self, **option: Any) -> None:
        """The client calls Bob."""
        await self.give(Invite(option=CallOption(callee="sip:bob@example.com", **option)))

    async def accept(self, **option: Any) -> None:
        """The client accepts."""
        await self.give(Accept(option=CallOption(**option)))

    async def pass_seconds(self, count: int) -> None:
        """The lane ticks on without a packet."""
        for _ in range(count):
            self.plane.table.set("tick", self.plane.table.get("tick") + 50)
            await asyncio.sleep(1)

    # --- what tests ask -------------------------------------------------------------------------------

    def told(self, kind: type[E]) -> E:
        """The one event of a kind."""
        (event,) = self.all(kind)
        return event

    def all(self, kind: type[E]) -> list[E]:
        """All events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def of_party(self) -> list[str]:
        """The names of the events of transferred parties."""
        return [event.event for event in self.events if getattr(event, "refer", None)]

    def mixed(self, lane: Lane) -> list[list[int]]:
        """The rows that the peer of `lane` heard, from time to time."""
        return [
            [source.row for source in mix.sources] for mix in self.plane.told(SetMix) if mix.row == lane.ref.row
        ]

    def names(self) -> list[str]:
        """The names of all events, in order, without metrics."""
        return [event.event for event in self.events if event.event != "metrics"]

    def errors(self) -> list[tuple[str, str]]:
        """Senders and texts."""
        return [(error.sender, error.error) for error in self.all(events.Error)]

    def playing(self) -> bool:
        """Whether anything is on its way to the peer."""
        return self.call.player.playing

    @property
    def lane(self) -> Lane:
        assert self.call.leg is not None
        return self.call.leg.lane

    @property
    def ending(self) -> Ending:
        assert self.call.ending is not None
        return self.call.ending


def says(text: str, play_id: str | None = None, **more: Any) -> Tts:
    """A tts command."""
    return Tts(text=text, play_id=play_id, **more)


def plays(file: Path | str) -> Play:
    """A play command."""
    return Play(url=str(file))


def refers(callee: str = "sip:carol@example.com", caller: str = "", **options: Any) -> Refer:
    """A refer command."""
    return Refer(callee=callee, caller=caller, options=ReferOption(**options))


async def transferred(scene: Scene, callee: str = "sip:carol@example.com", **options: Any) -> NotingSip:
    """The call is transferred to the callee, who has answered."""
    await scene.give(refers(callee, **options))
    party = scene.sip.parties[-1] if scene.sip.parties else scene.sip
    party.answers()
    await asyncio.sleep(0.01)
    return party


def newcomer(scene: Scene, offer: bytes | None = OFFER) -> tuple[SipLeg, NotingSip]:
    """Somebody who calls."""
    sip = NotingSip(offer)
    leg = SipLeg.open(cast("MediaPlane", scene.plane), "192.0.2.1", MediaPolicy())
    leg.negotiate(cast("SipCall", sip))
    return leg, sip


def takes_place(scene: Scene, of: NotingSip, *, offer: bytes | None = OFFER) -> tuple[bool, SipLeg, NotingSip]:
    """Somebody calls to take the place of another: whether that worked, and who it is."""
    leg, sip = newcomer(scene, offer)
    return take_place(scene.call, cast("SipCall", of), leg), leg, sip
