"""A transfer, step by step, in each mode and with each end."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from active_call.call.audio import hearing
from active_call.call.audio import voice as voice_module
from active_call.call.audio.hearing import Hearing
from active_call.call.record import record_of
from active_call.call.transfer import hold_music
from active_call.core.audio import Pcm
from active_call.core.errors import LocalProtocolError
from active_call.lanes.messages import (
    CloseLane,
    ConfigureLane,
    DigitReceived,
    SendDigits,
    SetDenoise,
    SpeechStarted,
)
from active_call.sip.events import (
    Answered,
    Ended,
    InfoReceived,
    OfferAnswered,
    OfferReceived,
    OfferRefused,
    ReferProgress,
    ReferReceived,
    Rejected,
    Ringing,
    SipEvent,
)
from active_call.speech.providers import AsrResult
from active_call.wire import events
from active_call.wire.commands import Hangup, Interrupt, SendDtmf
from active_call.wire.options import AsrOption, SipOption, VadOption
from tests.unit.call.fakes import HOLD, OFFER, SampleVoice
from tests.unit.call.scene import VOICE, Scene, refers, says, takes_place, transferred


@pytest.fixture(autouse=True)
def voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_module, "load_tts", lambda name: SampleVoice())


@pytest.fixture(autouse=True)
def no_fallback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hold_music, "FALLBACK", tmp_path / "none.wav")


async def answered(scene: Scene, **option: Any) -> None:
    """The client's own call is up."""
    await scene.dial(**option)
    scene.sip.answers()
    await asyncio.sleep(0.01)


async def happens(scene: Scene, *things: SipEvent) -> None:
    """In the dialog of the transferred party."""
    for thing in things:
        scene.sip.parties[-1].happens(thing)
    await asyncio.sleep(0.01)


def test_both_hear_each_other_and_the_events_say_so() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers())
        await happens(scene, Ringing(180, "Ringing", None))
        scene.sip.parties[0].answers()
        await asyncio.sleep(5)
        await happens(scene, Ended("peer", "BYE"))
        assert not scene.call.over
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert scene.of_party() == ["ringing", "trackStart", "answer", "trackEnd", "hangup"]
    answer, hangup = scene.all(events.Answer)[1], scene.all(events.Hangup)[0]
    assert (answer.track_id, answer.sdp, answer.refer) == ("serverSideTrack", OFFER.decode(), True)
    assert (hangup.initiator, hangup.to and hangup.to.username) == ("callee", "carol")
    caller, party = scene.plane.lanes
    assert scene.mixed(caller) == [[1], []]
    assert scene.mixed(party) == [[0]]
    (end,) = [end for end in scene.all(events.TrackEnd) if end.refer]
    assert end.duration == pytest.approx(5_000, abs=50)
    assert scene.names()[-2:] == ["trackEnd", "hangup"]
    assert scene.errors() == []


def test_the_invite_tells_who_is_transferred() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        sip = SipOption(headers={"X-Queue": "sales", "X-Referred-Id": "mine"})
        await scene.give(refers(sip=sip))
        await happens(scene, Rejected(486, "Busy", {}))
        await scene.give(refers(caller="sip:desk@example.com", call_id="my-own-id"), Hangup())

    scene = Scene("sip").play(script)
    first, second = (party.dialled for party in scene.sip.parties)
    assert first["headers"] == {
        "X-Referred-To": "sip:bob@example.com",
        "X-Referred-From": "sip:active-call@192.0.2.1",
        "X-Referred-Id": "mine",
        "X-Queue": "sales",
    }
    assert first["caller"] == "sip:active-call@192.0.2.1"
    assert first["call_id"].startswith("ref-")
    assert first["call_id"].endswith("-c1")
    assert (second["caller"], second["call_id"]) == ("sip:desk@example.com", "my-own-id")


@pytest.mark.parametrize("auto_hangup", [False, True])
@pytest.mark.parametrize("moh", [None, "music.wav"])
def test_t21_a_busy_target_leaves_the_caller_with_the_agent(auto_hangup: bool, moh: str | None) -> None:
    async def script(scene: Scene) -> None:
        await answered(scene, tts=VOICE)
        await scene.give(refers(auto_hangup=auto_hangup, moh=moh))
        await happens(scene, Ringing(180, "Ringing", None), Rejected(486, "Busy Here", {}), Ended("peer", ""))
        await asyncio.sleep(5)
        assert not scene.call.over
        assert not scene.playing()
        await scene.give(says("still here"), Hangup())

    scene = Scene("sip").play(script)
    reject = scene.told(events.Reject)
    assert (reject.code, reject.reason, reject.refer, reject.track_id) == (
        486,
        "Busy Here",
        True,
        "serverSideTrack",
    )
    assert scene.of_party() == ["ringing", "reject"]
    assert len(scene.plane.told(CloseLane)) == 2


