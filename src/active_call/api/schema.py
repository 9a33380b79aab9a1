"""The JSON Schema of commands and events, generated from the models that read and write them."""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from active_call import __version__
from active_call.wire.commands import Command
from active_call.wire.events import Event

_REF = "#/$defs/"


def json_schema() -> dict[str, Any]:
    """One schema (2020-12) with the definitions `Command` and `Event`; an instance is either.

    Names are the canonical camelCase ones; the gateway also reads snake_case and the aliases of docs/api.md.
    """
    commands = TypeAdapter[Any](Annotated[Command, Field(discriminator="command")])
    events = TypeAdapter[Any](Annotated[Event, Field(discriminator="event")])
    definitions = _definitions(commands.json_schema(), "command") | _definitions(events.json_schema(), "event")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "active-call: commands and events",
        "version": __version__,
        "anyOf": [{"$ref": f"{_REF}Command"}, {"$ref": f"{_REF}Event"}],
        "$defs": dict(sorted(definitions.items())),
    }


def _definitions(schema: dict[str, Any], tag: str) -> dict[str, Any]:
    """The definitions of a union and the union itself, which is named after its `tag`: `Command`, `Event`.

    A member is called `TtsCommand` or `DtmfEvent`, because both unions have a `Hangup`, and requires its tag.
    """
    models = schema.pop("$defs")
    names = {name: name + tag.title() if tag in model["properties"] else name for name, model in models.items()}
    definitions = {names[name]: _renamed(model, names) for name, model in models.items()}
    for model in definitions.values():
        if tag in model["properties"]:
            model["required"] = [tag, *model.get("required", [])]
            model["properties"][tag].pop("default", None)
    return definitions | {tag.title(): _renamed(schema, names)}


def _renamed(schema: Any, names: dict[str, str]) -> Any:
    """`schema` with references to the new names."""
    if isinstance(schema, dict):
        # The titles that pydantic makes up from names say nothing.
        titled = isinstance(schema.get("title"), str)
        return {key: _renamed(value, names) for key, value in schema.items() if key != "title" or not titled}
    if isinstance(schema, list):
        return [_renamed(value, names) for value in schema]
    if isinstance(schema, str) and schema.startswith(_REF):
        return _REF + names[schema.removeprefix(_REF)]
    return schema
