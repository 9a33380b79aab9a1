"""The documentation names all keys, options, flags, fields and methods that there are, with their defaults."""

import ast
import inspect
import re
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from active_call import __version__
from active_call.api.endpoints import Endpoints
from active_call.call.gateway import _COUNTERS, Gateway
from active_call.cli.arguments import parse_arguments
from active_call.client.rest import Rest
from active_call.client.session import Session
from active_call.config import Config
from active_call.config.loader import parse_config
from active_call.playbook.options import FrontMatter
from active_call.records.cdr import HANGUP_REASONS, CallRecord, MediaStatistics
from active_call.records.turns import Turn
from active_call.sip.registrations import RegistrationStatus
from active_call.speech.providers import LlmOption
from active_call.speech.turn import InterruptionOption
from active_call.wire.commands import Command
from active_call.wire.events import Event
from active_call.wire.model import parse_duration
from active_call.wire.options import CallOption, MediaPassOption, RecorderOption, ReferOption, VadOption

ROOT = Path(__file__).parents[2]
CONFIG_KEYS = list(Config.model_fields)


@cache
def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def names(name: str) -> frozenset[str]:
    """All words between backticks, and all keys in the examples."""
    text = page(name)
    quoted = re.findall(r"`+([^`\n]+)`+", text) + re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    return frozenset(word for part in quoted for word in re.findall(r"[A-Za-z_]\w*", part))


