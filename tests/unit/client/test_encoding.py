"""Commands as they leave the client."""

import json

import pytest

from active_call.client.encoding import given, to_json
from active_call.wire import commands
from active_call.wire.commands import Command, parse_command
from active_call.wire.options import AsrOption, CallOption, TtsOption, VadOption


def test_only_what_was_set_is_sent() -> None:
    command = commands.Invite(option=CallOption(callee="sip:bob@example.com", vad=VadOption(type="silero")))
    assert json.loads(to_json(command)) == {
        "command": "invite",
        "option": {"callee": "sip:bob@example.com", "vad": {"type": "silero"}},
    }


def test_secrets_are_sent() -> None:
    option = CallOption.model_validate({"asr": {"apiKey": "sk-12345"}})
    assert given(option) == {"asr": {"secretKey": "sk-12345"}}
    assert json.loads(to_json(commands.Invite(option=option)))["option"]["asr"]["secretKey"] == "sk-12345"


@pytest.mark.parametrize(
    "command",
    [
        commands.Tts(text="你好", play_id="a", end_of_stream=True, option=TtsOption(speed=1.5)),
        commands.Custom(data={"a": [1, None]}),
        commands.Start(option=CallOption(codec="pcm", sample_rate=24_000, asr=AsrOption(language="zh-CN"))),
        commands.Hangup(headers={"X-Why": "bored"}),
    ],
)
def test_what_is_sent_is_read_as_it_was_meant(command: Command) -> None:
    assert parse_command(to_json(command)) == command


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="object can't be sent"):
        to_json(commands.Custom(data=object()))
