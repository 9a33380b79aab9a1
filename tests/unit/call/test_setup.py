"""How calls of clients come about."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from active_call.call.leg import SipLeg
from active_call.call.services import Lead
from active_call.call.state import CallState
from active_call.core.errors import ActiveCallError, LocalProtocolError
from active_call.lanes.messages import ConfigureLane, OpenExternal, StartRecording
from active_call.outbound.guard import Origin
from active_call.sdp.negotiate import LocalMedia, answer_offer, make_offer
from active_call.sip import events as sip_events
from active_call.sip.events import Acknowledged, Answered, Ended, OfferReceived, Rejected
from active_call.wire import events
from active_call.wire.commands import Hangup, Invite, Reject, Ringing, Start
from active_call.wire.options import AmbianceOption, CallOption, RecorderOption, SipOption, TtsOption
from tests.unit.call.fakes import HOLD, OFFER, NotingDialogue, NotingSip
from tests.unit.call.scene import Scene, plays

# --- a client's own audio -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "codec", "rate_hz", "complaint"),
    [
        ({}, "pcmu", 16_000, ""),
        ({"codec": "PCM"}, "pcm", 16_000, ""),
        ({"codec": "pcm", "sample_rate": 48_000}, "pcm", 48_000, ""),
        ({"codec": "g722", "sample_rate": 44_100}, "g722", 44_100, ""),
        ({"codec": "pcm", "sample_rate": 44_100}, "pcm", 16_000, "sampleRate 44100"),
        ({"codec": "opus"}, "pcmu", 16_000, 'codec "opus"'),
    ],
)
def test_a_clients_audio_is_taken_up_at_once(
    option: dict[str, Any], codec: str, rate_hz: int, complaint: str
) -> None:
    async def script(scene: Scene) -> None:
        await scene.start(caller="alice", **option)
        await scene.give(Hangup())

    scene = Scene("audio").play(script)
    assert [name for name in scene.names() if name != "error"] == ["trackStart", "answer", "trackEnd", "hangup"]
    assert scene.told(events.Answer).sdp == ""
    assert scene.told(events.Hangup).from_ == events.Attendee(source="alice")
    opened = scene.lane.opened
    assert isinstance(opened, OpenExternal)
    assert (opened.codec, opened.rate_hz) == (codec, rate_hz)
    assert complaint in "".join(text for _, text in scene.errors())
    assert bool(complaint) == bool(scene.errors())


def test_a_second_invite_is_an_error_and_harmless() -> None:
    async def script(scene: Scene) -> None:
        await scene.start()
        await scene.start(codec="pcm")
        assert scene.call.state is CallState.TALKING
        await scene.give(Hangup())

    scene = Scene("audio").play(script)
    assert scene.errors() == [("command", "start: the call is talking already")]
    assert len(scene.plane.lanes) == 1


def test_webrtc_is_not_there_yet() -> None:
    async def script(scene: Scene) -> None:
        await scene.give(Invite(option=CallOption(offer="v=0")))

    scene = Scene("webrtc").play(script)
    assert scene.names() == ["error", "hangup"]
    assert "WebRTC" in scene.told(events.Error).error
    assert scene.ending.record == "failed"


# --- a client dials -------------------------------------------------------------------------------------


def test_a_client_dials() -> None:
    async def script(scene: Scene) -> None:
        await scene.dial(caller="sip:us@example.com", extra={"order": "17"})
        scene.sip.happens(Answered(OFFER))
        await asyncio.sleep(2)
        scene.sip.happens(Ended("peer", "BYE"))

    scene = Scene("sip").play(script)
    assert scene.names() == ["trackStart", "answer", "trackEnd", "hangup"]
    hangup = scene.told(events.Hangup)
    assert hangup.to is not None
    assert hangup.to.username == "bob"
    assert hangup.extra is not None
    assert (hangup.extra["order"], hangup.extra["callee"]) == ("17", "sip:bob@example.com")


def test_a_rejection_is_told_once_and_in_order() -> None:
    async def script(scene: Scene) -> None:
        await scene.dial()
        scene.sip.happens(Rejected(486, "Busy Here", {}))
        scene.sip.happens(Ended("peer", "486"))

    assert Scene("sip").play(script).names() == ["trackStart", "reject", "trackEnd", "hangup"]


@pytest.mark.parametrize(
    ("option", "text"), [({}, "callee is missing"), ({"callee": "1001"}, "bare number: set option.sip.realm")]
)
def test_nobody_to_call_ends_the_session(option: dict[str, Any], text: str) -> None:
    async def script(scene: Scene) -> None:
        await scene.give(Invite(option=CallOption(**option)))

    scene = Scene("sip").play(script)
    assert scene.names() == ["error", "hangup"]
    assert text in scene.told(events.Error).error


@pytest.mark.parametrize(
    ("codec", "first", "complaints"),
    [(None, "pcmu", 0), ("PCMA", "pcma", 0), ("opus", "pcmu", 1), ("pcm", "pcm", 0)],
)
def test_the_codec_named_is_offered_first(codec: str | None, first: str, complaints: int) -> None:
    async def script(scene: Scene) -> None:
        await scene.dial(codec=codec)
        leg = scene.call.leg
        assert isinstance(leg, SipLeg)
        assert leg.local.codecs[0] == first
        await scene.give(Hangup())

    assert len(Scene("sip").play(script).errors()) == complaints


def test_a_bare_number_is_called_at_the_realm() -> None:
    async def script(scene: Scene) -> None:
        await scene.give(Invite(option=CallOption(callee="1001", sip=SipOption(realm="pbx.example"))))
        await scene.give(Hangup())

    assert Scene("sip").play(script).sip.done[0] == "invite sip:1001@pbx.example"


def test_without_a_lane_the_call_fails_with_its_reason() -> None:
    async def script(scene: Scene) -> None:
        scene.plane.lanes = [scene.plane.lane()] * scene.plane.table.capacity
        await scene.dial()

    scene = Scene("sip").play(script)
    assert scene.errors() == [("invite", "all lanes are in use")]
    assert scene.names() == ["error", "hangup"]


def test_the_handshake_has_its_time() -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(2)
        await scene.dial(handshake_timeout=5)
        await asyncio.sleep(10)

    scene = Scene("sip").play(script)
    assert scene.told(events.Error).code == 408
    assert scene.told(events.Error).timestamp == 1_700_000_005_000
    assert scene.sip.done[-1] == "hangup"


def test_an_answer_within_the_handshake_time_stays() -> None:
    async def script(scene: Scene) -> None:
        await scene.dial(handshake_timeout=5)
        scene.sip.happens(Answered(OFFER))
        await asyncio.sleep(10)
        await scene.give(Hangup())

    assert Scene("sip").play(script).errors() == []


# --- options and playbooks ------------------------------------------------------------------------------


def test_a_command_lies_over_the_playbook_field_by_field() -> None:
    playbook = CallOption(tts=TtsOption(provider="sample", speed=1.5), inactivity_timeout=7, volume=2)
    dialogue = NotingDialogue()

    async def script(scene: Scene) -> None:
        await scene.start(playbook="talk.md", tts=TtsOption(speaker="Anna"), volume=1)
        await scene.give(Hangup())

    scene = Scene("audio", playbooks={"talk.md": Lead(dialogue, playbook)}).play(script)
    assert scene.call.option.tts == TtsOption(provider="sample", speed=1.5, speaker="Anna")
    assert (scene.call.option.inactivity_timeout, scene.call.option.volume) == (7, 1)
    assert dialogue.names() == ["trackStart", "answer", "trackEnd", "hangup"]


def test_a_playbook_may_wait_for_the_call() -> None:
    dialogue = NotingDialogue()

    async def script(scene: Scene) -> None:
        scene.call.setup.playbook = "pending.md"
        await scene.start()
        await scene.give(Hangup())

    Scene("audio", playbooks={"pending.md": Lead(dialogue, CallOption())}).play(script)
    assert dialogue.names()[-1] == "hangup"


@pytest.mark.parametrize("name", ["missing.md", "---\nllm: x\n---\nHello"])
def test_a_playbook_that_cant_be_loaded_ends_the_call(name: str) -> None:
    async def script(scene: Scene) -> None:
        await scene.start(playbook=name)

    scene = Scene("audio").play(script)
    assert scene.names() == ["error", "hangup"]
    ((sender, text),) = scene.errors()
    assert sender == "playbook"
    assert "Hello" not in text


def test_only_what_a_client_wrote_is_the_clients() -> None:
    recorder = RecorderOption(recorder_file="/anywhere/a.wav")
    playbook = Lead(NotingDialogue(), CallOption(recorder=recorder, ambiance=AmbianceOption(path="x")))
    named, given = Scene("audio", playbooks={"a.md": playbook}), Scene("audio", playbooks={"---\n": playbook})

    async def by_name(scene: Scene) -> None:
        await scene.start(playbook="a.md", volume=1)
        await scene.give(Hangup())

    async def by_text(scene: Scene) -> None:
        await scene.start(playbook="---\n")
        await scene.give(Hangup())

    assert named.play(by_name).plane.told(StartRecording)[0].path == "/anywhere/a.wav"
    assert given.play(by_text).plane.told(StartRecording)[0].path == "config/recorders/anywhere/a.wav"
    assert [scene.call.setup.origin("ambiance") for scene in (named, given)] == ["operator", "client"]


# --- an inbound call, announced to a webhook ------------------------------------------------------------


def claimed(scene: Scene) -> None:
    assert scene.call.claim("agent-track")


def test_a_client_accepts_the_call_that_waits() -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(3)
        claimed(scene)
        await asyncio.sleep(0.01)
        assert scene.names() == ["incoming"]
        await scene.accept()
        await scene.accept()
        await asyncio.sleep(100)
        await scene.give(Hangup())

    scene = Scene("waiting").play(script)
    assert scene.names() == ["incoming", "trackStart", "answer", "error", "trackEnd", "hangup"]
    assert scene.errors() == [("command", "accept: the call is talking already")]
    assert scene.sip.done == ["accept", "hangup"]
    assert scene.call.server_side_track == "agent-track"


def test_only_one_client_gets_it() -> None:
    async def script(scene: Scene) -> None:
        claimed(scene)
        assert not scene.call.claim("other")
        await scene.give(Reject())

    scene = Scene("waiting").play(script)
    assert scene.sip.done[0] == "reject 603 "
    assert scene.call.server_side_track == "agent-track"


def test_a_call_led_by_a_playbook_is_nobody_elses() -> None:
    async def script(scene: Scene) -> None:
        assert not scene.call.claim("other")
        scene.call.send(Hangup())

    Scene("inbound").play(script)


def test_ringing_with_early_media_then_accept() -> None:
    async def script(scene: Scene) -> None:
        claimed(scene)
        recorder = RecorderOption(recorder_file="early")
        await scene.give(Ringing(ringtone="no-such-ring.wav", recorder=recorder))
        await scene.accept(recorder=RecorderOption(recorder_file="late"))
        await scene.give(Hangup())

    scene = Scene("waiting").play(script)
    assert scene.sip.done == ["progress", "accept", "hangup"]
    names = scene.names()
    assert names[:2] == ["incoming", "trackStart"]
    assert names.index("answer") > names.index("trackStart")
    assert [start.path for start in scene.plane.told(StartRecording)] == ["config/recorders/early.wav"]
    assert scene.told(events.Hangup).ringing_time is not None


def test_ringing_alone_is_180() -> None:
    async def script(scene: Scene) -> None:
        claimed(scene)
        await scene.give(Ringing())
        assert scene.plane.told(ConfigureLane) == []
        await scene.give(Reject(reason="busy now", code=486))

    scene = Scene("waiting").play(script)
    assert scene.sip.done[:2] == ["ring", "reject 486 busy now"]
    assert scene.ending.record == "rejected"
    assert scene.names() == ["incoming", "trackStart", "trackEnd", "hangup"]


def test_accepting_only_encrypted_audio_refuses_a_caller_that_has_none() -> None:
    async def script(scene: Scene) -> None:
        claimed(scene)
        await scene.accept(sip={"enableSrtp": "require"})

    scene = Scene("waiting").play(script)
    assert scene.sip.done[0].startswith("reject 488 encryption is required of this call")
    assert (scene.ending.record, scene.ending.status) == ("rejected", 488)
    assert "answer" not in scene.names()


def test_nobody_accepts_in_time() -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(30)

    scene = Scene("waiting", accept_seconds=20.0).play(script)
    assert scene.sip.done[0] == "reject 408 accept timeout"
    assert scene.sip.sent_headers == {} or scene.ending.status == 408
    assert scene.told(events.Hangup).hangup_time == "2023-11-14T22:13:40.000Z"


def test_a_hook_that_fails_refuses_the_call_at_once() -> None:
    async def fails() -> None:
        raise ActiveCallError("webhook answered 500")

    async def script(scene: Scene) -> None:
        await asyncio.sleep(0.1)
        assert scene.call.over

    scene = Scene("waiting", hook=fails).play(script)
    assert scene.sip.done[0] == "reject 503 Failed to process invite: webhook answered 500"
    assert scene.ending.record == "serverUnavailable"


def test_the_caller_gives_up_while_it_waits() -> None:
    async def script(scene: Scene) -> None:
        scene.sip.happens(Ended("canceled", "CANCEL"))

    scene = Scene("waiting").play(script)
    assert scene.names() == ["hangup"]
    assert scene.ending.record == "canceled"


def test_there_may_be_no_call_to_accept() -> None:
    async def script(scene: Scene) -> None:
        await scene.accept()

    scene = Scene("sip").play(script)
    assert scene.names() == ["reject", "error", "hangup"]
    assert (scene.told(events.Reject).code, scene.told(events.Reject).reason) == (486, "no pending call")


@pytest.mark.parametrize("command", [Reject(), Ringing()])
def test_commands_for_waiting_calls_are_errors_elsewhere(command: Reject | Ringing) -> None:
    async def script(scene: Scene) -> None:
        await scene.give(command, Start())
        await scene.give(command)
        await scene.give(Hangup())

    errors = Scene("audio").play(script).errors()
    assert [text.split(":")[0] for _, text in errors] == [command.command] * 2


def test_invite_on_a_waiting_call_is_an_error() -> None:
    async def script(scene: Scene) -> None:
        claimed(scene)
        await scene.dial()
        await scene.give(Reject())

    assert "waits to be accepted" in Scene("waiting").play(script).errors()[0][1]


def test_an_address_that_cant_be_dialled_is_told_once() -> None:
    async def script(scene: Scene) -> None:
        scene.sip.refuses_to_dial = LocalProtocolError("callee: no URI")
        await scene.dial()

    scene = Scene("sip").play(script)
    assert scene.errors() == [("invite", "callee: no URI")]
    assert scene.names() == ["trackStart", "error", "trackEnd", "hangup"]


def test_a_hook_that_fails_late_does_not_take_the_call_from_its_client() -> None:
    async def script(scene: Scene) -> None:
        claimed(scene)
        await scene.accept()
        await asyncio.sleep(2)
        assert not scene.call.over
        await scene.give(Hangup())

    async def hook() -> None:
        await asyncio.sleep(1)
        raise ActiveCallError("no answer of the webhook")

    scene = Scene("waiting", hook=hook).play(script)

    assert scene.errors() == [("webhook", "no answer of the webhook")]


def test_ringing_gives_the_time_to_accept_anew() -> None:
    async def script(scene: Scene) -> None:
        claimed(scene)
        await asyncio.sleep(50)
        await scene.give(Ringing())
        await asyncio.sleep(50)
        assert not scene.call.over
        await asyncio.sleep(20)

    scene = Scene("waiting").play(script)

    assert scene.ending.status == 408


def test_extras_leave_the_built_in_variables() -> None:
    async def script(scene: Scene) -> None:
        scene.call.variables["session_id"] = "c1"
        await scene.start(extra={"session_id": "another", "name": "Ada"})
        await scene.give(Hangup())

    scene = Scene("audio").play(script)

    assert scene.call.variables["session_id"] == "c1"
    assert scene.call.variables["name"] == "Ada"


@pytest.mark.parametrize(("playbook", "origin"), [("a.md", Origin.OPERATOR), ("---\n---", Origin.CLIENT)])
def test_a_playbook_written_by_a_client_plays_only_what_the_client_may(
    playbook: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Origin] = []

    async def script(scene: Scene) -> None:
        await scene.start(playbook=playbook)
        monkeypatch.setattr(scene.call.player, "play", lambda command, *, origin: asked.append(origin))
        scene.call.send(plays("https://192.0.2.1/x.wav"))
        await scene.give(Hangup())

    Scene("audio", playbooks={playbook: Lead(NotingDialogue(), CallOption())}).play(script)

    assert asked == [origin]


# --- sessions -------------------------------------------------------------------------------------------

PEER = LocalMedia("192.0.2.7", 4000, ("pcma",), session_id=1)


def leg_of(scene: Scene) -> SipLeg:
    assert isinstance(scene.call.leg, SipLeg)
    return scene.call.leg


def test_early_media_are_heard_before_the_answer() -> None:
    async def script(scene: Scene) -> None:
        await scene.dial()
        early, _ = answer_offer(leg_of(scene).local_sdp, PEER)
        scene.sip.happens(sip_events.Ringing(183, "Session Progress", early))
        await asyncio.sleep(1)
        assert [told.remote for told in scene.plane.told(ConfigureLane)] == [("192.0.2.7", 4000)]
        assert scene.call.state is CallState.RINGING
        scene.sip.happens(sip_events.Ringing(183, "Session Progress", b"nonsense"))
        scene.sip.happens(Answered(early))
        await asyncio.sleep(1)
        assert len(scene.plane.told(ConfigureLane)) == 1
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert [ringing.early_media for ringing in scene.all(events.Ringing)] == [True, False]
    assert scene.names() == ["trackStart", "ringing", "ringing", "answer", "trackEnd", "hangup"]


def test_of_two_answers_the_call_goes_on_with_the_last() -> None:
    async def script(scene: Scene) -> None:
        await scene.dial()
        for port in (4000, 6000):
            answer, _ = answer_offer(leg_of(scene).local_sdp, replace(PEER, port=port))
            scene.sip.happens(Answered(answer))
        await asyncio.sleep(1)
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert scene.names() == ["trackStart", "answer", "trackEnd", "hangup"]
    ports = [told.remote[1] for told in scene.plane.told(ConfigureLane) if told.remote is not None]
    assert ports == [4000, 6000]


def test_a_callee_that_answers_on_hold_holds() -> None:
    async def script(scene: Scene) -> None:
        await scene.dial()
        scene.sip.happens(Answered(HOLD))
        await asyncio.sleep(1)
        scene.sip.happens(OfferReceived(OFFER))
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert [hold.on_hold for hold in scene.all(events.Hold)] == [True, False]


def test_t06_a_caller_without_an_offer_talks_when_it_has_answered_ours() -> None:
    async def script(scene: Scene) -> None:
        claimed(scene)
        await scene.give(Ringing(early_media=True))
        await scene.accept(sip=SipOption(enable_srtp=True))
        assert scene.sip.done == ["ring", "accept"]
        assert scene.plane.told(ConfigureLane) == []
        scene.sip.remote_sdp, _ = answer_offer(leg_of(scene).local_sdp, PEER)
        scene.sip.happens(Acknowledged())
        await asyncio.sleep(1)
        assert scene.call.state is CallState.TALKING
        assert leg_of(scene).secure
        await scene.give(Hangup())

    scene = Scene("waiting")
    scene.sip = NotingSip(None)
    assert scene.play(script).names()[-3:] == ["answer", "trackEnd", "hangup"]
    assert [sender for sender, _ in scene.errors()] == ["ringing"]


@pytest.mark.parametrize("answer", [None, b"nonsense", OFFER.replace(b"AVP 0", b"AVP 99")])
def test_a_caller_that_never_answers_our_offer_ends_the_call(answer: bytes | None) -> None:
    async def script(scene: Scene) -> None:
        claimed(scene)
        await scene.accept()
        scene.sip.remote_sdp = answer
        scene.sip.happens(Acknowledged())
        await asyncio.sleep(1)

    scene = Scene("waiting")
    scene.sip = NotingSip(None)
    scene.play(script)
    assert [sender for sender, _ in scene.errors()] == ["accept"]
    assert scene.sip.done[-1] == "hangup"


def test_our_own_hold_is_told_only_if_it_fails() -> None:
    async def script(scene: Scene) -> None:
        await scene.dial()
        scene.sip.happens(Answered(OFFER))
        await asyncio.sleep(1)
        leg = leg_of(scene)
        leg.hold(True)
        scene.sip.happens(sip_events.OfferAnswered(answer_offer(leg.local_sdp, PEER)[0]))
        await asyncio.sleep(1)
        assert not scene.plane.told(ConfigureLane)[-1].receiving
        leg.hold(False)
        scene.sip.happens(sip_events.OfferRefused(488, "No"))
        scene.sip.happens(sip_events.OfferAnswered(None))
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert scene.all(events.Hold) == []
    assert scene.errors()[0] == ("hold", "the peer refused: 488 No")


def test_keys_are_not_told() -> None:
    offer = make_offer(LocalMedia("192.0.2.7", 4000, ("pcmu",), session_id=1, srtp=True))

    async def script(scene: Scene) -> None:
        claimed(scene)
        await scene.accept()
        await scene.give(Hangup())

    scene = Scene("waiting")
    scene.sip = NotingSip(offer)
    scene.play(script)
    for event in (scene.told(events.Incoming), scene.told(events.Answer)):
        assert "inline:***" in (event.sdp or "")
        assert not [line for line in (event.sdp or "").split("inline:")[1:] if not line.startswith("***")]
