"""The base of everything clients and playbooks write: camelCase outside, snake_case inside, both accepted."""

import json
import re
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """Immutable; unknown keys are ignored; dumped with `dump()`."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        frozen=True,
        extra="ignore",
    )

    def dump(self) -> dict[str, Any]:
        """The JSON object on the wire: camelCase, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def dump_json(self) -> str:
        """`dump()` as text."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


def also(name: str, *others: str, default: Any = None, **extra: Any) -> Any:
    """A field whose canonical wire name is `name` and that is read under any of `others` too."""
    return Field(default, validation_alias=AliasChoices(name, *others), serialization_alias=name, **extra)


_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(value: Any) -> Any:
    """Seconds from a number or from text like "500ms", "30s", "1m 30s". Raises ValueError on other text."""
    if not isinstance(value, str):
        return value
    position, seconds = 0, 0.0
    while position < len(value):
        match = _PART.match(value, position)
        if match is None:
            raise ValueError(f'"{value}" is not a duration; write seconds, or "500ms", "30s", "1m 30s"')
        seconds += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if position == 0:
        raise ValueError('a duration is empty; write seconds, or "500ms", "30s", "1m 30s"')
    return seconds


def _seconds_or_ms(value: Any) -> Any:
    value = parse_duration(value)
    return value / 1000 if isinstance(value, int | float) and value >= 1000 else value


_DURATION_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^([0-9.]+ ?(ms|s|m|h) ?)+$"}]}
)

Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, allow_inf_nan=False), _DURATION_SCHEMA]
"""Seconds, written as a number or as text with units."""

WaitTimeout = Annotated[
    float, BeforeValidator(_seconds_or_ms), Field(ge=0, allow_inf_nan=False), _DURATION_SCHEMA
]
"""Seconds; a value of 1000 or more is taken as milliseconds, as the reference's clients send it."""

Text = Annotated[
    str,
    BeforeValidator(lambda v: json.dumps(v) if isinstance(v, int | float) else v),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
"""Text; a number is read as its digits (`speaker: 101001`), and false as "false"."""