def test_t21_a_silent_target_is_cancelled_in_time() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers(timeout=20))
        await happens(scene, Ringing(180, "Ringing", None))
        await asyncio.sleep(19)
        assert scene.sip.parties[0].done == ["invite sip:carol@example.com"]
        await asyncio.sleep(1)
        assert scene.sip.parties[0].done[-1] == "hangup"
        assert not scene.call.over
        await scene.give(Hangup())

    reject = Scene("sip").play(script).told(events.Reject)
    assert (reject.code, reject.reason, reject.refer) == (408, "Timeout when refer", True)


def test_t21_the_parents_end_ends_the_party() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await transferred(scene)
        scene.sip.happens(Ended("peer", "BYE"))

    scene = Scene("sip").play(script)
    assert scene.sip.parties[0].done[-1] == "hangup"
    assert [event.refer for event in scene.all(events.Hangup)] == [True, None]
    assert scene.names()[-4:] == ["trackEnd", "hangup", "trackEnd", "hangup"]
    assert scene.ending.record == "byCallee"


@pytest.mark.parametrize("answered_too", [False, True])
def test_a_party_may_answer_our_goodbye_after_the_call_is_given_back(answered_too: bool) -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers())
        party = scene.sip.parties[0]
        if answered_too:
            party.answers()
        await scene.give(Hangup())
        await asyncio.sleep(1)
        scene.sip.forget()
        call = weakref.ref(scene.call)
        del scene.call
        gc.collect()
        assert call() is None
        party.happens(Ended("local", "hung up"))

    Scene("sip").play(script)


def test_t21_the_caller_gives_up_while_the_target_rings() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers())
        await happens(scene, Ringing(180, "Ringing", None))
        scene.sip.happens(Ended("peer", "BYE"))
        await asyncio.sleep(0.01)
        await happens(scene, Answered(OFFER))  # a 200 that crosses our CANCEL

    scene = Scene("sip").play(script)
    assert scene.sip.parties[0].done[-1] == "hangup"
    assert scene.of_party() == ["ringing", "hangup"]
    assert len(scene.plane.told(CloseLane)) == 2
    record = record_of(scene.call).refer_callrecord
    assert record is not None
    assert (record.status_code, record.hangup_reason, record.answer_time) == (487, "canceled", None)


@pytest.mark.parametrize("auto_hangup", [False, True])
def test_t21_the_party_leaves(auto_hangup: bool) -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await transferred(scene, auto_hangup=auto_hangup)
        await happens(scene, Ended("peer", "BYE"))
        assert scene.call.over is auto_hangup
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert scene.ending.record == ("byRefer" if auto_hangup else "bySystem")
    record = record_of(scene.call).refer_callrecord
    assert record is not None
    assert (record.call_type, record.callee, record.hangup_reason) == (
        "b2bua",
        "sip:carol@example.com",
        "byCallee",
    )


@pytest.mark.parametrize("auto_hangup", [False, True])
def test_a_party_whose_line_broke_did_not_hang_up(auto_hangup: bool) -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await transferred(scene, auto_hangup=auto_hangup)
        await happens(scene, Ended("timeout", "no ACK came"))
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    of_party = scene.all(events.Hangup)[0]
    assert (of_party.initiator, of_party.reason, of_party.detail) == ("system", "failed", "no ACK came")
    record = record_of(scene.call)
    assert record.refer_callrecord is not None
    assert (record.refer_callrecord.status_code, record.refer_callrecord.hangup_reason) == (408, "failed")
    if auto_hangup:
        assert (record.hangup_reason, record.hangup_by) == ("byRefer", "system")
        assert record.hangup_detail == "the party that the call was transferred to was lost: no ACK came"


