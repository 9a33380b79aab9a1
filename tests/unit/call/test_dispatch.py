"""What commands do, and what they say when they can't."""

import asyncio

import pytest

from active_call.call.audio import voice as voice_module
from active_call.core.errors import PlaybookError
from active_call.lanes.messages import AdjustLane, DigitReceived, SendDigits
from active_call.outbound.guard import Origin
from active_call.sip.events import Answered, Rejected, Ringing
from active_call.wire import events
from active_call.wire.commands import (
    AddIceCandidate,
    Bridge,
    Command,
    Custom,
    Hangup,
    History,
    Interrupt,
    Message,
    Mute,
    Pause,
    Play,
    Refer,
    Resume,
    SendDtmf,
    Unbridge,
    Unmute,
)
from active_call.wire.options import ReferOption
from tests.unit.call.fakes import OFFER, SampleVoice
from tests.unit.call.scene import VOICE, Scene, says


@pytest.fixture(autouse=True)
def voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_module, "load_tts", lambda name: SampleVoice())


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (Refer(callee="5551234"), "is a bare number"),
        (Refer(callee="sip:x@y", options=ReferOption(mode="blind")), "is for telephone calls"),
        (Bridge(target_session_id="x"), 'no live call "x"'),
        (Bridge(target_session_id="c1"), "with itself"),
        (Unbridge(target_session_id="x"), 'not bridged with "x"'),
        (Message(body="hi"), "only telephones"),
        (Message(body="hi", refer=True), "nobody is transferred to"),
        (SendDtmf(digits="1", mode="rfc4733"), '"inband"'),
        (SendDtmf(digits="1", refer=True), "nobody is transferred to"),
        (AddIceCandidate(candidate="c"), "not there yet"),
        (Hangup(refer=True), "nothing is being transferred"),
    ],
)
def test_what_cant_be_done_is_one_error(command: Command, why: str) -> None:
    async def script(scene: Scene) -> None:
        await scene.start()
        await scene.give(command)
        assert not scene.call.over
        await scene.give(Hangup())

    ((sender, text),) = Scene("audio").play(script).errors()
    assert sender == "command"
    assert text.startswith(f"{command.command}: ")
    assert why in text


def test_keys_are_tones_on_a_websocket() -> None:
    async def script(scene: Scene) -> None:
        await scene.start()
        await scene.give(SendDtmf(digits="1a#", duration=100, gap=50), Hangup())

    scene = Scene("audio").play(script)
    (sent,) = scene.plane.told(SendDigits)
    assert (sent.digits, sent.duration_ms, sent.gap_ms, sent.tones) == ("1A#", 100, 50, True)
    assert scene.errors() == []


def test_masked_keys_are_told_but_not_written() -> None:
    async def script(scene: Scene) -> None:
        await scene.start(mask_dtmf=True)
        scene.call.on_lane(DigitReceived(0, 7, 1, "7", 320))
        await scene.give(Hangup())

    scene = Scene("audio").play(script)
    assert scene.told(events.Dtmf).digit == "7"
    assert [adjusted.mask_digits for adjusted in scene.plane.told(AdjustLane)] == [True]
    assert scene.call.news.dump.mask_digits
    assert [turn.digits for turn in scene.call.news.turns.turns] == ["*"]


@pytest.mark.parametrize("command", [says("hi"), Play(url="a.wav"), Pause(), Resume(), Refer(callee="x")])
def test_before_the_call_has_begun_there_is_nothing_to_do_it_to(command: Command) -> None:
    async def script(scene: Scene) -> None:
        await scene.give(command)
        await scene.start()
        await scene.give(Hangup())

    ((sender, text),) = Scene("audio").play(script).errors()
    assert (sender, text.split(":")[0]) == ("command", command.command)


def test_an_interrupt_with_nothing_to_interrupt_is_quiet() -> None:
    async def script(scene: Scene) -> None:
        await scene.give(Interrupt())
        await scene.start()
        await scene.give(Interrupt(), Hangup())

    assert Scene("audio").play(script).errors() == []


def test_speech_waits_for_the_answer() -> None:
    async def script(scene: Scene) -> None:
        await scene.dial(tts=VOICE)
        scene.sip.happens(Ringing(180, "Ringing", None))
        await scene.give(*(says("ab", "one") for _ in range(40)))
        assert scene.lane.write_position == 0
        scene.sip.happens(Answered(OFFER))
        await asyncio.sleep(1)
        assert scene.lane.write_position == 40 * 2 * 320
        await scene.give(Hangup())

    assert Scene("sip").play(script).errors() == []


