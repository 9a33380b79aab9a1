"""Transfers in virtual time: whatever client, caller and parties do at once, the call ends in order.

Each story is random, and its number plays it again. After every step those who are connected hear each other
and nobody else; in the end every lane is given back, every dialog ended, and the events are complete.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from active_call.call.audio import voice as voice_module
from active_call.call.transfer import hold_music
from active_call.lanes.messages import DigitReceived
from active_call.lanes.table import Table
from active_call.sip import events as sip_events
from active_call.sip.dialogs.usage import UsageState
from active_call.wire import events
from active_call.wire.commands import Command, Hangup, Interrupt, Message, Pause, Resume, SendDtmf
from active_call.wire.options import CallOption, RecorderOption
from tests.unit.call.fakes import HOLD, OFFER, NotingSip, SampleVoice
from tests.unit.call.scene import VOICE, Scene, refers, says, takes_place

SEEDS = 100
CAROL, DAVE = "sip:carol@example.com", "sip:dave@example.com"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(voice_module, "load_tts", lambda name: SampleVoice())
    monkeypatch.setattr(hold_music, "FALLBACK", tmp_path / "none.wav")


class Story:
    """One call, up to sixty steps."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.scene = Scene(option=CallOption(tts=VOICE, recorder=RecorderOption()))
        self.scene.plane.table = Table.create(64, epoch_ns=0, wall_ns=1_000_000_000_000_000_000)
        self.steps: list[str] = []
        self.replacements: list[NotingSip] = []
        self._asked: set[NotingSip] = set()

    def play(self) -> None:
        self.scene.play(self._script)

    async def _script(self, scene: Scene) -> None:
        await asyncio.sleep(0.01)
        acts: list[Callable[[], Awaitable[None]]] = [
            self.client,
            self.caller,
            self.party,
            self.party,
            self.time,
        ]
        for _ in range(self.random.randrange(5, 60)):
            if scene.call.over:
                return
            await self.random.choice(acts)()
            await asyncio.sleep(self.random.choice([0, 0, 0.01]))
            if not scene.call.over:
                self.check()
        await scene.give(Hangup())

    # --- what happens ---------------------------------------------------------------------------------

    async def client(self) -> None:
        choose, refer = self.random.choice, self.random.random() < 0.5
        transfer = refers(
            choose([CAROL, DAVE]),
            mode=choose(["bridge", "bridge", "blind", "attended"]),
            timeout=choose([1, 5]),
            moh=choose([None, "music.wav"]),
            pause_parent_asr=choose([True, False]),
        )
        others: list[Command] = [
            Hangup(refer=True),
            says("hello"),
            Interrupt(),
            Pause(),
            Resume(),
            SendDtmf(digits="1", refer=refer),
            Message(body="hello", refer=refer),
        ]
        command = choose([transfer] * 6 + others)
        self.steps.append(command.command)
        await self.scene.give(command)

    async def caller(self) -> None:
        leg = self.scene.call.leg
        assert leg is not None
        sip = self.replacements[-1] if self.replacements and leg.lane.ref.row else self.scene.sip
        match self.random.randrange(12):
            case 0 if self.random.random() < 0.5:
                self.happens(sip, sip_events.Ended("peer", "BYE"))
            case 1 if self.random.random() < 0.5:
                self.replace(sip)
            case 2:
                leg.lane.receive(DigitReceived(leg.lane.ref.row, 7, 9, "5", self.random.randrange(10**6)))
            case 3 | 4 if sip not in self._asked:
                self._asked.add(sip)
                self.happens(sip, sip_events.ReferReceived(self.random.choice([CAROL, DAVE]), None, None))
            case 5 | 6 | 7 | 8 if any(done.startswith("refer ") for done in sip.done):
                status = self.random.choice([100, 180, 200, 202, 486])
                self.happens(sip, sip_events.ReferProgress(status, "", status in (200, 486)))
            case _:
                self.happens(sip, sip_events.OfferReceived(self.random.choice([OFFER, HOLD])))

    async def party(self) -> None:
        parties = [sip for sip in self.scene.sip.parties if alive(sip)]
        if not parties:
            return
        sip = self.random.choice(parties)
        if sip.state is UsageState.CALLING:
            match self.random.randrange(5):
                case 0:
                    self.happens(sip, sip_events.Ringing(180, "Ringing", None))
                case 1:
                    self.happens(sip, sip_events.Ringing(183, "Progress", OFFER))
                case 2:
                    self.happens(sip, sip_events.Rejected(486, "Busy", {}))
                    self.happens(sip, sip_events.Ended("peer", "486 Busy"))
                case _:
                    self.steps.append("party answers")
                    sip.answers()
            return
        match self.random.randrange(6):
            case 0:
                self.happens(sip, sip_events.Ended("peer", "BYE"))
            case 1:
                self.replace(sip)
            case 2:
                self.happens(sip, sip_events.ReferReceived(DAVE, None, None))
            case 3:
                self.happens(sip, sip_events.InfoReceived("application/dtmf-relay", b"Signal=5"))
            case _:
                self.happens(sip, sip_events.OfferReceived(self.random.choice([OFFER, HOLD])))

    async def time(self) -> None:
        seconds = self.random.choice([0.01, 0.5, 2, 6])
        self.steps.append(f"{seconds} s")
        await asyncio.sleep(seconds)

    def happens(self, sip: NotingSip, event: sip_events.SipEvent) -> None:
        self.steps.append(f"{'party' if sip in self.scene.sip.parties else 'caller'} {event}")
        sip.happens(event)

    def replace(self, sip: NotingSip) -> None:
        """Somebody takes a place."""
        offer = self.random.choice([OFFER, None])
        done, leg, newcomer = takes_place(self.scene, sip, offer=offer)
        self.steps.append(f"replaced: {done}")
        if not done:
            leg.lane.close()
            return
        newcomer.parties = self.scene.sip.parties
        self.replacements.append(newcomer)
        if offer is None:
            newcomer.remote_sdp = OFFER
            newcomer.happens(sip_events.Acknowledged())

    # --- what must be true ----------------------------------------------------------------------------

    def check(self) -> None:
        call = self.scene.call
        assert call.leg is not None
        transfer = call.transfer.current
        party = transfer.leg if transfer is not None else None
        heard = [lane for lane in self.scene.plane.lanes if lane in call.effects.mix]
        assert not any(lane.closing for lane in heard), self.steps
        if party is not None and party.connected:
            assert call.leg.lane in party._mix, self.steps
            music = party.leg.held and party._options.moh
            assert music or heard == [party.leg.lane], self.steps
        if transfer is None:
            assert heard == [], self.steps
            assert call.transfer.music._begin is None, self.steps
        resting = transfer is not None and transfer._options.pause_parent_asr
        assert call.listening._hearing._paused is resting, self.steps

    def check_end(self) -> None:
        scene, told = self.scene, self.scene.names()
        assert scene.ending.record != "failed", self.steps
        assert told[-1] == "hangup"
        assert [event.refer for event in scene.all(events.Hangup)].count(None) == 1
        assert all(lane.closing for lane in scene.plane.lanes), self.steps
        for sip in (scene.sip, *scene.sip.parties, *self.replacements):
            assert not alive(sip), (sip.done, self.steps)
        assert scene.of_party().count("trackStart") == scene.of_party().count("trackEnd")
        assert scene.of_party().count("answer") - scene.of_party().count("hangup") <= (
            scene.ending.record == "byRefer"
        )
        assert len(scene.call.timers) == 0
        assert scene.call.transfer.current is None


def alive(sip: NotingSip) -> bool:
    return sip.state is not UsageState.ENDED and "hangup" not in sip.done


@pytest.mark.parametrize("first", range(0, SEEDS, 25))
def test_t21_t22_whatever_happens_a_call_with_transfers_ends_in_order(first: int) -> None:
    for seed in range(first, first + 25):
        story = Story(seed)
        story.play()
        story.check_end()