@pytest.mark.parametrize("auto_hangup", [False, True])
@pytest.mark.parametrize("rings", [False, True])
def test_t22_hangup_refer_ends_only_the_party(auto_hangup: bool, rings: bool) -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        if rings:
            await scene.give(refers(auto_hangup=auto_hangup))
        else:
            await transferred(scene, auto_hangup=auto_hangup)
        await scene.give(Hangup(refer=True, reason="enough", headers={"X-Why": "enough"}))
        assert scene.sip.parties[0].done[-1] == "hangup"
        assert scene.sip.parties[0].sent_headers == {"X-Why": "enough"}
        assert "hangup" not in scene.sip.done
        await asyncio.sleep(60)
        assert not scene.call.over
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    of_party, of_call = scene.all(events.Hangup)
    assert (of_party.reason, of_party.refer, of_call.refer) == ("enough", True, None)


def test_t21_speech_during_a_transfer_leaves_the_party_there() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene, tts=VOICE)
        party = await transferred(scene)
        await scene.give(says("hello", "one"), Interrupt(), says("bye", "two"))
        assert party.done == ["invite sip:carol@example.com"]
        assert scene.mixed(scene.lane) == [[1]]
        await scene.give(Hangup())

    assert Scene("sip").play(script).errors() == []


def test_t21_early_media_is_heard_and_answers_later() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers())
        await happens(scene, Ringing(180, "Ringing", None))
        assert scene.playing()  # a ringback tone
        await happens(scene, Ringing(183, "Session Progress", OFFER))
        assert not scene.playing()
        assert scene.mixed(scene.plane.lanes[0]) == [[1]]
        assert scene.mixed(scene.plane.lanes[1]) == []  # the callee hears nobody yet
        scene.sip.parties[0].answers()
        await asyncio.sleep(0.01)
        assert scene.mixed(scene.plane.lanes[1]) == [[0]]
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert scene.of_party()[:4] == ["ringing", "ringing", "trackStart", "answer"]
    assert [event.early_media for event in scene.all(events.Ringing)] == [False, True]


def test_with_music_early_media_is_not_heard() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers(moh="music.wav"))
        await happens(scene, Ringing(183, "Session Progress", OFFER))
        assert scene.mixed(scene.lane) == []
        await scene.give(Hangup())

    Scene("sip").play(script)


def test_what_is_played_is_cut_when_the_transfer_begins() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene, tts=VOICE)
        await scene.give(says("a" * 500, "long"))
        await scene.give(refers())
        assert not scene.playing()
        await scene.give(Hangup())

    Scene("sip").play(script)


def test_one_transfer_at_a_time_is_set_up_and_another_takes_its_place() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers())
        await scene.give(refers("sip:dave@example.com"))
        assert len(scene.sip.parties) == 1
        scene.sip.parties[0].answers()
        await asyncio.sleep(0.01)
        await scene.give(refers("sip:dave@example.com"))
        assert scene.sip.parties[0].done[-1] == "hangup"
        scene.sip.parties[1].answers()
        await asyncio.sleep(0.01)
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    ((_, text),) = scene.errors()
    assert text.startswith('refer: a transfer to "sip:carol@example.com" is being set up')
    assert scene.mixed(scene.plane.lanes[0])[:3] == [[1], [], [2]]


def test_a_transfer_needs_an_answered_call() -> None:
    async def script(scene: Scene) -> None:
        await scene.dial()
        await scene.give(refers(), Hangup())

    ((_, text),) = Scene("sip").play(script).errors()
    assert text == "refer: the call is dialing; only an answered call can be transferred"


def test_an_answer_that_cant_be_used_is_a_reject() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers())
        scene.sip.parties[0].answers(None)
        await asyncio.sleep(0.01)
        assert scene.sip.parties[0].done[-1] == "hangup"
        await scene.give(Hangup())

    assert Scene("sip").play(script).told(events.Reject).code == 488


def test_branches_of_a_forked_call_are_one_party() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        party = await transferred(scene)
        await happens(scene, Ringing(180, "Ringing", None))
        party.answers(OFFER.replace(b"4000", b"4004"))
        await asyncio.sleep(0.01)
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert scene.of_party() == ["trackStart", "answer", "trackEnd", "hangup"]
    ports = [each.remote[1] for each in scene.plane.told(ConfigureLane) if each.row == 1 and each.remote]
    assert ports == [4000, 4004]


