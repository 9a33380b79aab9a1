"""docs/api.md names every command, event, option and route."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from active_call.api.app import create_app
from active_call.wire.commands import Command
from active_call.wire.events import Event
from active_call.wire.options import CallOption
from tests.unit.api.fakes import FakeGateway

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
NAMES = {part for quoted in re.findall(r"`([^`\n]+)`", TEXT) for part in re.findall(r"[A-Za-z_]\w*", quoted)}


def fields(model: type[BaseModel]) -> list[str]:
    """Canonical names of a model's fields."""
    return [field.serialization_alias or field.alias or name for name, field in model.model_fields.items()]


@pytest.mark.parametrize("model", [*get_args(Command), *get_args(Event)])
def test_commands_and_events_are_there_with_their_fields(model: Any) -> None:
    tag = "command" if "command" in model.model_fields else "event"
    missing = {model.model_fields[tag].default, *fields(model)} - NAMES
    assert missing == set()


def test_options_are_there_with_theirs() -> None:
    wanted = set(fields(CallOption))
    for field in CallOption.model_fields.values():
        for part in get_args(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                wanted |= set(fields(part))
    assert wanted - NAMES == set()


def test_routes_are_there() -> None:
    for path in create_app(FakeGateway()).openapi()["paths"]:
        assert path in TEXT
