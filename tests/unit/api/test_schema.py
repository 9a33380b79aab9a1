from typing import Any, get_args

import jsonschema_rs
import pytest

from active_call.api.schema import json_schema
from active_call.wire.commands import Command
from active_call.wire.events import Event
from tests.unit.api.fakes import dtmf, hangup

SCHEMA = json_schema()


def valid(kind: str, instance: dict[str, Any]) -> bool:
    schema = {"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]}
    return jsonschema_rs.Draft202012Validator(schema).is_valid(instance)


def test_it_is_a_schema() -> None:
    assert jsonschema_rs.meta.is_valid(SCHEMA)


def test_every_command_and_event_is_defined() -> None:
    defined = SCHEMA["$defs"]
    for model in get_args(Command):
        assert f"{model.__name__}Command" in defined
    for model in get_args(Event):
        assert f"{model.__name__}Event" in defined


@pytest.mark.parametrize(
    "command",
    [
        {"command": "tts", "text": "hi", "waitInputTimeout": 30},
        {"command": "invite", "option": {"callee": 1001, "handshakeTimeout": "30s", "denoise": True}},
        {"command": "hangup"},
    ],
)
def test_commands_fit(command: dict[str, Any]) -> None:
    assert valid("Command", command)
    assert not valid("Event", command)


@pytest.mark.parametrize(
    "command",
    [
        {"text": "hi"},
        {"command": "tts"},
        {"command": "tts", "text": 5},
        {"command": "start", "option": {"handshakeTimeout": "soon"}},
    ],
)
def test_what_the_gateway_refuses_does_not_fit(command: dict[str, Any]) -> None:
    assert not valid("Command", command)


@pytest.mark.parametrize("event", [dtmf("c"), hangup("c")])
def test_events_fit(event: Event) -> None:
    assert valid("Event", event.dump())