def test_a_target_that_cant_be_dialled_is_an_error_and_changes_nothing() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene, tts=VOICE)
        await scene.give(says("a" * 500, "long"))
        scene.sip.refuses_to_dial = LocalProtocolError("no such host")
        await scene.give(refers())
        assert scene.playing()
        assert scene.plane.lanes[1].closing
        await scene.give(Hangup())

    assert Scene("sip").play(script).errors()[0] == ("command", "refer: no such host")


# --- keys, hold, ears -----------------------------------------------------------------------------------


@pytest.mark.parametrize("forward", [True, False])
def test_keys_are_pressed_on_the_other_side(forward: bool) -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await transferred(scene, forward_dtmf=forward)
        caller, party = scene.plane.lanes
        caller.receive(DigitReceived(0, 7, 5, "1", 320))
        party.receive(DigitReceived(1, 7, 5, "2", 320))
        await happens(scene, InfoReceived("application/dtmf-relay", b"Signal=3"))
        await scene.give(SendDtmf(digits="9", refer=True), Hangup())

    scene = Scene("sip").play(script)
    sent = [(sent.row, sent.digits) for sent in scene.plane.told(SendDigits)]
    assert sent == ([(1, "1"), (0, "2"), (0, "3"), (1, "9")] if forward else [(1, "9")])
    told = [(key.track_id, key.digit, key.refer) for key in scene.all(events.Dtmf)]
    assert told == [("c1", "1", None), ("serverSideTrack", "2", True), ("serverSideTrack", "3", True)]


def test_a_party_that_holds_leaves_the_caller_with_music(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await transferred(scene, moh="music.wav")
        await happens(scene, OfferReceived(HOLD), OfferReceived(HOLD))
        assert scene.mixed(scene.lane) == [[1], []]
        await happens(scene, OfferReceived(OFFER))
        assert scene.mixed(scene.lane) == [[1], [], [1]]
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert [(hold.on_hold, hold.refer) for hold in scene.all(events.Hold)] == [(True, True), (False, True)]


def test_an_offer_that_crossed_ours_is_followed_by_ours_again() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers())
        moved = OFFER.replace(b"4000", b"4004")
        await happens(scene, Ringing(183, "Session Progress", OFFER), OfferReceived(moved))  # UPDATE
        scene.sip.parties[0].answers(moved)
        await happens(scene, OfferAnswered(OFFER.replace(b"4000", b"4008")))
        assert scene.sip.parties[0].done[-2:] == ["answer offer 200", "offer"]
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    ports = [each.remote[1] for each in scene.plane.told(ConfigureLane) if each.row == 1 and each.remote]
    assert ports == [4000, 4004, 4008]


def test_an_offer_that_the_party_refuses_is_told() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await transferred(scene)
        await happens(scene, OfferRefused(500, "Server Error"))
        await scene.give(Hangup())

    assert Scene("sip").play(script).errors() == [("hold", "the peer refused: 500 Server Error")]


def test_t20_the_callers_recogniser_pauses_for_the_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    async def script(scene: Scene) -> None:
        await answered(scene)
        monkeypatch.setattr(scene.call.listening, "pause", lambda: done.append("pause"))
        monkeypatch.setattr(scene.call.listening, "resume", lambda: done.append("resume"))
        await scene.give(refers(pause_parent_asr=True))
        await happens(scene, Rejected(486, "Busy", {}))
        await transferred(scene, pause_parent_asr=True)
        assert done == ["pause", "resume", "pause"]
        await happens(scene, Ended("peer", "BYE"))
        await transferred(scene)
        await scene.give(Hangup())

    Scene("sip").play(script)
    assert done == ["pause", "resume", "pause", "resume"]


def test_the_party_is_listened_to_if_asked() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await transferred(scene, vad=VadOption(type="energy"), asr=AsrOption(provider="no-such"), denoise=True)
        scene.plane.lanes[1].receive(SpeechStarted(1, 7, 100, 16_000, 0.9))
        await asyncio.sleep(0.1)
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    speaking = scene.told(events.Speaking)
    assert (speaking.track_id, speaking.refer) == ("serverSideTrack", True)
    assert [denoise.row for denoise in scene.plane.told(SetDenoise)] == [1]
    assert [sender for sender, _ in scene.errors()] == ["asr"]


