"""Transfers and bridges between real telephones, through a real gateway: who hears whom, and what remains."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_call.call.dialing.plan import DialPlan
from active_call.call.leg import MediaPolicy, SipLeg
from active_call.client import Session, connect
from active_call.core.audio import Pcm
from active_call.sip.events import Answered, MessageReceived, ReferProgress, ReferReceived, SipEvent
from active_call.testing.caller import Phone, Telephones
from active_call.testing.process import GatewayProcess
from active_call.wire import events
from active_call.wire.options import RecorderOption, ReferOption
from tests.e2e.api import TALK, Log, loud, option, purity, read_wav, run, tone, until, write_wav

pytestmark = pytest.mark.e2e

RATE = 16_000
ALICE, BOB, MUSIC, AGENT = 700, 1_100, 1_500, 440
"""What each sounds like, in Hz."""
CHUNK = tone(RATE, ALICE, 0.5)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), {"talk.md": TALK}) as process:
        write_wav(process.directory / "config" / "media" / "short.wav", tone(RATE, MUSIC, 0.3))
        yield process


@dataclass
class Ear:
    """What a telephone has heard."""

    pieces: list[Pcm] = field(default_factory=list)

    @classmethod
    def of(cls, phone: Phone) -> "Ear":
        ear = cls()
        phone.on_frame = lambda pcm, position: ear.pieces.append(pcm)
        return ear

    def forget(self) -> None:
        self.pieces.clear()

    def hears(self, hz: float) -> bool:
        """Whether a tone is most of the last 0.4 s."""
        pcm = np.concatenate([np.zeros(1, np.int16), *self.pieces])[-RATE * 2 // 5 :]
        return len(pcm) == RATE * 2 // 5 and bool(np.abs(pcm).max() > 500) and purity(pcm, RATE, hz) > 0.8

    async def wait(self, hz: float, timeout: float = 6.0) -> None:
        """Until it hears a tone."""
        try:
            await until(lambda: self.hears(hz), timeout)
        except TimeoutError:
            heard = [near for near in (ALICE, BOB, MUSIC, AGENT, 425) if self.hears(near)]
            raise AssertionError(f"{hz} Hz was not heard, but {heard or 'nothing known'}") from None


@dataclass
class Room:
    """Alice, whom the client has called; bob, busy and silent can be called too."""

    gateway: GatewayProcess
    phones: Telephones
    call: Session
    log: Log
    alice: Phone
    ear: Ear
    ring: float = 0.3
    """How many seconds bob rings."""

    def uri(self, user: str) -> str:
        return f"sip:{user}@127.0.0.1:{self.phones.agent.address[1]}"

    async def refer(self, user: str, **given: Any) -> None:
        await self.call.refer(self.uri(user), options=ReferOption(**given))

    async def party(self, user: str = "bob") -> Phone:
        """The telephone that has been called."""
        await until(lambda: any(user in phone.leg.sip.callee for phone in self.phones.phones))
        return next(phone for phone in self.phones.phones if user in phone.leg.sip.callee)

    async def told(self, kind: type[Any], timeout: float = 10.0) -> Any:
        """The event of the transferred party."""
        return await self.call.until(kind, timeout=timeout, where=lambda event: bool(event.refer))


def plays(phone: Phone, hz: float, seconds: float = 30.0) -> None:
    """The telephone's owner hums from now on."""

    async def hum() -> None:
        for _ in range(round(seconds / 0.5)):
            if phone.ended.is_set():
                return
            await phone.leg.lane.play(tone(RATE, hz, 0.5))
            await asyncio.sleep(0.45)

    hums.add(task := asyncio.get_running_loop().create_task(hum()))
    task.add_done_callback(hums.discard)


hums: set["asyncio.Task[None]"] = set()


@asynccontextmanager
async def room(gateway: GatewayProcess, **given: Any) -> AsyncIterator[Room]:
    async with Telephones(capacity=8) as phones, connect(gateway.ws_url, "sip") as call:
        log = Log.of(call)

        def rings(phone: Phone) -> None:
            user = phone.leg.sip.callee.partition(":")[2].partition("@")[0]
            if user == "alice":
                phone.answer()
            elif user == "busy":
                phone.reject(486, "Busy Here")
            else:
                phone.ring()
                if user == "bob":
                    asyncio.get_running_loop().call_later(here.ring, answer, phone)

        def answer(phone: Phone) -> None:
            if not phone.ended.is_set():
                phone.answer()
                plays(phone, BOB)

        phones.on_ring = rings
        uri = f"sip:alice@127.0.0.1:{phones.agent.address[1]}"
        await call.invite(option(callee=uri, caller="sip:desk@127.0.0.1", **given))
        await call.until(events.Answer)
        alice = phones.phones[0]
        here = Room(gateway, phones, call, log, alice, Ear.of(alice))
        plays(alice, ALICE)
        yield here
        for task in hums:
            task.cancel()


