"""Recording, noise reduction, ambience, volume, subscription, media pass: asked for by options."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_call.call.audio import effects as effects_module
from active_call.call.recording import RecordingPolicy
from active_call.core.audio import Pcm
from active_call.core.errors import MediaError
from active_call.lanes.messages import AdjustLane, SetAmbience, SetDenoise, StartRecording
from active_call.media.files import MediaSource
from active_call.media.lane import Lane
from active_call.outbound.guard import Origin
from active_call.sip.events import Answered, Ended
from active_call.wire import events
from active_call.wire.commands import Hangup, Interrupt
from active_call.wire.options import AmbianceOption, MediaPassOption, RecorderOption
from tests.unit.call.fakes import OFFER
from tests.unit.call.scene import Scene, transferred


class Sounds(MediaSource):
    """Has one sound."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, Origin]] = []

    async def sound_file(self, name: str, origin: Origin) -> Path:
        self.asked.append((name, origin))
        if name != "cafe.wav":
            raise MediaError(f'"{name}": no such sound')
        return Path("/cache/cafe.sound")


def started(services: dict[str, Any] | None = None, /, **option: Any) -> Scene:
    async def script(scene: Scene) -> None:
        await scene.start(**option)
        await scene.give(Hangup())

    return Scene("audio", **(services or {})).play(script)


@pytest.mark.parametrize("denoise", [True, "webrtc"])
def test_noise_is_reduced_on_request(denoise: bool | str) -> None:
    (message,) = started(denoise=denoise).plane.told(SetDenoise)
    assert message.kind == "webrtc"


def test_noise_reduction_that_is_not_installed_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(lane: Lane, kind: str) -> None:
        assert kind == "rnnoise"
        raise MediaError("not installed")

    monkeypatch.setattr(Lane, "denoise", missing)
    scene = started(denoise="rnnoise")
    assert scene.errors() == [("denoise", "not installed")]
    assert scene.ending.record == "bySystem"


def test_volume_is_of_all_that_the_peer_hears() -> None:
    (message,) = started(volume=0.5).plane.told(AdjustLane)
    assert message.gain == 0.5


def test_nothing_is_done_that_was_not_asked_for() -> None:
    scene = started(denoise=False)
    for kind in (SetDenoise, AdjustLane, SetAmbience, StartRecording):
        assert scene.plane.told(kind) == []


# --- ambience -------------------------------------------------------------------------------------------


def test_ambience_is_merged_from_the_configuration_and_the_call() -> None:
    sounds = Sounds()
    configured = AmbianceOption(path="cafe.wav", duck_level=0.2)
    scene = started({"sounds": sounds, "ambiance": configured}, ambiance=AmbianceOption(normal_level=0.5))
    (message,) = scene.plane.told(SetAmbience)
    assert (message.path, message.duck, message.normal, message.step) == ("/cache/cafe.sound", 0.2, 0.5, 0.01)
    assert sounds.asked == [("cafe.wav", Origin.OPERATOR)]


def test_ambience_can_be_switched_off() -> None:
    scene = started(
        {"sounds": Sounds(), "ambiance": AmbianceOption(path="cafe.wav")},
        ambiance=AmbianceOption(enabled=False),
    )
    assert scene.plane.told(SetAmbience) == []


def test_a_clients_ambience_is_looked_for_among_its_files() -> None:
    sounds = Sounds()
    scene = started({"sounds": sounds}, ambiance=AmbianceOption(path="street.wav"))
    assert sounds.asked == [("street.wav", Origin.CLIENT)]
    assert scene.errors() == [("ambiance", '"street.wav": no such sound')]
    assert scene.names()[-1] == "hangup"


# --- recording ------------------------------------------------------------------------------------------


def test_a_client_asks_for_a_recording() -> None:
    policy = RecordingPolicy(Path("folder"))
    (start,) = started(
        {"recording": policy}, recorder=RecorderOption(recorder_file="/a/b.wav", samplerate=8000)
    ).plane.told(StartRecording)
    assert (start.path, start.rate_hz, start.flush_ms) == ("folder/a/b.wav", 8000, 200)


def test_a_recording_elsewhere_is_an_error_and_the_call_goes_on() -> None:
    scene = started(recorder=RecorderOption(recorder_file="../x"))
    assert scene.plane.told(StartRecording) == []
    ((sender, _),) = scene.errors()
    assert sender == "recorder"
    assert scene.ending.record == "bySystem"


# --- audio for the client -------------------------------------------------------------------------------