class OneWord:
    """A recogniser that understands "hello" in everything."""

    @asynccontextmanager
    async def open(self, option: AsrOption) -> AsyncIterator["OneWord"]:
        yield self

    async def send(self, pcm: Pcm, position: int) -> None: ...

    async def speech_started(self, position: int) -> None: ...

    async def speech_ended(self, position: int) -> None: ...

    async def __aiter__(self) -> AsyncIterator[AsrResult]:
        yield AsrResult("hel", False, 0, 160)
        yield AsrResult("hello", True, 0, 320)
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("of_call", "of_party"),
    [(None, AsrOption(provider="one-word")), (AsrOption(provider="one-word"), AsrOption(language="de"))],
)
def test_the_partys_words_are_told_as_the_partys(
    monkeypatch: pytest.MonkeyPatch, of_call: AsrOption | None, of_party: AsrOption
) -> None:
    monkeypatch.setattr(hearing, "load_asr", lambda name: OneWord())

    async def script(scene: Scene) -> None:
        await answered(scene, asr=of_call)
        party = await transferred(scene, asr=of_party)
        await asyncio.sleep(0.2)
        party.happens(Ended("peer", "BYE"))
        await asyncio.sleep(0.1)
        assert scene.all(events.AsrFinal)
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    told: list[events.AsrDelta | events.AsrFinal] = [
        *scene.all(events.AsrDelta),
        *scene.all(events.AsrFinal),
    ]
    told = [word for word in told if word.refer]
    assert [(word.track_id, word.text, word.refer) for word in told] == [
        ("serverSideTrack", "hel", True),
        ("serverSideTrack", "hello", True),
    ]
    assert len(scene.call.news.turns.turns) == (0 if of_call is None else 1)


# --- the caller's own phone -----------------------------------------------------------------------------


def test_blind_asks_the_phone_and_ends_when_it_got_through() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers(mode="blind", sip=SipOption(headers={"X-Queue": "sales"})))
        scene.sip.happens(ReferProgress(202, "Accepted", False))
        scene.sip.happens(ReferProgress(100, "Trying", False))
        scene.sip.happens(ReferProgress(180, "Ringing", False))
        await asyncio.sleep(0.01)
        assert not scene.call.over
        scene.sip.happens(ReferProgress(200, "OK", True))

    scene = Scene("sip").play(script)
    assert scene.sip.done == ["invite sip:bob@example.com", "refer sip:carol@example.com", "hangup"]
    assert scene.of_party() == ["ringing", "answer"]
    assert (scene.ending.record, scene.ending.reason) == ("byRefer", "refer")
    assert scene.sip.parties == []


@pytest.mark.parametrize(
    ("progress", "code"),
    [
        (ReferProgress(405, "Method Not Allowed", True), 405),
        (ReferProgress(486, "Busy Here", True), 486),
        (None, 408),
    ],
)
def test_blind_that_fails_leaves_the_caller_with_the_agent(progress: ReferProgress | None, code: int) -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers(mode="blind"))
        if progress is not None:
            scene.sip.happens(progress)
        await asyncio.sleep(31)
        assert not scene.call.over
        await scene.give(refers(), Hangup())

    scene = Scene("sip").play(script)
    assert [reject.code for reject in scene.all(events.Reject)] == [code]
    assert len(scene.sip.parties) == 1


def test_blind_cant_be_stopped_and_the_phone_may_leave_early() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers(mode="blind"))
        scene.sip.happens(ReferProgress(202, "Accepted", False))
        await scene.give(Hangup(refer=True))
        assert not scene.call.over
        scene.sip.happens(Ended("peer", "BYE"))

    scene = Scene("sip").play(script)
    assert [text for _, text in scene.errors()] == [
        "hangup: the peer's phone carries the transfer out; it can't be stopped here"
    ]
    assert scene.ending.record == "byRefer"


REPLACING = "refer sip:carol@192.0.2.9:5062?Replaces=leg-1%3Bto-tag%3Dtheirs%3Bfrom-tag%3Dours"


def test_attended_asks_the_phone_to_take_our_place() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers(mode="attended"))
        assert scene.sip.done == ["invite sip:bob@example.com"]
        scene.sip.parties[0].answers()
        await asyncio.sleep(0.01)
        assert scene.sip.done[-1] == REPLACING
        scene.sip.happens(ReferProgress(202, "Accepted", False))
        await happens(scene, Ended("peer", "BYE"))  # replaced
        assert not scene.call.over
        scene.sip.happens(ReferProgress(200, "OK", True))

    scene = Scene("sip").play(script)
    assert scene.of_party() == ["answer"]
    assert scene.ending.record == "byRefer"
    assert [party.hangup_reason for party in record_of(scene.call).refer_callrecords or []] == ["byRefer"]
    assert [mix for mix in scene.mixed(scene.plane.lanes[1]) if mix] == []


