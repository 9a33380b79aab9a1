"""Says what is wrong with a configuration: which key, on which line, and what would be right."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.alias_generators import to_snake
from pydantic_core import ErrorDetails

from active_call.config.lines import KeyPath
from active_call.config.schema import Config

_TAGGED = ("handler", "callrecord")

_WRITE = {
    "string_type": 'write text in quotes, "..."',
    "int_type": "write a whole number, without quotes",
    "float_type": "write a number",
    "bool_type": "write true or false, without quotes",
    "list_type": "write a list, [...]",
    "dict_type": "write a table, [{key}]",
    "model_type": "write a table, [{key}]",
    "model_attributes_type": "write a table, [{key}]",
    "tuple_type": "write a pair, [name, value]",
}
_TYPES = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


def key_path(error: ErrorDetails) -> KeyPath:
    """Where in the file the error is. pydantic's path holds the tag of a tagged union; the file's doesn't."""
    path = error["loc"]
    if error["type"].startswith("union_tag"):
        return (*path, "type")
    return (path[0], *path[2:]) if len(path) > 1 and path[0] in _TAGGED else path


def key_text(path: KeyPath) -> str:
    """A path as people write it: `handler.rules[1].caller`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def line_of(path: KeyPath, lines: dict[KeyPath, int]) -> int | None:
    """The line of a key or, if it isn't there, of what it belongs to."""
    snake = tuple(to_snake(part) if isinstance(part, str) else part for part in path)
    for depth in range(len(path), 0, -1):
        line = lines.get(path[:depth], lines.get(snake[:depth]))
        if line is not None:
            return line
    return None


def explain(error: ErrorDetails) -> str:
    """The error in the operator's words. Never shows a value that might be a secret."""
    kind, context = error["type"], error.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return unknown_key(str(error["loc"][-1]), _keys_at(error["loc"][:-1]))
        case "missing":
            return "is missing"
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return _unknown_value(error["input"], context["expected"])
        case "union_tag_invalid":
            return _unknown_value(context["tag"], context["expected_tags"])
        case "union_tag_not_found":
            tags = [tag for model in _models(_annotation(error["loc"])) for tag in _tags(model)]
            return f"is missing; write one of {_quoted(tags)}"
        case "greater_than_equal":
            return f"{error['input']} is too small; write {context['ge']} or more"
        case "less_than_equal":
            return f"{error['input']} is too large; write {context['le']} or less"
        case "string_too_short":
            return "is empty"
        case "string_pattern_mismatch":
            return f"does not look right; it must match {context['pattern']}"
        case "multiple_of":
            return f"{error['input']} is not a multiple of {context['multiple_of']}"
    if kind in _WRITE:
        key = ".".join(part for part in key_path(error) if isinstance(part, str))
        found = error["input"]
        if kind == "list_type" and isinstance(found, dict):
            return f"is one table; there may be several, so write [[{key}]]"
        return f"is {_TYPES.get(type(found), 'something else')}; {_WRITE[kind].format(key=key)}"
    return error["msg"]


def unknown_key(name: str, known: Sequence[str]) -> str:
    """What to say of a key that is not one of `known`."""
    near = get_close_matches(name, known, n=1)
    if near:
        return f"no such key; did you mean {near[0]}?"
    if name in Config.model_fields:
        return "no such key here; it is a top-level key: write it above the first [table]"
    return f"no such key; known here are {', '.join(known)}" if len(known) <= 12 else "no such key"


def _unknown_value(value: object, expected: str) -> str:
    known = [word for word in expected.replace("'", "").replace(" or ", ", ").split(", ") if word]
    near = get_close_matches(str(value).lower(), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"write one of {_quoted(known)}"
    return f'"{value}" is not known; {hint}'


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _keys_at(path: KeyPath) -> list[str]:
    """The keys that the table at pydantic's `path` may have."""
    known: list[str] = []
    for model in _models(_annotation(path)):
        if len(path) > 1 and path[0] in _TAGGED and _tags(model) and path[1] not in _tags(model):
            continue
        for name, field in model.model_fields.items():
            known.append(name.rstrip("_"))
            if field.alias and field.alias not in known:
                known.append(field.alias)
    return known


def _annotation(path: KeyPath) -> Any:
    """The type at pydantic's `path`; list indices and union tags don't change it."""
    annotation: Any = Config
    for part in path:
        for model in _models(annotation):
            field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
            if field is not None:
                annotation = field.annotation
                break
    return annotation


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type like `list[A]`, `A | B` or `Annotated[A, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _models(part)


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    field = model.model_fields.get("type")
    return get_args(field.annotation) if field else ()