def written(model: type[BaseModel]) -> dict[str, Any]:
    """A model's fields, as people write them, with their defaults."""
    return {
        field.serialization_alias or field.alias or name: field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
    }


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type, and in their fields."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
    else:
        for part in get_args(annotation):
            yield from models(part)


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table below `heading`, as their cells."""
    found = re.search(rf"^#+ {re.escape(heading)}.*?\n((?:\|[^\n]*\n)+)", text, re.M | re.S)
    assert found is not None, heading
    rows = [
        [cell.strip() for cell in re.split(r"(?<=\s)\|(?=\s)", row)[1:]]
        for row in (f" {line} " for line in found[1].splitlines()[2:])
    ]
    assert rows
    return rows


# --- configuration --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", CONFIG_KEYS)
def test_every_key_of_the_configuration_is_there(key: str) -> None:
    wanted = {key} | {name for model in models(Config.model_fields[key].annotation) for name in written(model)}
    assert wanted - names("docs/configuration.md") == set()


DEFAULTS = {
    "Keys that work": Config(),
    "`[recording]`": Config().recording,
    "`[outbound]`": Config().outbound,
}


@pytest.mark.parametrize("heading", DEFAULTS)
def test_defaults_of_the_configuration_are_what_is_written(heading: str) -> None:
    section = DEFAULTS[heading]
    for keys, default, *_ in table(page("docs/configuration.md"), heading):
        default = default.replace("<version>", __version__).replace("`{id}`", "none")
        told = [tomllib.loads(f"x = {text}")["x"] for text in re.findall(r"`([^`]+)`", default)]
        for position, key in enumerate(re.findall(r"`(\w+)`", keys)):
            actual = getattr(section, key)
            if told:
                assert told[position] == actual, key
            else:
                assert not actual, key


def test_the_commented_file_has_the_defaults() -> None:
    text = page("active-call.toml")
    for key, value in tomllib.loads(text).items():
        if not isinstance(value, dict):
            default = getattr(Config(), key)
            assert (parse_duration(value) if isinstance(default, float) else value) == default, key
    optional = re.findall(r"^# (\w+) = ", text, re.M)
    assert set(optional) - names("docs/configuration.md") == set()


def test_the_commented_file_is_right_with_all_its_comments() -> None:
    """Each commented example can be taken out of its comment."""
    text = page("active-call.toml")
    text = re.sub(r"# \[handler\]\n# type = \"webhook\"\n# url = .*\n", "", text)
    text = re.sub(r"^# (?=\w+ = |\[)", "", text, flags=re.M).replace("<version>", "1")
    config = parse_config(text)
    assert config.register_users
    assert config.rewrites
    assert config.tls_port == 5061


def test_every_flag_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    flags = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert flags
    told = set(re.findall(r"--[a-z][a-z-]+", page("docs/configuration.md")))
    assert flags - told == set()
    assert (
        told - flags - {"--help", "--once", "--download-models", "--models-dir", "--exit-after-download"}
        == set()
    )


# --- playbooks ------------------------------------------------------------------------------------------------


def test_every_key_of_playbooks_is_there() -> None:
    wanted = {*written(FrontMatter), *written(InterruptionOption), *written(LlmOption)}
    assert wanted - names("docs/playbook.md") == set()


def test_the_first_playbook_can_be_used() -> None:
    from active_call.playbook.document import load_playbook

    [text] = re.findall(r"^( {4}---\n.*?)(?=^\S)", page("docs/playbook.md"), re.M | re.S)
    playbook = load_playbook(re.sub("^ {4}", "", text, flags=re.M), source="docs", environment={}, variables={})
    assert playbook.warnings == ()


# --- API ------------------------------------------------------------------------------------------------------

NUMBERS: dict[str, type[BaseModel]] = {
    "vad": VadOption,
    "mediaPass": MediaPassOption,
    "recorder": RecorderOption,
}


@pytest.mark.parametrize("option", NUMBERS)
def test_default_numbers_of_options(option: str) -> None:
    rows = {row[0].strip("` "): row[1] for row in table(page("docs/api.md"), "Options")}
    told = dict(re.findall(r"`(\w+)` (\d[\d.]*)", rows[option]))
    defaults = written(NUMBERS[option])
    assert told
    assert {name: float(number) for name, number in told.items()} == {name: defaults[name] for name in told}


def row(heading: str, name: str) -> str:
    """The second cell of the row that begins with `name`."""
    [fields] = [cells[1] for cells in table(page("docs/api.md"), heading) if f"`{name}`" in cells[0]]
    return fields


@pytest.mark.parametrize("kind", get_args(Command), ids=lambda kind: kind.__name__)
def test_each_command_has_its_fields_in_its_row(kind: type[BaseModel]) -> None:
    fields = row("Commands", kind.model_fields["command"].default)
    assert set(written(kind)) - {"command"} - set(re.findall(r"`(\w+)`", fields)) == set()


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_each_event_has_its_fields_in_its_row_and_no_others(kind: type[BaseModel]) -> None:
    fields = row("Events", kind.model_fields["event"].default)
    if fields != "the same":
        told = set(re.findall(r"`(\w+)\??`", fields)) - {"username", "realm", "source"}
        assert set(written(kind)) - {"event", "trackId", "timestamp"} == told


def test_options_of_transfers_are_there() -> None:
    rows = {word for row in table(page("docs/api.md"), "Transfers") for word in re.findall(r"`(\w+)`", row[0])}
    options = re.search(r"\| option \| meaning \|\n\|---\|---\|\n((?:\|.*\n)+)", page("docs/api.md"))
    assert options is not None
    told = set(re.findall(r"`(\w+)`", " ".join(row.split(" | ")[0] for row in options[1].splitlines())))
    assert rows == {"bridge", "blind", "attended"}
    assert told | {"mode"} == set(written(ReferOption))


def test_the_option_table_has_nothing_else() -> None:
    told = {row[0].split("`")[1] for row in table(page("docs/api.md"), "Options")}
    assert told <= set(written(CallOption))


# --- operating ------------------------------------------------------------------------------------------------


def test_every_field_of_health_is_there() -> None:
    keys = {
        key.value
        for status in (Gateway.status, Endpoints.status)
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(status))))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    keys |= {to_camel(name) for name in (*_COUNTERS, *RegistrationStatus.__annotations__)}
    assert len(keys) > 20
    assert keys - names("docs/operating.md") == set()


# --- records and client ---------------------------------------------------------------------------------------


def test_every_field_of_a_record_is_there() -> None:
    wanted = {*written(CallRecord), *written(MediaStatistics), *written(Turn), *HANGUP_REASONS}
    assert wanted - names("docs/records.md") == set()


@pytest.mark.parametrize("kind", [Session, Rest])
def test_every_method_of_the_client_is_there(kind: type) -> None:
    methods = {name for name, value in vars(kind).items() if callable(value) and not name.startswith("_")}
    assert methods - names("docs/client.md") == set()
