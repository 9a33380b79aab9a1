"""What the planes say to each other survives the pipe."""

import msgspec
import pytest

from active_call.lanes.messages import (
    PCMU,
    TELEPHONE_EVENT,
    AdjustLane,
    CloseLane,
    ConfigureLane,
    ConfigureVad,
    ControlMessage,
    DigitReceived,
    Flushed,
    LaneClosed,
    MarkPlayed,
    OpenExternal,
    OpenLane,
    PlaneEvent,
    PlanePromoted,
    PlaneReady,
    PutMark,
    Quit,
    SendDigits,
    SetAmbience,
    SetDenoise,
    SpeechStarted,
    StartRecording,
    StopRecording,
    decode_controls,
    decode_events,
    encode_controls,
    encode_events,
)

CONTROLS: list[ControlMessage] = [
    OpenLane(1, 2, 3, 4, 5, "c"),
    OpenExternal(1, 2, "pcm", 24_000),
    AdjustLane(1, 2, mute_sent=True, gain=0.5),
    ConfigureLane(1, 2, PCMU, (PCMU, TELEPHONE_EVENT), TELEPHONE_EVENT, ("127.0.0.1", 4000), None),
    ConfigureVad(1, 2, "silero"),
    SetDenoise(1, 2, "rnnoise"),
    SetAmbience(1, 2, "rain.pcm", 0.2, 0.4, 0.02),
    PutMark(1, 2, 3, 4),
    SendDigits(1, 2, "1#"),
    StartRecording(1, 2, "a.wav"),
    StopRecording(1, 2),
    CloseLane(1, 2),
    Quit(),
]
EVENTS: list[PlaneEvent] = [
    SpeechStarted(1, 2, 3, 4, 0.5),
    DigitReceived(1, 2, 3, "5", 9),
    MarkPlayed(1, 2, 3, 4, 5),
    Flushed(1, 2, 3, 4, 5),
    LaneClosed(1, 2, 3, True),
    PlaneReady(99, False),
    PlanePromoted(99, 1, 3),
]


def test_control_messages_come_back_equal() -> None:
    assert decode_controls(encode_controls(CONTROLS)) == CONTROLS


def test_events_come_back_equal() -> None:
    assert decode_events(encode_events(EVENTS)) == EVENTS


def test_garbage_is_a_decode_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_events(b"\x93\x01\x02")
