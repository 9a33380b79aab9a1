"""What is wrong with what a client or playbook says: one sentence that names the field as it was written."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

_SHOWN = 3

_WANTED = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be an object, {...}",
    "model_type": "must be an object, {...}",
    "model_attributes_type": "must be an object, {...}",
    "list_type": "must be a list, [...]",
    "tuple_type": "must be a list, [...]",
    "missing": "is missing",
    "string_too_short": "is empty",
}


def explain(error: ValidationError) -> str:
    """The text of an `error` event for a command that can't be read."""
    return explain_all(error.errors(include_url=False))


def explain_all(errors: Iterable[Mapping[str, Any]]) -> str:
    """The same for pydantic's error details; a field of a union type is named once. Never shows values."""
    told: dict[str, str] = {}
    for each in errors:
        path, text = _field(each), _text(each)
        told[path] = f"{told[path]} or {text}" if path in told and text not in told[path] else text
    sentences = [f"{path}: {text}" if path else text for path, text in told.items()]
    more = len(sentences) - _SHOWN
    return "; ".join(sentences[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _field(error: Mapping[str, Any]) -> str:
    path = [part for part in error["loc"] if not _is_branch(part)]
    if path and path[0] == "body":  # FastAPI puts in front where the value stands
        path = path[1:]
    if error["type"].startswith("union_tag"):
        path.append(_discriminator(error))
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _is_branch(part: str | int) -> bool:
    """Parts of pydantic's path that no client wrote: the branch of a union."""
    return isinstance(part, str) and (part in ("bool", "int", "float", "str") or "[" in part)


def _discriminator(error: Mapping[str, Any]) -> str:
    """The field that says which of several kinds this is: `command`, `action`."""
    return str(error["ctx"]["discriminator"]).strip("'")


def _text(error: Mapping[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    match kind:
        case "union_tag_not_found":
            return "is missing"
        case "union_tag_invalid":
            known = [word.strip("' ") for word in context["expected_tags"].split(",")]
            near = get_close_matches(str(context["tag"]), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            return f'there is no {_discriminator(error)} "{str(context["tag"])[:40]}"; {hint}'
        case "literal_error" | "enum":
            return f"must be {context['expected']}"
        case "greater_than_equal":
            return f"must be {context['ge']:g} or more"
        case "greater_than":
            return f"must be more than {context['gt']:g}"
        case "less_than_equal":
            return f"must be {context['le']:g} or less"
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}"
        case "json_invalid":
            return f"not JSON: {context['error']}"
        case "value_error":
            return str(context["error"])
    return _WANTED.get(kind) or str(error["msg"])
