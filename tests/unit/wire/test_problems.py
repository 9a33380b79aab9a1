import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from active_call.wire.commands import parse_command
from active_call.wire.problems import explain


def problem_of(text: str) -> str:
    with pytest.raises(ValidationError) as caught:
        parse_command(text)
    return explain(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON: EOF while parsing an object at line 1 column 1"),
        ('{"text": "x"}', "command: is missing"),
        ('{"command": "hangupp"}', 'command: there is no command "hangupp"; did you mean hangup?'),
        ("[]", "must be an object, {...}"),
        (
            '{"command": "sendDtmf", "digits": "12x"}',
            "sendDtmf.digits: must match ^[0-9*#A-Da-d]{1,64}$",
        ),
        ('{"command": "tts"}', "tts.text: is missing"),
        ('{"command": "tts", "text": 5}', "tts.text: must be text"),
        ('{"command": "interrupt", "graceful": "perhaps"}', "interrupt.graceful: must be true or false"),
        ('{"command": "reject", "code": 900}', "reject.code: must be 699 or less"),
        ('{"command": "tts", "text": "a", "option": {"speed": 0}}', "tts.option.speed: must be more than 0"),
    ],
)
def test_the_field_is_named_and_what_would_be_right(text: str, said: str) -> None:
    assert problem_of(text) == said


@pytest.mark.parametrize("name", ["sampleRate", "samplerate", "sample_rate"])
def test_the_field_is_spelled_as_the_client_did(name: str) -> None:
    assert problem_of(f'{{"command": "start", "option": {{"{name}": "x"}}}}').startswith(
        f"start.option.{name}: "
    )


def test_a_field_of_several_types_is_named_once() -> None:
    said = problem_of('{"command": "start", "option": {"denoise": "much"}}')
    assert said == "start.option.denoise: must be true or false or must be 'webrtc' or 'rnnoise'"


def test_many_problems_are_counted() -> None:
    said = problem_of(
        '{"command": "start", "option": {"vad": {"ratio": 2, "samplerate": "x", "type": 1, "ptime": 1,'
        '"voiceThreshold": "y", "speechPadding": []}}}'
    )
    assert said.endswith("; and 2 more")


def test_values_are_not_repeated() -> None:
    assert "hunter2" not in problem_of(
        '{"command": "start", "option": {"sip": {"password": ["hunter2"], "username": {"hunter2": 1}}}}'
    )


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_any_option_has_an_explanation_or_is_right(value: Any) -> None:
    said = ""
    try:
        parse_command(json.dumps({"command": "start", "option": value}))
    except ValidationError as error:
        said = explain(error)
        assert said.startswith("start.option")
    assert said or isinstance(value, dict)