def test_a_clients_audio_goes_both_ways() -> None:
    heard: list[tuple[int | None, bytes]] = []

    async def script(scene: Scene) -> None:
        scene.call.on_audio = lambda track, data: heard.append((track, data))
        scene.call.receive_audio(b"early")
        scene.call.receive_audio(b"early too")
        await scene.start()
        assert scene.lane.on_audio is not None
        scene.lane.on_audio(b"frame")
        scene.call.receive_audio(bytes(160))
        scene.call.receive_audio(bytes(160))
        assert scene.plane.table.external_write[0] == 320
        await scene.give(Hangup())

    scene = Scene("audio").play(script)
    assert heard == [(None, b"frame")]
    assert scene.names() == ["error", "trackStart", "answer", "mediaReady", "trackEnd", "hangup"]
    assert "before start" in scene.told(events.Error).error


def test_a_client_of_a_telephone_call_subscribes() -> None:
    heard: list[tuple[int | None, int]] = []

    async def script(scene: Scene) -> None:
        scene.call.on_audio = lambda track, data: heard.append((track, len(data)))
        scene.call.receive_audio(b"dropped")
        await scene.dial(subscribe=True)
        scene.sip.happens(Answered(OFFER))
        await asyncio.sleep(0.01)
        (tap,) = scene.lane._taps
        tap(0, np.zeros(320, np.int16), 0)
        tap(1, np.zeros(320, np.int16), 0)
        await scene.give(Hangup())

    scene = Scene("sip").play(script)
    assert heard == [(0, 640), (1, 640)]
    assert scene.errors() == []


# --- media pass -----------------------------------------------------------------------------------------


class NotingPass:
    """Stands in for MediaPass; taps the lane, connects after 3 s."""

    made: "list[NotingPass]"

    def __init__(self, lane: Any, option: MediaPassOption, *rest: object, origin: Origin) -> None:
        self.connected = asyncio.Event()
        self.interrupted = 0
        self.rested: list[bool] = []
        self.origin = origin
        self.heard: list[int] = []
        self._lane = lane
        NotingPass.made.append(self)

    async def run(self) -> None:
        self._lane.tap(self._hear)
        await asyncio.sleep(3)
        self.connected.set()
        await asyncio.Event().wait()

    def interrupt(self) -> None:
        self.interrupted += 1

    def rest(self, *, on: bool) -> None:
        self.rested.append(on)

    def _hear(self, track: int, pcm: Pcm, position: int) -> None:
        self.heard.append(track)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[NotingPass]:
    NotingPass.made = []
    monkeypatch.setattr(effects_module, "MediaPass", NotingPass)
    return NotingPass.made


PASS = MediaPassOption(url="ws://service.example")


def test_a_media_pass_runs_with_the_call(passes: list[NotingPass]) -> None:
    async def script(scene: Scene) -> None:
        await scene.start(media_pass=PASS, handshake_timeout=5)
        await asyncio.sleep(10)
        await scene.give(Interrupt())
        await scene.give(Hangup())

    scene = Scene("audio").play(script)
    (media_pass,) = passes
    assert (media_pass.interrupted, media_pass.origin) == (1, Origin.CLIENT)
    assert scene.errors() == []


@pytest.mark.parametrize(("pause", "rested"), [(True, [True, False]), (False, [])])
def test_a_media_pass_rests_with_the_recogniser(
    passes: list[NotingPass], pause: bool, rested: list[bool]
) -> None:
    async def script(scene: Scene) -> None:
        await scene.start(media_pass=PASS)
        party = await transferred(scene, pause_parent_asr=pause)
        assert passes[0].rested == rested[:1]
        party.happens(Ended("peer", "BYE"))
        await asyncio.sleep(0.01)
        await scene.give(Hangup())

    Scene("audio").play(script)
    assert (passes[0].rested, passes[0].interrupted) == (rested, 1)


def test_a_media_pass_has_to_connect_in_the_handshake_time(passes: list[NotingPass]) -> None:
    async def script(scene: Scene) -> None:
        await scene.start(media_pass=PASS, handshake_timeout=2)
        await asyncio.sleep(5)

    error = Scene("audio").play(script).told(events.Error)
    assert error.code == 408
    assert "not connected to the media pass within 2 s" in error.error


def test_a_media_pass_and_a_subscription_share_the_tap(passes: list[NotingPass]) -> None:
    heard: list[int | None] = []

    async def script(scene: Scene) -> None:
        scene.call.on_audio = lambda track, data: heard.append(track)
        await scene.dial(subscribe=True, media_pass=PASS)
        scene.sip.happens(Answered(OFFER))
        await asyncio.sleep(1)
        for tap in scene.lane._taps:
            tap(1, np.zeros(320, np.int16), 0)
        await scene.give(Hangup())

    Scene("sip").play(script)
    assert heard == passes[0].heard == [1]
