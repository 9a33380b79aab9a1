"""One call, its SIP dialog and its lane played by the test, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from active_call.call import call as call_module
from active_call.call.audio import voice as voice_module
from active_call.call.reasons import CLIENT_GONE, KILLED, SHUTDOWN, Ending
from active_call.call.recording import RecordingPolicy
from active_call.call.state import CallState
from active_call.core.errors import LocalProtocolError, PlaybookError
from active_call.lanes.messages import (
    CloseLane,
    ConfigureLane,
    DigitReceived,
    MediaStarted,
    RecordingClosed,
    SpeechEnded,
    SpeechStarted,
    StartRecording,
    StopRecording,
)
from active_call.sip.events import Answered, Ended, InfoReceived, OfferReceived, Rejected, Ringing
from active_call.wire import events
from active_call.wire.commands import Hangup, History, Play, Tts
from active_call.wire.dialogue import CallPort
from active_call.wire.options import CallOption, RecorderOption, TtsOption, VadOption
from tests.unit.call.fakes import HOLD, OFFER, NotingDialogue, SampleVoice
from tests.unit.call.scene import Kind, Scene, transferred

ANSWER = OFFER


async def nothing(scene: Scene) -> None:
    await asyncio.sleep(0.1)


async def hanging_up(scene: Scene) -> None:
    await asyncio.sleep(5)
    scene.call.send(Hangup(reason="done", headers={"X-Why": "done"}))


def test_an_inbound_call_from_answer_to_hangup() -> None:
    scene = Scene()
    scene.play(hanging_up)
    assert scene.names() == ["incoming", "trackStart", "answer", "trackEnd", "hangup"]
    assert scene.sip.done == ["accept", "hangup"]
    assert scene.sip.sent_headers == {"X-Why": "done"}
    assert scene.told(events.TrackEnd).duration == 5000
    hangup = scene.told(events.Hangup)
    assert (hangup.reason, hangup.initiator) == ("done", "system")
    assert hangup.hangup_time == "2023-11-14T22:13:25.000Z"
    assert hangup.from_ == events.Attendee(username="alice", realm="example.com", source=scene.sip.caller)
    assert scene.call.state is CallState.ENDED
    assert len(scene.plane.told(ConfigureLane)) == len(scene.plane.told(CloseLane)) == 1


def test_an_outbound_call_opens_its_track_before_it_rings() -> None:
    scene = Scene("outbound")

    async def script(scene: Scene) -> None:
        scene.sip.happens(Ringing(180, "Ringing", None))
        await asyncio.sleep(3)
        scene.sip.happens(Answered(ANSWER))
        await asyncio.sleep(2)
        scene.sip.happens(Ended("peer", "BYE"))

    scene.play(script)
    assert scene.names() == ["trackStart", "ringing", "answer", "trackEnd", "hangup"]
    assert scene.told(events.Answer).sdp == ANSWER.decode()
    assert scene.told(events.TrackEnd).duration == 2000
    assert (scene.ending.initiator, scene.ending.record) == ("callee", "byCallee")


def test_a_rejected_call_says_so_and_ends() -> None:
    scene = Scene("outbound")

    async def script(scene: Scene) -> None:
        scene.sip.happens(Rejected(486, "Busy Here", {}))
        scene.sip.happens(Ended("peer", "486 Busy Here"))

    scene.play(script)
    assert scene.names() == ["trackStart", "reject", "trackEnd", "hangup"]
    assert scene.told(events.Reject).code == scene.ending.status == 486
    assert scene.call.times.answer is None


def test_an_answer_without_sdp_is_no_answer() -> None:
    scene = Scene("outbound")

    async def script(scene: Scene) -> None:
        scene.sip.happens(Answered(None))

    scene.play(script)
    assert "answer" not in scene.names()
    assert scene.ending.status == 488


def test_an_invite_that_cant_be_sent_ends_the_call_with_its_reason() -> None:
    scene = Scene("outbound")
    scene.sip.refuses_to_dial = LocalProtocolError('"garbage" is no SIP URI')
    scene.play(nothing)
    assert scene.names() == ["trackStart", "error", "trackEnd", "hangup"]
    assert scene.ending.detail == '"garbage" is no SIP URI'
    assert scene.call.leg is not None
    assert scene.call.leg.lane.closing


def test_a_caller_who_gave_up_before_we_answered_is_not_answered() -> None:
    scene = Scene()
    scene.sip.happens(Ended("canceled", "the caller gave up"))
    scene.play(nothing)
    assert scene.names() == ["incoming", "hangup"]
    assert "accept" not in scene.sip.done
    assert (scene.ending.status, scene.call.times.answer) == (487, None)


def test_hanging_up_while_it_rings_ends_the_call_at_once() -> None:
    scene = Scene("outbound")

    async def script(scene: Scene) -> None:
        scene.sip.happens(Ringing(180, "Ringing", None))
        scene.call.send(Hangup())

    scene.play(script)
    assert scene.sip.done == ["invite sip:bob@example.com", "hangup"]
    assert scene.ending.record == "bySystem"


NEVER_ANSWERED = [
    ("outbound", Hangup(reason="enough"), 487, ["hangup"]),
    ("outbound", KILLED, 487, ["hangup"]),
    ("outbound", SHUTDOWN, 487, ["hangup"]),
    ("sip", CLIENT_GONE, 487, []),
    ("waiting", Hangup(reason="enough"), 480, ["hangup"]),
    ("waiting", KILLED, 480, ["hangup"]),
    ("waiting", CLIENT_GONE, 603, ["reject 603 handler disconnected", "hangup"]),
    ("waiting", SHUTDOWN, 503, ["reject 503 the gateway is shutting down", "hangup"]),
]


@pytest.mark.parametrize(("kind", "end", "status", "done"), NEVER_ANSWERED)
def test_t31_a_call_that_was_never_answered_was_no_success(
    kind: Kind, end: Hangup | Ending, status: int, done: list[str]
) -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(0.01)
        if isinstance(end, Hangup):
            scene.call.send(end)
        else:
            scene.call.end(end)

    scene = Scene(kind).play(script)
    assert (scene.ending.status, scene.call.times.answer) == (status, None)
    assert [each for each in scene.sip.done if not each.startswith("invite")] == done
    assert scene.told(events.Hangup).reason == (end.reason or "")


def test_the_first_reason_wins() -> None:
    scene = Scene()

    async def script(scene: Scene) -> None:
        scene.sip.happens(Ended("peer", "BYE"))
        scene.call.send(Hangup(reason="late"))

    scene.play(script)
    assert scene.ending.record == "byCaller"


def test_goodbye_is_said_before_slow_tasks_are_waited_for() -> None:
    async def stubborn(call: CallPort) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(30)

    scene = Scene(dialogue=NotingDialogue(stubborn))
    said: list[float] = []

    async def script(scene: Scene) -> None:
        scene.call.send(Hangup())
        await asyncio.sleep(0.1)
        said.extend([len(scene.sip.done), len(scene.plane.told(CloseLane))])

    scene.play(script)
    assert said == [2, 1]


def test_a_task_that_takes_cancellation_for_a_failure_is_cancelled_again() -> None:
    async def tries_again(call: CallPort) -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                continue

    scene = Scene(dialogue=NotingDialogue(tries_again)).play(hanging_up)
    assert scene.names()[-1] == "hangup"
    assert scene.told(events.Hangup).timestamp < 1_700_000_015_000


def test_whatever_fails_at_the_end_the_peer_hears_goodbye_and_the_lane_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(scene: Scene) -> None:
        def fail() -> None:
            raise ZeroDivisionError("oops")

        monkeypatch.setattr(scene.call.bridge, "leave", fail)
        await hanging_up(scene)

    scene = Scene().play(script)
    assert scene.sip.done[-1] == "hangup"
    assert len(scene.plane.told(CloseLane)) == 1
    assert scene.names()[-1] == "hangup"
    assert (scene.ending.reason, list(scene.call.news.errors)) == ("done", ["oops"])


def test_a_lane_that_is_never_given_back_holds_the_call_up_for_a_moment_only() -> None:
    scene = Scene()
    scene.plane.answers = False
    scene.play(hanging_up)
    assert scene.names()[-1] == "hangup"


def test_a_playbook_that_cant_go_on_ends_the_call_with_its_error() -> None:
    async def fails(call: CallPort) -> None:
        await asyncio.sleep(1)
        raise PlaybookError("no such scene")

    scene = Scene(dialogue=NotingDialogue(fails)).play(nothing)
    assert scene.told(events.Error).sender == "playbook"
    assert scene.ending.detail == "no such scene"


def test_a_bug_in_a_task_ends_the_call_properly() -> None:
    async def bug(call: CallPort) -> None:
        raise ZeroDivisionError("oops")

    scene = Scene(dialogue=NotingDialogue(bug)).play(nothing)
    assert scene.names()[-1] == "hangup"
    assert (scene.ending.status, list(scene.call.news.errors)) == (500, ["oops"])
    assert scene.sip.done[-1] == "hangup"


def test_a_follower_that_fails_ends_the_call_and_the_others_still_hear_how() -> None:
    scene = Scene()
    seen: list[str] = []

    async def script(scene: Scene) -> None:
        def fail(event: events.Event) -> None:
            raise ValueError(event.event)

        scene.call.follow(fail)
        scene.call.follow(lambda event: seen.append(event.event))
        scene.call.on_lane(DigitReceived(0, 7, 9, "5", 100))

    scene.play(script)
    assert seen == ["dtmf", "trackEnd", "hangup"]
    assert scene.ending.status == 500


def test_what_the_lane_tells_becomes_events() -> None:
    scene = Scene(option=CallOption(vad=VadOption(silence_timeout=2000)))

    async def script(scene: Scene) -> None:
        for event in (
            MediaStarted(0, 7, 1, "192.0.2.7", 4000),
            SpeechStarted(0, 7, 5, 1600, 0.91234),
            SpeechEnded(0, 7, 50, 1600, 16_000),
            DigitReceived(0, 7, 60, "#", 19_200),
        ):
            scene.call.on_lane(event)
        await asyncio.sleep(5)
        scene.call.send(Hangup())

    scene.play(script)
    names = scene.names()
    assert names[3:-2] == ["mediaReady", "speaking", "silence", "dtmf", "silence", "silence"]
    speaking = scene.told(events.Speaking)
    assert (speaking.start_time, speaking.confidence) == (1_000_000_000_100, 0.912)
    starts = {event.start_time for event in scene.events if isinstance(event, events.Silence)}
    assert starts == {1_000_000_001_000}


def test_a_key_may_come_by_info() -> None:
    scene = Scene()

    async def script(scene: Scene) -> None:
        scene.sip.happens(InfoReceived("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n"))
        scene.sip.happens(InfoReceived("text/plain", b"Signal"))
        scene.call.send(Hangup())

    scene.play(script)
    assert scene.told(events.Dtmf).digit == "5"


# --- clients --------------------------------------------------------------------------------------------


def test_a_client_that_sends_too_fast_waits() -> None:
    async def script(scene: Scene) -> None:
        for _ in range(1000):
            await scene.call.submit(History(speaker="a", text="b"))
        waiting = scene.call.submit(History(speaker="waits", text=""))
        waiting.send(None)  # it would return, and this raise StopIteration, if there were room
        waiting.close()
        assert scene.all(events.AddHistory) == []
        await scene.call.submit(History(speaker="last", text=""))
        await scene.give(Hangup())
        await scene.give(History(speaker="too late", text=""))

    scene = Scene("audio").play(script)
    assert scene.all(events.AddHistory)[-1].speaker == "last"
    assert len(scene.all(events.AddHistory)) == 1001


def test_followers_come_and_go() -> None:
    seen: list[str] = []

    async def script(scene: Scene) -> None:
        unfollow = scene.call.follow(
            lambda event: seen.append(event.event), lambda command: seen.append(command.command)
        )
        await scene.give(History(speaker="a", text="b"))
        unfollow()
        await scene.give(Hangup())

    Scene("audio").play(script)
    assert seen == ["history", "addHistory"]


def test_plug_ins_tell_other_events() -> None:
    async def script(scene: Scene) -> None:
        scene.call.emit_other("plug-in", {"a": "b"})
        await scene.give(Hangup())

    other = Scene("audio").play(script).told(events.Other)
    assert (other.track_id, other.sender, other.extra) == ("c1", "plug-in", {"a": "b"})


@pytest.mark.parametrize(("limit", "names"), [(None, 0), (5.0, 1)])
def test_a_clients_call_may_be_silent_unless_it_says_otherwise(limit: float | None, names: int) -> None:
    async def script(scene: Scene) -> None:
        await scene.start(inactivity_timeout=limit)
        await scene.pass_seconds(100)
        await scene.give(Hangup())

    assert len(Scene("audio").play(script).all(events.Inactivity)) == names


# --- inactivity and other timers ------------------------------------------------------------------------


def test_a_silent_line_is_hung_up() -> None:
    scene = Scene(option=CallOption(inactivity_timeout=10))

    async def script(scene: Scene) -> None:
        await scene.pass_seconds(15)

    scene.play(script)
    assert scene.names()[-3:] == ["inactivity", "trackEnd", "hangup"]
    assert 10_000 < scene.told(events.TrackEnd).duration <= 12_000
    assert scene.ending.record == "inactivityTimeout"


def test_t42_ringing_is_no_inactivity() -> None:
    scene = Scene("outbound", option=CallOption(inactivity_timeout=10))

    async def script(scene: Scene) -> None:
        await scene.pass_seconds(30)
        scene.sip.happens(Answered(ANSWER))
        await scene.pass_seconds(5)
        scene.call.send(Hangup())

    scene.play(script)
    assert scene.ending.record == "bySystem"


def test_t42_hold_is_no_inactivity_nor_is_the_moment_after() -> None:
    scene = Scene(option=CallOption(inactivity_timeout=10))

    async def script(scene: Scene) -> None:
        scene.sip.happens(OfferReceived(HOLD))
        scene.sip.happens(OfferReceived(HOLD))
        await scene.pass_seconds(30)
        scene.sip.happens(OfferReceived(OFFER))
        await scene.pass_seconds(5)
        scene.call.send(Hangup())

    scene.play(script)
    assert scene.ending.record == "bySystem"
    assert scene.sip.done == ["accept", *["answer offer 200"] * 3, "hangup"]
    assert [hold.on_hold for hold in scene.all(events.Hold)] == [True, False]
    assert [message.sending for message in scene.plane.told(ConfigureLane)] == [True, False, True]


def test_an_offer_before_the_answer_is_refused_for_now() -> None:
    scene = Scene("outbound")

    async def script(scene: Scene) -> None:
        scene.sip.happens(OfferReceived(OFFER))
        await asyncio.sleep(1)
        scene.call.send(Hangup())

    scene.play(script)
    assert "answer offer 491" in scene.sip.done
    assert scene.ending.record == "bySystem"


def test_timers_that_ran_out_are_forgotten() -> None:
    scene = Scene()
    counts: list[int] = []

    async def script(scene: Scene) -> None:
        for _ in range(3):
            await asyncio.sleep(100)
            scene.plane.table.rx_tick[0] = scene.plane.table.get("tick")
            counts.append(len(scene.call.timers))
        scene.call.send(Hangup())

    scene.play(script)
    assert counts == [1, 1, 1]


# --- playback -------------------------------------------------------------------------------------------


@pytest.fixture
def voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_module, "load_tts", lambda name: SampleVoice())


@pytest.mark.usefixtures("voice")
def test_t17_a_track_without_audio_hangs_up_too() -> None:
    scene = Scene(option=CallOption(inactivity_timeout=0, tts=TtsOption(provider="sample")))

    async def script(scene: Scene) -> None:
        scene.call.send(Tts(text="", auto_hangup=True))

    scene.play(script)
    assert scene.ending.record == "autohangup"


@pytest.mark.usefixtures("voice")
@pytest.mark.parametrize(("presses", "silences"), [(False, 1), (True, 0)])
def test_silence_after_a_track_that_waited_for_input(presses: bool, silences: int) -> None:
    scene = Scene(option=CallOption(tts=TtsOption(provider="sample")))

    async def script(scene: Scene) -> None:
        scene.call.send(Tts(text="", wait_input_timeout=3))
        await asyncio.sleep(2)
        if presses:
            scene.call.on_lane(DigitReceived(0, 7, 60, "1", 100))
        await asyncio.sleep(2)
        scene.call.send(Hangup())

    scene.play(script)
    assert scene.names().count("silence") == silences


def test_a_file_that_is_not_there_is_told() -> None:
    scene = Scene()

    async def script(scene: Scene) -> None:
        scene.call.send(Play(url="no/such.wav"))
        await asyncio.sleep(1)
        scene.call.send(Hangup())

    scene.play(script)
    assert scene.told(events.Error).error == '"no/such.wav": No such file or directory'


@pytest.mark.usefixtures("voice")
def test_a_call_that_ends_ends_its_tracks_first() -> None:
    async def script(scene: Scene) -> None:
        scene.call.send(Tts(text="a" * 75, play_id="long"))
        await asyncio.sleep(1)
        scene.plane.table.play_read[0] = 320 * 50
        scene.call.send(Hangup())

    scene = Scene(option=CallOption(tts=TtsOption(provider="sample"))).play(script)
    assert [(end.play_id, end.duration) for end in scene.all(events.TrackEnd)] == [("long", 1000), (None, 1000)]
    assert scene.told(events.Interruption).current == 1000
    assert scene.names()[-4:] == ["interruption", "trackEnd", "trackEnd", "hangup"]


# --- recording ------------------------------------------------------------------------------------------


def test_a_call_is_recorded_from_answer_to_end() -> None:
    asked = RecorderOption(recorder_file="{id}-r", samplerate=8000, ptime=100)
    scene = Scene(recording=RecordingPolicy(Path("folder")), option=CallOption(recorder=asked))
    scene.play(hanging_up)
    sent = [type(message) for message in scene.plane.sent]
    assert sent[-2:] == [StopRecording, CloseLane]
    (start,) = scene.plane.told(StartRecording)
    assert (start.path, start.rate_hz, start.flush_ms) == ("folder/c1-r.wav", 8000, 100)


def test_a_recording_that_failed_is_an_error_of_the_call() -> None:
    scene = Scene()

    async def script(scene: Scene) -> None:
        scene.call.on_lane(RecordingClosed(0, 7, 3, "r.wav", 0, "disk full"))
        scene.call.send(Hangup())

    scene.play(script)
    assert list(scene.call.news.errors) == ["recording r.wav: disk full"]


def test_an_overflowing_inbox_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "_INBOX_LIMIT", 5)
    scene = Scene()

    async def script(scene: Scene) -> None:
        for _ in range(10):
            scene.call.send(Play(url="x"))

    scene.play(script)
    assert scene.ending.status == 500
    assert scene.names()[-1] == "hangup"


# --- the last event -------------------------------------------------------------------------------------


async def peer_leaves(scene: Scene) -> None:
    scene.sip.happens(Ended("peer", "BYE"))


async def client_hangs_up(scene: Scene) -> None:
    await scene.give(Hangup(reason="enough"))


async def is_killed(scene: Scene) -> None:
    scene.call.end(KILLED)


async def client_goes(scene: Scene) -> None:
    scene.call.end(CLIENT_GONE)


async def hangs_up_by_itself(scene: Scene) -> None:
    await scene.give(Tts(text="", end_of_stream=True, auto_hangup=True, option=TtsOption(provider="sample")))


@pytest.mark.usefixtures("voice")
@pytest.mark.parametrize("end", [peer_leaves, client_hangs_up, is_killed, client_goes, hangs_up_by_itself])
@pytest.mark.parametrize("kind", ["inbound", "sip", "audio"])
@pytest.mark.parametrize("party", [False, True])
def test_t16_hangup_is_the_last_event_whatever_ends_the_call(
    end: Callable[[Scene], Awaitable[None]], kind: Kind, party: bool
) -> None:
    if kind == "audio" and end is peer_leaves:
        pytest.skip("the peer is the client")

    async def script(scene: Scene) -> None:
        if kind == "audio":
            await scene.start()
        elif kind == "sip":
            await scene.dial()
            scene.sip.answers()
        await asyncio.sleep(0.01)
        if party:
            await transferred(scene)
        await end(scene)

    scene = Scene(kind).play(script)
    hangups = [event for event in scene.events if isinstance(event, events.Hangup)]
    assert scene.events[-1] is hangups[-1]
    assert [event.refer for event in hangups] == ([True, None] if party else [None])
    assert scene.names()[-2] == "trackEnd"