def test_hanging_up_tells_what_was_never_played() -> None:
    async def script(scene: Scene) -> None:
        await scene.dial(tts=VOICE)
        scene.sip.happens(Ringing(180, "Ringing", None))
        await scene.give(*(says("ab", f"{number}") for number in range(40)))
        await scene.give(Hangup(reason="bored"))

    scene = Scene("sip").play(script)
    assert scene.sip.done == ["invite sip:bob@example.com", "hangup"]
    assert scene.errors() == [("command", "the call ended: 40 tts and play commands were never played")]
    assert scene.names() == ["trackStart", "ringing", "error", "trackEnd", "hangup"]
    assert scene.told(events.Hangup).reason == "bored"


def test_a_rejected_call_tells_it_too() -> None:
    async def script(scene: Scene) -> None:
        await scene.dial(tts=VOICE)
        await scene.give(says("ab"))
        scene.sip.happens(Rejected(486, "Busy", {}))

    assert Scene("sip").play(script).names() == ["trackStart", "reject", "error", "trackEnd", "hangup"]


def test_not_too_much_waits() -> None:
    async def script(scene: Scene) -> None:
        await scene.dial(tts=VOICE)
        await scene.give(*(says("ab") for _ in range(1001)))
        await scene.give(Interrupt())
        await scene.give(Hangup())

    errors = [text for _, text in Scene("sip").play(script).errors()]
    assert errors == [
        "tts: 1000 commands wait for the answer already; this one is dropped",
        "interrupt: 1000 tts and play commands were never played",
    ]


def test_history_and_custom_come_back_as_events() -> None:
    async def script(scene: Scene) -> None:
        await scene.give(History(speaker="user", text="hello"), Custom(sender="me", data={"a": [1, None]}))
        await scene.give(Hangup())

    scene = Scene("audio").play(script)
    told = scene.told(events.AddHistory)
    assert (told.sender, told.speaker, told.text) == ("c1", "user", "hello")
    custom = scene.told(events.Custom)
    assert (custom.sender, custom.data) == ("me", {"a": [1, None]})


def test_playback_is_paused_and_resumed() -> None:
    async def script(scene: Scene) -> None:
        await scene.start(tts=VOICE)
        await scene.give(Pause())
        await scene.give(says("a" * 500, "long"), Pause())
        await scene.give(Resume(), Hangup())

    scene = Scene("audio").play(script)
    assert [text for _, text in scene.errors()] == ["pause: nothing is playing"]
    assert [adjusted.paused for adjusted in scene.plane.told(AdjustLane)][:2] == [True, False]


@pytest.mark.parametrize(
    ("track_id", "received", "sent"),
    [
        (None, True, True),
        ("c1", True, False),
        ("serverSideTrack", False, True),
        ("server-side-track", False, True),
    ],
)
def test_tracks_are_muted_by_name(track_id: str | None, received: bool, sent: bool) -> None:
    async def script(scene: Scene) -> None:
        await scene.start()
        await scene.give(Mute(track_id=track_id))
        await scene.give(Unmute())
        await scene.give(Hangup())

    muted, unmuted = Scene("audio").play(script).plane.told(AdjustLane)
    assert (muted.mute_received, muted.mute_sent) == (received, sent)
    assert (unmuted.mute_received, unmuted.mute_sent) == (False, False)


def test_mute_is_for_tracks_that_start_later_too() -> None:
    async def script(scene: Scene) -> None:
        await scene.give(Mute())
        await scene.start()
        await scene.give(Hangup())

    (muted,) = Scene("audio").play(script).plane.told(AdjustLane)
    assert (muted.mute_received, muted.mute_sent) == (True, True)


def test_an_unknown_track_cant_be_muted() -> None:
    async def script(scene: Scene) -> None:
        await scene.give(Mute(track_id="other"), Hangup())

    ((_, text),) = Scene("audio").play(script).errors()
    assert text.startswith('mute: there is no track "other"; tracks: "c1"')


def test_whose_file_it_is_depends_on_who_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    origins: list[Origin] = []

    async def script(scene: Scene) -> None:
        await scene.start()
        monkeypatch.setattr(scene.call.player, "play", lambda command, *, origin: origins.append(origin))
        await scene.give(Play(url="a"))
        scene.call.send(Play(url="a"))
        scene.call.send(Play(url="a"), trusted=False)
        await scene.give(Hangup())

    Scene("audio").play(script)
    assert origins == [Origin.CLIENT, Origin.OPERATOR, Origin.CALL]


def test_a_bug_in_one_call_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(scene: Scene) -> None:
        await scene.start()
        monkeypatch.setattr(scene.call.player, "tts", lambda command: 1 // 0)
        await scene.give(says("x"))

    scene = Scene("audio").play(script)
    assert scene.names()[-1] == "hangup"
    assert scene.ending.status == 500


def test_our_own_errors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(scene: Scene) -> None:
        await scene.start()

        def fail(command: object) -> None:
            raise PlaybookError("odd")

        monkeypatch.setattr(scene.call.player, "tts", fail)
        await scene.give(says("x"), Hangup())

    assert Scene("audio").play(script).errors() == [("command", "tts: odd")]