def in_turn(pcm: Pcm, rate_hz: int) -> list[int]:
    """The tones that are heard, one after the other."""
    sound, size = loud(pcm, rate_hz), rate_hz // 5
    heard: list[int] = []
    for start in range(0, len(sound) - size, size):
        for hz in (ALICE, BOB, MUSIC, AGENT):
            if purity(sound[start : start + size], rate_hz, hz) > 0.8 and heard[-1:] != [hz]:
                heard.append(hz)
    return heard


def of_party(log: Log) -> list[str]:
    wanted = ("ringing", "answer", "reject", "hangup")
    return [each.event for each in log.seen if each.event in wanted and getattr(each, "refer", None)]


def record_of(gateway: GatewayProcess, call_id: str) -> dict[str, Any]:
    """The record of a call that has ended."""
    gateway._wait(lambda: call_id in [record["callId"] for record in gateway.records()], "the record", 10)
    return next(record for record in gateway.records() if record["callId"] == call_id)


# --- bridge ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auto_hangup", [False, True])
def test_t21_t22_music_until_the_answer_then_both_hear_each_other(
    gateway: GatewayProcess, tmp_path: Path, auto_hangup: bool
) -> None:
    file = f"bridged-{auto_hangup}.wav"

    async def scene() -> tuple[Log, str]:
        async with room(gateway, recorder=RecorderOption(recorder_file=file)) as here:
            here.ring = 1.2
            await here.refer("bob", moh="short.wav", auto_hangup=auto_hangup)
            await here.ear.wait(MUSIC)
            await asyncio.sleep(0.5)
            assert here.ear.hears(MUSIC)  # it is longer than its file
            await here.told(events.Answer)
            bob = await here.party()
            ear = Ear.of(bob)
            await asyncio.gather(here.ear.wait(BOB), ear.wait(ALICE))
            await bob.hang_up()
            await here.told(events.Hangup)
            if not auto_hangup:
                await here.call.tts("hello " * 8)
                await here.ear.wait(AGENT)
                await here.call.hangup()
            hangup = await here.call.until(events.Hangup)
            await here.alice.wait_ended()
            return here.log, hangup.track_id

    log, call_id = run(scene())
    assert of_party(log) == ["ringing", "answer", "hangup"]
    assert log.all(events.Error) == []
    record = record_of(gateway, call_id)
    assert record["hangupReason"] == ("byRefer" if auto_hangup else "bySystem")
    leg = record["referCallrecord"]
    assert record["referCallrecords"] == [leg]
    assert (leg["callType"], leg["hangupReason"], leg["statusCode"]) == ("b2bua", "byCallee", 200)
    rate, samples = read_wav(gateway.directory / "config" / "recorders" / file)
    left, right = samples[:, 0], samples[:, 1]
    assert purity(loud(left, rate), rate, ALICE) > 0.8
    assert in_turn(right, rate) == ([MUSIC, BOB] if auto_hangup else [MUSIC, BOB, AGENT])


