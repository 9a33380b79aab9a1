"""Another peer takes the place of the present one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from active_call.call.audio import hearing
from active_call.call.audio import voice as voice_module
from active_call.call.succession import take_place
from active_call.core.audio import Pcm
from active_call.core.errors import ProviderError
from active_call.lanes.messages import (
    ConfigureLane,
    DigitReceived,
    MarkPlayed,
    RecordingClosed,
    SetDenoise,
    StartRecording,
    StopRecording,
)
from active_call.sip.agent import SipCall
from active_call.sip.events import Acknowledged, Ended, OfferReceived, Ringing
from active_call.speech.providers import AsrResult
from active_call.wire import events
from active_call.wire.commands import Hangup, Mute
from active_call.wire.options import AsrOption, CallOption, RecorderOption
from tests.unit.call.fakes import OFFER, NotingSip, SampleVoice
from tests.unit.call.scene import VOICE, Scene, newcomer, refers, says, takes_place, transferred


@pytest.fixture(autouse=True)
def voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_module, "load_tts", lambda name: SampleVoice())


OPTION = CallOption(tts=VOICE, recorder=RecorderOption(), denoise=True)


def test_voice_ears_and_recording_go_on_with_the_new_peer() -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(0.01)
        await scene.give(says("a" * 100, "one"), Mute(track_id="c1"))
        done, leg, sip = takes_place(scene, scene.sip)
        assert done
        assert sip.done == ["accept"]
        assert scene.sip.done[-1] == "hangup"
        old = scene.plane.lanes[0]
        assert old.closing
        assert scene.lane is leg.lane
        old.receive(RecordingClosed(0, 7, 9, "c1.wav", 320))
        old.receive(DigitReceived(0, 7, 9, "9", 320))
        scene.sip.happens(Ended("local", "BYE"))
        scene.call.on_lane(MarkPlayed(0, 7, 9, 1, 320))
        await scene.give(says("hello", "two"))
        await asyncio.sleep(0.1)
        assert leg.lane.write_position > 0
        leg.lane.receive(DigitReceived(1, 7, 9, "5", 320))
        await asyncio.sleep(0.01)
        assert not scene.call.over
        sip.happens(Ended("peer", "BYE"))

    scene = Scene(option=OPTION).play(script)
    assert [key.digit for key in scene.all(events.Dtmf)] == ["5"]
    recorded = [(start.row, start.path.rpartition("/")[2]) for start in scene.plane.told(StartRecording)]
    assert recorded == [(0, "c1.wav"), (1, "c1-2.wav")]
    assert [stop.row for stop in scene.plane.told(StopRecording)] == [0, 1]
    assert [denoise.row for denoise in scene.plane.told(SetDenoise)] == [0, 1]
    assert [closed.path for closed in scene.call.recorded] == ["c1.wav"]
    ended = [event.play_id for event in scene.all(events.TrackEnd)]
    assert ended == ["one", "two", None]
    assert scene.errors() == []


def test_what_the_former_peer_still_wanted_does_not_touch_the_new_one() -> None:
    elsewhere = OFFER.replace(b"192.0.2.7", b"203.0.113.7")

    async def script(scene: Scene) -> None:
        await asyncio.sleep(0.01)
        scene.sip.happens(OfferReceived(elsewhere))
        _, _, sip = takes_place(scene, scene.sip)
        await asyncio.sleep(0.01)
        assert sip.done == ["accept"]
        sip.happens(Ended("peer", "BYE"))

    scene = Scene().play(script)
    assert [(told.row, told.remote) for told in scene.plane.told(ConfigureLane)] == [
        (0, ("192.0.2.7", 4000)),
        (1, ("192.0.2.7", 4000)),
    ]


def test_somebody_takes_the_place_of_the_transferred_party() -> None:
    async def script(scene: Scene) -> None:
        party = await transferred(scene)
        done, leg, sip = takes_place(scene, party)
        assert done
        assert party.done[-1] == "hangup"
        assert scene.plane.lanes[1].closing
        assert scene.mixed(scene.lane)[-1] == [2]
        assert scene.mixed(leg.lane) == [[0]]
        party.happens(Ended("local", "BYE"))
        await asyncio.sleep(0.01)
        assert not [event for event in scene.all(events.Hangup) if event.refer]
        sip.happens(Ended("peer", "BYE"))
        await asyncio.sleep(0.01)
        assert [event.refer for event in scene.all(events.Hangup)] == [True]
        assert not scene.call.over
        await scene.give(Hangup())

    Scene().play(script)


def test_a_recogniser_that_fails_as_its_peer_leaves_does_not_harm_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Brittle:
        """Hears nothing, and fails when it is closed."""

        @asynccontextmanager
        async def open(self, option: AsrOption) -> AsyncIterator["Brittle"]:
            try:
                yield self
            finally:
                raise ProviderError("brittle", "the connection was lost")

        async def send(self, pcm: Pcm, position: int) -> None: ...

        async def __aiter__(self) -> AsyncIterator[AsrResult]:
            await asyncio.Event().wait()
            yield AsrResult("", True, 0, 0)

    monkeypatch.setattr(hearing, "load_asr", lambda name: Brittle())

    async def script(scene: Scene) -> None:
        await asyncio.sleep(0.1)
        _, _, sip = takes_place(scene, scene.sip)
        await asyncio.sleep(0.1)
        assert not scene.call.over
        sip.happens(Ended("peer", "BYE"))

    scene = Scene(option=CallOption(asr=AsrOption(provider="brittle"))).play(script)
    assert scene.ending.record == "byCaller"
    assert scene.errors() == []


def test_what_the_former_party_still_wanted_does_not_touch_the_new_one() -> None:
    async def script(scene: Scene) -> None:
        party = await transferred(scene)
        party.happens(OfferReceived(OFFER.replace(b"192.0.2.7", b"203.0.113.7")))
        _, _, sip = takes_place(scene, party)
        await asyncio.sleep(0.01)
        assert sip.done == ["accept"]
        await scene.give(Hangup())

    scene = Scene().play(script)
    assert {told.remote for told in scene.plane.told(ConfigureLane)} == {("192.0.2.7", 4000)}


def test_the_party_keeps_hearing_whoever_is_the_peer() -> None:
    async def script(scene: Scene) -> None:
        await transferred(scene)
        _, leg, _ = takes_place(scene, scene.sip)
        assert scene.mixed(scene.plane.lanes[1]) == [[0], [2]]
        assert scene.mixed(leg.lane) == [[1]]
        await scene.give(Hangup())

    Scene().play(script)


@pytest.mark.parametrize("connected", [False, True])
def test_whoever_is_the_peer_hears_that_the_party_is_called(connected: bool) -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(0.01)
        await scene.give(refers())
        scene.sip.parties[0].happens(Ringing(180, "Ringing", None))
        await asyncio.sleep(0.01)
        assert scene.playing()
        if connected:
            scene.sip.parties[0].answers()
            await asyncio.sleep(0.01)
        takes_place(scene, scene.sip)
        await asyncio.sleep(0.01)
        assert scene.playing() is not connected
        await scene.give(Hangup())

    Scene().play(script)


def test_one_who_takes_the_partys_place_and_never_describes_itself_is_hung_up_on() -> None:
    async def script(scene: Scene) -> None:
        party = await transferred(scene, auto_hangup=True)
        _, leg, sip = takes_place(scene, party, offer=None)
        sip.remote_sdp = None
        sip.happens(Acknowledged())
        await asyncio.sleep(0.01)
        assert sip.done == ["accept", "hangup"]
        assert leg.lane.closing
        assert scene.call.over

    scene = Scene().play(script)
    assert [event.reason for event in scene.all(events.Hangup)] == ["failed", "refer"]
    assert scene.errors()[0][0] == "refer"


@pytest.mark.parametrize("answer", [OFFER, None])
def test_one_who_makes_no_offer_is_heard_from_the_acknowledgement_on(answer: bytes | None) -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(0.01)
        done, leg, sip = takes_place(scene, scene.sip, offer=None)
        assert done
        assert leg.negotiated is None
        sip.remote_sdp = answer
        sip.happens(Acknowledged())
        await asyncio.sleep(0.01)
        assert scene.call.over is (answer is None)
        assert sip.done == (["accept"] if answer else ["accept", "hangup"])
        await scene.give(Hangup())

    scene = Scene().play(script)
    assert scene.ending.record == ("bySystem" if answer else "failed")
    assert len(scene.all(events.Answer)) == 1


def test_a_stranger_takes_no_place() -> None:
    async def script(scene: Scene) -> None:
        assert not takes_place(scene, NotingSip())[0]
        await transferred(scene)
        assert not takes_place(scene, NotingSip())[0]
        assert scene.lane is scene.plane.lanes[0]
        await scene.give(Hangup())

    Scene().play(script)


def test_before_the_answer_there_is_no_place_to_take() -> None:
    async def script(scene: Scene) -> None:
        assert not takes_place(scene, scene.sip)[0]
        await scene.give(Hangup())

    Scene("waiting").play(script)


def test_one_who_has_given_up_takes_no_place() -> None:
    async def script(scene: Scene) -> None:
        leg, sip = newcomer(scene)
        sip.happens(Ended("canceled", "CANCEL"))
        assert not take_place(scene.call, cast("SipCall", scene.sip), leg)
        await asyncio.sleep(0.01)
        assert scene.lane is scene.plane.lanes[0]
        await scene.give(Hangup())

    assert Scene().play(script).ending.record == "bySystem"