@pytest.mark.parametrize("left", [False, True])
def test_a_party_that_nobody_took_over_ends_with_the_call(left: bool) -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers(mode="attended"))
        await happens(scene, Ringing(180, "Ringing", None))
        scene.sip.parties[0].answers()
        await asyncio.sleep(0.01)
        if left:
            await happens(scene, Ended("peer", "BYE"))
        await scene.give(Hangup(reason="enough"))

    scene = Scene("sip").play(script)
    assert scene.of_party() == ["ringing", "hangup"]
    assert [event.reason for event in scene.all(events.Hangup)] == ["callee" if left else "enough", "enough"]


def test_attended_falls_back_to_a_bridge() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers(mode="attended"))
        scene.sip.parties[0].answers()
        await asyncio.sleep(0.01)
        scene.sip.happens(ReferProgress(501, "Not Implemented", True))
        await asyncio.sleep(0.01)
        assert scene.mixed(scene.plane.lanes[0]) == [[1]]
        assert scene.mixed(scene.plane.lanes[1]) == [[0]]
        await happens(scene, Ended("peer", "BYE"))
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert scene.of_party() == ["trackStart", "answer", "trackEnd", "hangup"]
    ((sender, text),) = scene.errors()
    assert (sender, "501 Not Implemented" in text) == ("refer", True)


def test_attended_whose_party_and_phone_both_fail_is_a_reject() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers(mode="attended"))
        scene.sip.parties[0].answers()
        await asyncio.sleep(0.01)
        await happens(scene, Ended("peer", "BYE"))
        await asyncio.sleep(31)
        assert not scene.call.over
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert scene.of_party() == ["reject"]


def test_a_caller_who_was_bridged_after_all_hangs_up_like_any_other() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers(mode="attended"))
        scene.sip.parties[0].answers()
        await asyncio.sleep(0.01)
        scene.sip.happens(ReferProgress(202, "Accepted", False))
        scene.sip.happens(ReferProgress(486, "Busy Here", True))
        await asyncio.sleep(0.01)
        scene.sip.happens(Ended("peer", "BYE"))

    assert Scene("sip").play(script).ending.record == "byCallee"


def test_attended_can_be_stopped_while_the_phone_is_asked() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        await scene.give(refers(mode="attended"))
        scene.sip.parties[0].answers()
        await asyncio.sleep(0.01)
        await scene.give(Hangup(refer=True, reason="enough"))
        assert scene.sip.parties[0].done[-1] == "hangup"
        scene.sip.happens(ReferProgress(487, "Replaced dialog is gone", True))
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert scene.of_party() == ["hangup"]
    assert scene.errors() == []


# --- somebody takes the caller's place --------------------------------------------------------------------


def test_a_recogniser_that_rests_rests_for_whoever_is_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[Hearing] = []

    def pause(ears: Hearing) -> None:
        paused.append(ears)

    monkeypatch.setattr(Hearing, "pause", pause)

    async def script(scene: Scene) -> None:
        await asyncio.sleep(0.01)
        await transferred(scene, pause_parent_asr=True)
        takes_place(scene, scene.sip)
        assert len(set(paused)) == 2
        await scene.give(Hangup())

    assert Scene().play(script).errors() == []


def test_a_party_that_holds_and_is_replaced_no_longer_holds() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene)
        party = await transferred(scene, moh="waiting.wav")
        await happens(scene, OfferReceived(HOLD))
        assert scene.mixed(scene.lane) == [[1], []]
        done, leg, _ = takes_place(scene, party)
        assert done
        assert scene.mixed(scene.lane) == [[1], [], [leg.lane.ref.row]]
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert [hold.on_hold for hold in scene.all(events.Hold)] == [True, False]