def test_t21_a_busy_target_leaves_the_caller_with_the_agent(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with room(gateway) as here:
            await here.refer("busy", moh="short.wav", auto_hangup=True)
            reject = await here.told(events.Reject)
            assert (reject.code, reject.reason) == (486, "Busy Here")
            await here.call.tts("hello " * 8)
            await here.ear.wait(AGENT)
            await here.call.hangup()
            await here.call.until(events.Hangup)
            return here.log

    assert of_party(run(scene())) == ["reject"]


def test_t21_a_silent_target_is_cancelled_and_the_ringback_ends(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with room(gateway) as here:
            await here.refer("silent", timeout=1.5)
            await here.ear.wait(425)
            reject = await here.told(events.Reject)
            assert (reject.code, reject.reason) == (408, "Timeout when refer")
            silent = await here.party("silent")
            await silent.wait_ended(2)
            assert silent.ended_by == "canceled"
            await here.call.hangup()
            await here.call.until(events.Hangup)
            return here.log

    log = run(scene())
    assert of_party(log) == ["ringing", "reject"]
    assert log.all(events.Error) == []


def test_t21_the_caller_hangs_up_while_the_target_rings(gateway: GatewayProcess) -> None:
    async def scene() -> tuple[Log, str]:
        async with room(gateway) as here:
            await here.refer("silent")
            silent = await here.party("silent")
            await here.told(events.Ringing)
            await here.alice.hang_up()
            hangup = await here.call.until(events.Hangup, where=lambda event: not event.refer)
            await silent.wait_ended(2)
            assert silent.ended_by == "canceled"
            return here.log, hangup.track_id

    log, call_id = run(scene())
    assert of_party(log) == ["ringing", "hangup"]
    record = record_of(gateway, call_id)
    assert record["hangupReason"] == "byCallee"
    assert "answerTime" not in record["referCallrecord"]
    gateway.wait_lanes(0)


def test_t22_hangup_refer_ends_only_the_party_and_keys_go_across(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with room(gateway) as here:
            await here.refer("bob", auto_hangup=True)
            await here.told(events.Answer)
            bob = await here.party()
            await here.ear.wait(BOB)
            here.alice.press("12")
            await until(lambda: bob.digits == "12")
            bob.press("3")
            await until(lambda: here.alice.digits == "3")
            await here.call.send_dtmf("9#", refer=True)
            await here.call.send_dtmf("4*")
            await until(lambda: (bob.digits, here.alice.digits) == ("129#", "34*"))
            await here.call.tts("hello " * 8)
            await here.call.hangup(refer=True)
            await here.told(events.Hangup)
            await bob.wait_ended()
            await here.ear.wait(AGENT)
            assert not here.alice.ended.is_set()
            await here.call.hangup()
            await here.call.until(events.Hangup)
            return here.log

    log = run(scene())
    assert [(key.digit, key.refer) for key in log.all(events.Dtmf)] == [("1", None), ("2", None), ("3", True)]
    assert log.all(events.Error) == []


def test_t21_early_media_of_the_target_is_heard(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with room(gateway) as here:

            def announce(phone: Phone) -> None:
                phone.progress()
                plays(phone, BOB)

            here.phones.on_ring = announce
            await here.refer("announcement")
            assert (await here.told(events.Ringing)).early_media
            await here.ear.wait(BOB)
            (await here.party("announcement")).reject(404, "Not Found")
            await here.told(events.Reject)
            await here.call.hangup()
            await here.call.until(events.Hangup)
            return here.log

    assert of_party(run(scene())) == ["ringing", "reject"]


def test_t21_the_party_on_hold_leaves_the_caller_with_music(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with room(gateway) as here:
            await here.refer("bob", moh="short.wav")
            await here.told(events.Answer)
            bob = await here.party()
            await here.ear.wait(BOB)
            bob.hold()
            await here.ear.wait(MUSIC)
            bob.hold(False)
            await here.ear.wait(BOB)
            await here.call.hangup()
            await here.call.until(events.Hangup)
            return here.log

    log = run(scene())
    assert [(hold.on_hold, hold.refer) for hold in log.all(events.Hold)] == [(True, True), (False, True)]


# --- the caller's own telephone -------------------------------------------------------------------------


def obeys(here: Room, *, headers: Callable[[ReferReceived], dict[str, str]]) -> list[Phone]:
    """Alice's telephone calls whomever it is referred to, and tells how that goes. Returns whom it called."""
    called: list[Phone] = []

    def listen(event: SipEvent) -> None:
        if not isinstance(event, ReferReceived):
            here.alice.on_sip(event)
            return
        leg = SipLeg.open(here.phones.plane, "127.0.0.1", MediaPolicy(jitter_ms=20))
        phone = Phone(leg)
        leg.lane.listener = phone.on_lane
        plan = DialPlan(event.refer_to, "sip:alice@127.0.0.1", "127.0.0.1", headers=headers(event))

        def progress(news: SipEvent) -> None:
            phone.on_sip(news)
            if isinstance(news, Answered):
                here.alice.leg.sip.notify_refer(200, "OK", final=True)

        leg.dial(here.phones.agent, plan, call_id=f"by-{event.refer_to[-5:]}-{id(phone)}", listener=progress)
        here.phones.phones.append(phone)
        called.append(phone)

    here.alice.leg.sip.listener = listen
    return called


def test_blind_the_callers_telephone_calls_by_itself(gateway: GatewayProcess) -> None:
    async def scene() -> tuple[Log, str]:
        async with room(gateway) as here:
            called = obeys(here, headers=lambda event: {})
            await here.refer("bob", mode="blind")
            hangup = await here.call.until(events.Hangup)
            await here.alice.wait_ended()
            (phone,) = called
            ear = Ear.of(phone)
            phone.leg.lane.listen(phone._listen)
            await ear.wait(BOB)  # without us
            return here.log, hangup.track_id

    log, call_id = run(scene())
    assert of_party(log) == ["answer"]
    record = record_of(gateway, call_id)
    assert (record["hangupReason"], record["hangupBy"]) == ("byRefer", "system")


def test_blind_that_a_telephone_refuses_leaves_the_caller_here(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with room(gateway) as here:

            def decline(event: SipEvent) -> None:
                if isinstance(event, ReferReceived):
                    here.alice.leg.sip.notify_refer(486, "Busy Here", final=True)
                else:
                    here.alice.on_sip(event)

            here.alice.leg.sip.listener = decline
            await here.refer("bob", mode="blind")
            reject = await here.told(events.Reject)
            assert reject.code == 486
            await here.call.tts("hello " * 8)
            await here.ear.wait(AGENT)
            await here.call.hangup()
            await here.call.until(events.Hangup)
            return here.log

    assert of_party(run(scene())) == ["reject"]


def test_attended_the_callers_telephone_takes_our_place(gateway: GatewayProcess) -> None:
    async def scene() -> tuple[Log, str]:
        async with room(gateway) as here:
            replaced: list[Phone] = []

            def take(phone: Phone) -> None:
                phone.answer()
                plays(phone, BOB)
                if phone.leg.sip.replaces is not None:  # Bob's telephone goes over to the new call
                    replaced.append(phone)
                    phone.leg.sip.replaces.hangup()

            here.phones.on_ring = take
            called = obeys(here, headers=lambda event: {"Replaces": event.replaces or ""})
            await here.refer("bob", mode="attended", moh="short.wav")
            hangup = await here.call.until(events.Hangup)
            await here.alice.wait_ended()
            assert len(replaced) == 1
            ear = Ear.of(called[0])
            await ear.wait(BOB)
            return here.log, hangup.track_id

    log, call_id = run(scene())
    assert of_party(log) == ["answer"]
    assert record_of(gateway, call_id)["hangupReason"] == "byRefer"
    gateway.wait_lanes(0)


def test_texts_go_both_ways(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with room(gateway) as here:
            texts: list[bytes] = []

            def listen(event: SipEvent) -> None:
                if isinstance(event, MessageReceived):
                    texts.append(event.body)
                here.alice.on_sip(event)

            here.alice.leg.sip.listener = listen
            await here.call.message("grüß Gott")
            await until(lambda: texts == ["grüß Gott".encode()])
            here.alice.leg.sip.message(b"hello", "text/plain")
            told = await here.call.until(events.Message)
            assert (told.body, told.content_type) == ("hello", "text/plain")
            await here.call.hangup()
            await here.call.until(events.Hangup)
            return here.log

    assert run(scene()).all(events.Error) == []


# --- others take part -----------------------------------------------------------------------------------


@pytest.mark.parametrize("leaves_at", [180, 200])
def test_a_telephone_that_asks_for_a_transfer_leaves_the_other_with_the_agent(
    gateway: GatewayProcess, leaves_at: int
) -> None:
    async def scene() -> Log:
        async with room(gateway) as here:
            progress: list[ReferProgress] = []

            def listen(event: SipEvent) -> None:
                if isinstance(event, ReferProgress):
                    progress.append(event)
                    if event.status in (180, 200) and event.status >= leaves_at:
                        here.alice.leg.sip.hangup()
                here.alice.on_sip(event)

            here.alice.leg.sip.listener = listen
            here.alice.leg.sip.refer(here.uri("bob"), referred_by="sip:alice@127.0.0.1")
            asked = await here.call.until(events.TransferRequest)
            await here.call.refer(asked.refer_to)
            await here.told(events.Answer)
            await here.alice.wait_ended()
            assert progress[-1].status == leaves_at
            bob = await here.party()
            ear = Ear.of(bob)
            await here.call.tts("hello " * 10)
            await ear.wait(AGENT)
            await bob.hang_up()
            await here.call.until(events.Hangup)
            return here.log

    log = run(scene())
    assert log.all(events.Error) == []
    assert of_party(log) == ["ringing", "answer", "hangup"]
    assert log.seen[-1].event == "hangup"


def test_somebody_takes_the_call_over(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with room(gateway, recorder=RecorderOption(recorder_file="taken.wav")) as here:
            sip = here.alice.leg.sip
            leg = SipLeg.open(here.phones.plane, "127.0.0.1", MediaPolicy(jitter_ms=20))
            desk = Phone(leg)
            leg.lane.listener = desk.on_lane
            plan = DialPlan(
                gateway.uri, "sip:desk@127.0.0.1", "127.0.0.1", headers={"Replaces": sip.replaces_value}
            )
            leg.dial(here.phones.agent, plan, call_id="desk-takes-over", listener=desk.on_sip)
            here.phones.phones.append(desk)
            await desk.wait_answered()
            await here.alice.wait_ended()
            ear = Ear.of(desk)
            await here.call.tts("hello " * 10)
            await ear.wait(AGENT)
            await desk.say(tone(RATE, 900, 1.0))
            await desk.hang_up()
            await here.call.until(events.Hangup)
            return here.log

    log = run(scene())
    assert log.all(events.Error) == []
    rate, samples = read_wav(gateway.directory / "config" / "recorders" / "taken-2.wav")
    assert purity(loud(samples[:, 0], rate), rate, 900) > 0.7
    assert purity(loud(samples[:, 1], rate), rate, AGENT) > 0.7


@pytest.mark.parametrize("end", ["unbridge", "hangup"])
def test_two_calls_are_bridged(gateway: GatewayProcess, end: str) -> None:
    async def scene() -> tuple[Log, Log]:
        async with room(gateway) as here, connect(gateway.ws_url, "webSocket", id=f"client-{end}") as other:
            log = Log.of(other)
            await other.start(option(codec="pcm", sample_rate=RATE))
            await other.until(events.Answer)
            heard = bytearray()
            other.on_audio = heard.extend
            talking = asyncio.get_running_loop().create_task(hum(other))
            reading = asyncio.get_running_loop().create_task(drain(other))
            await here.call.bridge(f"client-{end}")
            await here.ear.wait(BOB)
            await until(lambda: len(heard) > RATE * 2)
            del heard[:]
            await until(lambda: len(heard) > RATE)
            assert purity(np.frombuffer(bytes(heard[: RATE // 2 * 2]), "<i2"), RATE, ALICE) > 0.8
            if end == "unbridge":
                await here.call.unbridge(f"client-{end}")
                await here.call.until(events.TrackEnd)
                await here.call.hangup()
                await here.call.until(events.Hangup)
            else:
                await here.alice.hang_up()
                await here.call.until(events.Hangup)
            await until(lambda: any(event.event == "trackEnd" for event in log.seen))
            assert other.hangup_event is None
            talking.cancel()
            await other.hangup()
            await reading
            return here.log, log

    async def hum(call: Session) -> None:
        pcm = tone(RATE, BOB, 10.0).tobytes()
        loop = asyncio.get_running_loop()
        began = loop.time()
        for at in range(0, len(pcm), 640):
            await call.send_audio(pcm[at : at + 640])
            await asyncio.sleep(began + at / 32_000 - loop.time())

    async def drain(call: Session) -> None:
        async for _ in call:
            pass

    telephone, client = run(scene())
    assert [track.track_id for track in client.all(events.TrackEnd)][0].startswith("bridge:")
    assert [track.track_id.startswith("bridge:") for track in telephone.all(events.TrackEnd)][0]
    assert telephone.all(events.Error) == client.all(events.Error) == []


def test_a_client_without_a_telephone_is_transferred(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with room(gateway) as here, connect(gateway.ws_url, "webSocket") as client:
            log = Log.of(client)
            await client.start(option(codec="pcm", sample_rate=RATE))
            await client.refer(here.uri("bob"), options=ReferOption(auto_hangup=True))
            await client.until(events.Answer, where=lambda event: bool(event.refer))
            bob = await here.party()
            await bob.hang_up()
            await client.until(events.Hangup, where=lambda event: not event.refer)
            await here.call.hangup()
            await here.call.until(events.Hangup)
            return log

    log = run(scene())
    assert of_party(log) == ["ringing", "answer", "hangup"]
    assert log.all(events.Error) == []
    assert log.seen[-1].event == "hangup"


def test_nothing_of_all_this_is_left(gateway: GatewayProcess) -> None:
    gateway.wait_calls(0)
    gateway.wait_lanes(0)
    log = gateway.log()
    assert "Traceback" not in log
