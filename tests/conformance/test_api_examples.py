"""Every JSON example of the WebSocket API document and of the configuration guide, by name.

Commands and options are read, and each value is found where it belongs. Events are read, and our models write
the same fields with the same values back. That the gateway acts on the commands, and emits events of these
shapes, is what the end-to-end tests show.
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from active_call.wire.commands import parse_command
from active_call.wire.events import parse_event
from active_call.wire.model import Model
from active_call.wire.options import (
    AsrOption,
    CallOption,
    MediaPassOption,
    RecorderOption,
    ReferOption,
    SipOption,
    TtsOption,
    VadOption,
)

RENAMED = {"model": "modelType", "voice": "speaker", "sdp": "offer", "sampleRate": "samplerate"}
"""Spellings of the examples that we read and that have another canonical name, in at least one option."""

COMMANDS: dict[str, dict[str, Any]] = {
    "invite": {
        "command": "invite",
        "option": {
            "denoise": True,
            "callee": "sip:alice@192.168.3.197:12345",
            "caller": "sip:192.168.3.197:3050",
            "vad": {"type": "silero", "silenceTimeout": 5000},
            "asr": {"provider": "tencent"},
            "tts": {"provider": "tencent", "speaker": "601003"},
            "sip": {},
        },
    },
    "accept": {
        "command": "accept",
        "option": {
            "denoise": True,
            "vad": {"type": "silero", "silenceTimeout": 5000},
            "asr": {"provider": "tencent"},
            "tts": {"provider": "tencent", "speaker": "601003"},
        },
    },
    "reject": {"command": "reject", "reason": "Busy Here", "code": 486},
    "ringing": {
        "command": "ringing",
        "recorder": {"recorderFile": "/path/to/recording.wav", "samplerate": 16000, "ptime": 200},
        "earlyMedia": True,
        "ringtone": "http://example.com/ringtone.wav",
    },
    "tts": {
        "command": "tts",
        "text": "Hello, this is a test message",
        "speaker": "xiaoyan",
        "playId": "unique_play_id",
        "autoHangup": False,
        "streaming": False,
        "endOfStream": False,
        "waitInputTimeout": 30,
        "option": {"provider": "tencent", "volume": 5, "speed": 1.0},
    },
    "play": {
        "command": "play",
        "url": "http://example.com/audio.mp3",
        "autoHangup": False,
        "waitInputTimeout": 30,
    },
    "interrupt": {"command": "interrupt", "graceful": False},
    "refer": {
        "command": "refer",
        "caller": "sip:alice@example.com",
        "callee": "sip:charlie@example.com",
        "options": {
            "denoise": True,
            "timeout": 30,
            "moh": "http://example.com/hold_music.wav",
            "autoHangup": True,
        },
    },
    "mute": {"command": "mute", "trackId": "track-123"},
    "unmute": {"command": "unmute", "trackId": "track-123"},
    "hangup": {"command": "hangup", "reason": "user_requested", "initiator": "user"},
    "guide: webrtc invite": {
        "command": "invite",
        "option": {"sdp": "v=0\r\n", "codec": "opus", "playbook": "greeting.md"},
    },
    "guide: sip invite": {
        "command": "invite",
        "option": {
            "caller": "sip:agent@active-call.com",
            "callee": "sip:1001@pbx.example.com:5060",
            "codec": "pcmu",
            "playbook": "customer_service.md",
            "asr": {"provider": "openai", "model": "whisper-1", "language": "en-US"},
            "tts": {"provider": "openai", "model": "tts-1", "voice": "alloy"},
        },
    },
    "guide: websocket start": {
        "command": "start",
        "option": {
            "codec": "pcm",
            "sampleRate": 16000,
            "playbook": "assistant.md",
            "vad": {"type": "silero", "samplerate": 16000, "speechPadding": 300, "silencePadding": 500},
        },
    },
}

TRACK = {"trackId": "track-abc123", "timestamp": 1640995200000}
PLAYBACK = {"trackId": "track-tts-456", "timestamp": 1640995200000, "playId": "llm-001"}
SDP = "v=0\r\no=- 1234567890 2 IN IP4 127.0.0.1\r\n..."

EVENTS: dict[str, dict[str, Any]] = {
    "incoming": {**TRACK, "caller": "sip:alice@example.com", "callee": "sip:bob@example.com", "sdp": SDP},
    "answer": {**TRACK, "sdp": SDP},
    "reject": {**TRACK, "reason": "Busy", "code": 486},
    "ringing": {**TRACK, "earlyMedia": False},
    "hangup": {
        **TRACK,
        "reason": "user_requested",
        "initiator": "user",
        "startTime": "2024-01-01T12:00:00Z",
        "hangupTime": "2024-01-01T12:05:30Z",
        "answerTime": "2024-01-01T12:00:05Z",
        "from": {"username": "alice", "realm": "example.com", "source": "sip:alice@example.com"},
    },
    "speaking": {**TRACK, "startTime": 1640995200000},
    "silence": {**TRACK, "startTime": 1640995195000, "duration": 5000},
    "asrFinal": {
        **TRACK,
        "index": 1,
        "startTime": 1640995200000,
        "endTime": 1640995205000,
        "text": "Hello, how can I help you today?",
    },
    # The document's own example leaves out both times, which its table calls optional; we always send them.
    "asrDelta": {
        **TRACK,
        "index": 1,
        "startTime": 1640995200000,
        "endTime": 1640995205000,
        "text": "Hello, how can",
    },
    "trackStart": PLAYBACK,
    "trackEnd": {**PLAYBACK, "duration": 30000, "ssrc": 1234567890},
    "interruption": {
        **PLAYBACK,
        "subtitle": "Hello, this is a long message that was interrupted",
        "position": 5,
        "totalDuration": 30000,
        "current": 15000,
    },
    "dtmf": {**TRACK, "digit": "1"},
    "metrics": {
        "timestamp": 1640995200000,
        "key": "ttfb.asr.tencent",
        "duration": 150,
        "data": {"index": 1, "provider": "tencent"},
    },
    "error": {**TRACK, "sender": "asr", "error": "Connection timeout to ASR service", "code": 408},
    "binary": {**TRACK, "data": list[int]()},
    "ping": {"timestamp": 1640995200000, "payload": "optional_payload"},
    "other": {**TRACK, "sender": "custom_plugin", "extra": {"custom_field": "custom_value"}},
}

OPTIONS: dict[str, tuple[type[Model], dict[str, Any]]] = {
    "CallOption": (
        CallOption,
        {
            "denoise": True,
            "offer": "SDP offer string",
            "callee": "sip:callee@example.com",
            "caller": "sip:caller@example.com",
            "codec": "g722",
            "recorder": {"recorderFile": "/path/to/recording.wav", "samplerate": 16000},
            "asr": {"provider": "tencent", "language": "zh-CN"},
            "tts": {"provider": "tencent", "speaker": "xiaoyan"},
        },
    ),
    "RecorderOption": (
        RecorderOption,
        {"recorderFile": "/path/to/recording.wav", "samplerate": 16000, "ptime": 200},
    ),
    "TranscriptionOption": (
        AsrOption,
        {
            "provider": "tencent",
            "language": "zh-CN",
            "appId": "app_id",
            "secretId": "your_secret_id",
            "secretKey": "your_secret_key",
            "modelType": "16k_zh",
            "samplerate": 16000,
            "startWhenAnswer": True,
        },
    ),
    "SynthesisOption": (
        TtsOption,
        {
            "provider": "tencent",
            "speaker": "xiaoyan",
            "volume": 5,
            "speed": 1.0,
            "emotion": "neutral",
            "samplerate": 16000,
        },
    ),
    "VADOption": (
        VadOption,
        {
            "type": "webrtc",
            "samplerate": 16000,
            "speechPadding": 250,
            "silencePadding": 100,
            "voiceThreshold": 0.5,
            "maxBufferDurationSecs": 50,
        },
    ),
    "MediaPassOption": (
        MediaPassOption,
        {
            "url": "ws://localhost:9090/media",
            "inputSampleRate": 16000,
            "outputSampleRate": 16000,
            "packetSize": 2560,
        },
    ),
    "ReferOption": (
        ReferOption,
        {
            "denoise": True,
            "timeout": 30,
            "moh": "http://example.com/hold_music.wav",
            "asr": {"provider": "tencent", "language": "zh-CN"},
            "autoHangup": True,
            "sip": {"username": "transfer_user", "password": "transfer_password"},
        },
    ),
    "SipOption": (
        SipOption,
        {
            "username": "user",
            "password": "password",
            "realm": "example.com",
            "headers": {"X-Custom-Header": "value"},
        },
    ),
    "guide: POST /call": (
        CallOption,
        {"callee": "sip:+18005551234@yourdomain.pstn.twilio.com", "sip": {"enableSrtp": True}},
    ),
}


def plain(value: Any) -> Any:
    """Models and secrets as JSON values, by canonical names: only what was given."""
    if isinstance(value, Model):
        given_fields = value.model_dump(by_alias=True, exclude_unset=True)
        return {name: plain(inner) for name, inner in given_fields.items()}
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def canonical(example: Any, found: Any) -> Any:
    """The example with the names that `found` uses."""
    if not isinstance(example, dict) or not isinstance(found, dict):
        return example
    renamed = {name if name in found else RENAMED.get(name, name): value for name, value in example.items()}
    return {name: canonical(value, found.get(name)) for name, value in renamed.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_are_read_to_the_last_value(name: str) -> None:
    found = plain(parse_command(json.dumps(COMMANDS[name])))
    assert found == canonical(COMMANDS[name], found)


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_read_to_the_last_value(name: str) -> None:
    model, example = OPTIONS[name]
    found = plain(model.model_validate(example))
    assert found == canonical(example, found)


@pytest.mark.parametrize("name", EVENTS)
def test_events_have_these_fields_and_no_others(name: str) -> None:
    example = {"event": name, **EVENTS[name]}
    assert parse_event(json.dumps(example)).dump() == example


def test_the_examples_say_what_we_do_by_default() -> None:
    assert VadOption.model_validate(OPTIONS["VADOption"][1]) == VadOption(type="webrtc", samplerate=16_000)
    assert MediaPassOption.model_validate(OPTIONS["MediaPassOption"][1]) == MediaPassOption(
        url="ws://localhost:9090/media"
    )
    assert RecorderOption().ptime == 200


# --- anything at all ------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    sorted(
        {example["command"] for example in COMMANDS.values()}
        | {"pause", "resume", "history", "custom", "message"}
    )
)
fields = st.sampled_from(
    sorted(
        {name for example in COMMANDS.values() for name in example} | {"data", "body", "offsetMs", "fadeOutMs"}
    )
)


def read(text: str | bytes) -> None:
    """Read a command, or be told what is wrong with it: never anything else."""
    try:
        command = parse_command(text)
    except ValidationError:
        return
    assert parse_command(command.dump_json()).command == command.command


@given(json_values)
def test_any_json_is_read_or_refused(value: Any) -> None:
    read(json.dumps(value))


@given(names, st.dictionaries(fields, json_values, max_size=6))
def test_any_fields_are_read_or_refused(name: str, values: dict[str, Any]) -> None:
    read(json.dumps({**values, "command": name}))


@settings(max_examples=300)
@given(st.sampled_from(sorted(COMMANDS)), st.data())
def test_examples_with_one_value_changed_are_read_or_refused(name: str, data: st.DataObject) -> None:
    example = json.loads(json.dumps(COMMANDS[name]))
    block = example
    while True:
        key = data.draw(st.sampled_from(sorted(block)))
        if not isinstance(block[key], dict) or not block[key] or data.draw(st.booleans()):
            break
        block = block[key]
    block[key] = data.draw(json_values)
    read(json.dumps(example))


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    try:
        json.loads(text)
    except ValueError:
        with pytest.raises(ValidationError):
            parse_command(text)
    else:
        read(text)


def test_a_wrong_value_is_named() -> None:
    with pytest.raises(ValidationError) as refused:
        parse_command('{"command":"invite","option":{"vad":{"ratio":2}}}')
    assert refused.value.errors()[0]["loc"] == ("invite", "option", "vad", "ratio")