def test_a_phone_that_is_replaced_carries_nothing_out() -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(0.01)
        await scene.give(refers(mode="blind"))
        scene.sip.happens(ReferProgress(202, "Accepted", False))
        await asyncio.sleep(0.01)
        _, _, sip = takes_place(scene, scene.sip)
        assert scene.told(events.Reject).code == 487
        sip.happens(Ended("peer", "BYE"))

    assert Scene().play(script).ending.record == "byCaller"


# --- the peer asks --------------------------------------------------------------------------------------


def test_a_transfer_that_the_peer_asked_for_makes_the_party_the_peer() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene, tts=VOICE)
        scene.sip.happens(ReferReceived("sip:carol@example.com", "<sip:bob@example.com>", "a;to-tag=b"))
        await asyncio.sleep(0.01)
        await scene.give(refers())
        party = scene.sip.parties[0]
        assert party.dialled["headers"]["Referred-By"] == "<sip:bob@example.com>"
        assert party.dialled["headers"]["Replaces"] == "a;to-tag=b"
        await happens(scene, Ringing(180, "Ringing", None))
        party.answers()
        await asyncio.sleep(0.01)
        assert scene.sip.done[1:] == ["notify 180 Ringing", "notify 200 OK final"]
        scene.sip.happens(Ended("peer", "BYE"))
        await asyncio.sleep(0.01)
        assert not scene.call.over
        assert scene.lane is scene.plane.lanes[1]
        assert scene.plane.lanes[0].closing
        await scene.give(says("hello"))
        await asyncio.sleep(0.1)
        assert scene.lane.write_position > 0
        party.happens(Ended("peer", "BYE"))

    scene = Scene("sip").play(script)
    assert scene.told(events.TransferRequest).refer_to == "sip:carol@example.com"
    assert scene.errors() == []
    assert scene.mixed(scene.plane.lanes[1])[-1] == []
    assert scene.of_party() == ["ringing", "trackStart", "answer", "trackEnd", "hangup"]


async def asks_and_leaves(scene: Scene, **options: Any) -> None:
    """The peer asks for a transfer, and hangs up before the other party has answered."""
    await answered(scene, tts=VOICE)
    scene.sip.happens(ReferReceived("sip:carol@example.com", None, None))
    await asyncio.sleep(0.01)
    await scene.give(refers(**options))
    scene.sip.happens(Ended("peer", "BYE"))
    await happens(scene, Ringing(180, "Ringing", None))
    assert not scene.call.over
    assert not scene.playing()


def test_a_peer_that_asked_may_leave_before_the_party_answers() -> None:
    async def script(scene: Scene) -> None:
        await asks_and_leaves(scene)
        scene.sip.parties[0].answers()
        await asyncio.sleep(0.01)
        assert scene.lane is scene.plane.lanes[1]
        assert scene.plane.lanes[0].closing
        await scene.give(says("hello"))
        await asyncio.sleep(0.1)
        assert scene.lane.write_position > 0
        await happens(scene, Ended("peer", "BYE"))

    scene = Scene("sip").play(script)
    assert scene.ending.record == "byCallee"
    assert len(scene.plane.told(CloseLane)) == 2


def test_t42_nobody_is_silent_while_a_peer_that_left_is_replaced() -> None:
    async def script(scene: Scene) -> None:
        await answered(scene, inactivity_timeout=5)
        scene.sip.happens(ReferReceived("sip:carol@example.com", None, None))
        await asyncio.sleep(0.01)
        await scene.give(refers())
        scene.sip.happens(Ended("peer", "BYE"))
        await scene.pass_seconds(20)
        assert not scene.call.over
        scene.sip.parties[0].answers()
        await scene.pass_seconds(10)

    assert Scene("sip").play(script).ending.record == "inactivityTimeout"


@pytest.mark.parametrize("end", [Rejected(486, "Busy Here", {}), Hangup(refer=True), None])
def test_a_call_that_its_peer_left_ends_if_the_party_never_answers(end: Rejected | Hangup | None) -> None:
    async def script(scene: Scene) -> None:
        await asks_and_leaves(scene, timeout=5)
        if isinstance(end, Rejected):
            await happens(scene, end)
        elif end is not None:
            await scene.give(end)
        else:
            await asyncio.sleep(6)
        assert scene.call.over

    scene = Scene("sip").play(script)
    assert scene.ending.record == "byCallee"
    assert scene.of_party() == ["ringing", "hangup" if isinstance(end, Hangup) else "reject"]
    assert len(scene.plane.told(CloseLane)) == 2
