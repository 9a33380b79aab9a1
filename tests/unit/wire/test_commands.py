"""Names, durations and texts as clients write them."""

import pytest
from pydantic import ValidationError

from active_call.wire.commands import Hangup, Interrupt, Play, Tts, parse_command
from active_call.wire.events import AsrFinal, parse_event
from active_call.wire.events import Hangup as HangupEvent
from active_call.wire.model import parse_duration
from active_call.wire.options import AsrOption, CallOption, TtsOption, VadOption, merge


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("30s", 30.0), ("1m 30s", 90.0), (12, 12)])
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "5 parsecs"])
def test_other_text_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(("given", "seconds"), [(30, 30), (5000, 5), ("10s", 10)])
def test_wait_input_timeouts_of_a_thousand_and_more_are_milliseconds(given: object, seconds: float) -> None:
    assert Tts.model_validate({"text": "x", "waitInputTimeout": given}).wait_input_timeout == seconds


def test_commands_are_told_apart_and_both_spellings_are_read() -> None:
    assert parse_command('{"command":"tts","text":"hi","play_id":"a"}') == Tts(text="hi", play_id="a")
    assert parse_command('{"command":"play","url":"a.wav","playId":"b"}') == Play(url="a.wav", play_id="b")
    assert parse_command('{"command":"interrupt","fadeOutMs":50}') == Interrupt(fade_out_ms=50)
    assert parse_command('{"command":"hangup","unknown":1}') == Hangup()


def test_a_bad_field_is_named() -> None:
    with pytest.raises(ValidationError, match="fadeOutMs"):
        parse_command('{"command":"interrupt","fadeOutMs":-1}')


@pytest.mark.parametrize(
    "text",
    [
        '{"command": "interrupt", "fadeOutMs": 100000000000000000000000}',
        '{"command": "play", "url": "a.wav", "offsetMs": 100000000000000000000000}',
        '{"command": "refer", "callee": "sip:a@b", "options": {"timeout": Infinity}}',
        '{"command": "tts", "text": "a", "waitInputTimeout": Infinity}',
    ],
)
def test_numbers_that_no_call_can_use_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        parse_command(text)


def test_aliases_of_providers() -> None:
    assert TtsOption.model_validate({"voice": 101001}).speaker == "101001"
    assert AsrOption.model_validate({"model": "whisper-1"}).model_type == "whisper-1"
    assert VadOption.model_validate({"provider": "silero"}).type == "silero"


def test_secrets_are_not_printed() -> None:
    option = AsrOption.model_validate({"apiKey": "sk-12345"})
    assert "sk-12345" not in option.dump_json() + repr(option)


def test_events_are_camel_case_and_come_back_equal() -> None:
    event = AsrFinal(track_id="t", timestamp=5, index=0, start_time=1, end_time=2, text="hello")
    assert event.dump() == {
        "event": "asrFinal",
        "trackId": "t",
        "timestamp": 5,
        "index": 0,
        "startTime": 1,
        "endTime": 2,
        "text": "hello",
    }
    assert parse_event(event.dump_json()) == event


def test_hangup_says_from() -> None:
    event = HangupEvent.model_validate(
        {"trackId": "t", "timestamp": 1, "startTime": "a", "hangupTime": "b", "from": {"username": "alice"}}
    )
    assert event.dump()["from"]["username"] == "alice"


def test_a_command_that_names_a_speaker_keeps_the_calls_speed() -> None:
    merged = merge(TtsOption(speed=1.5, speaker="a"), TtsOption(speaker="b"))
    assert merged is not None
    assert (merged.speed, merged.speaker) == (1.5, "b")


def test_blocks_are_merged_field_by_field() -> None:
    base = CallOption(tts=TtsOption(provider="espeak", speed=2.0), codec="pcmu")
    over = CallOption(tts=TtsOption(speed=1.0))
    merged = merge(base, over)
    assert merged is not None
    assert merged.tts is not None
    assert (merged.tts.provider, merged.tts.speed, merged.codec) == ("espeak", 1.0, "pcmu")


def test_text_is_read_from_json_as_json_writes_it() -> None:
    option = CallOption.model_validate({"extra": {"a": 1}, "asr": {"extra": {"partial": False, "n": 2}}})
    assert option.asr is not None
    assert option.asr.extra == {"partial": "false", "n": "2"}
