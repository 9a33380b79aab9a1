"""The front matter of a playbook: its text, its YAML with line numbers, and the spelling of its keys.

YAML is read by the 1.2 core rules: `yes`, `on`, dates and `12:30` are text.
"""

import difflib
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml
from pydantic import AliasChoices, BaseModel

from active_call.core.errors import PlaybookError

Path: TypeAlias = tuple[str | int, ...]

_FENCE = re.compile(r"^---[ \t]*$")
_VARIABLE = re.compile(r"\$\{([^}]+)\}")


_MAX_DEPTH = 50
_MAX_VALUES = 20_000

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where PyYAML was built with it


class _CoreLoader(_SafeLoader):  # type: ignore[misc]
    """Safe, with the scalars of YAML 1.2."""


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))  # decimal, also with leading zeros


_CoreLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", r"<<", "<"),
):
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))
_CoreLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"$"), [""])
_CoreLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)


@dataclass(frozen=True, slots=True)
class Parts:
    """A playbook's text in two; lines count from 1 in the file."""

    front: str
    front_line: int
    body: str
    body_line: int


def split_front_matter(text: str, source: str) -> Parts:
    """Cut `text` at its two lines `---`. Raises PlaybookError if there is no front matter."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if not _FENCE.match(lines[first]):
        raise PlaybookError(
            "a playbook starts with a line ---, its settings and another line ---",
            source=source,
            line=first + 1,
        )
    last = next((number for number in range(first + 1, len(lines)) if _FENCE.match(lines[number])), None)
    if last is None:
        raise PlaybookError(
            "the settings are not closed: a second line --- is missing", source=source, line=first + 1
        )
    return Parts("\n".join(lines[first + 1 : last]), first + 2, "\n".join(lines[last + 1 :]), last + 2)


class Settings:
    """YAML values that remember their lines."""

    def __init__(self, text: str, first_line: int, source: str) -> None:
        """Parse `text`, whose first line is `first_line` of `source`. Raises PlaybookError."""
        self._source = source
        self._lines: dict[Path, int] = {}
        self._first_line = first_line
        self._check_depth(text)
        loader = _CoreLoader(text)
        try:
            node = loader.get_single_node()
            self.values: dict[str, Any] = {}
            if node is not None:
                self._note_lines(node, (), ())
                self.values = loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = first_line + mark.line if mark else first_line
            at = text.splitlines()[mark.line : mark.line + 1] if mark else []
            hint = '; put texts with { } [ ] , : ? or # in "quotes"'
            if at and at[0].lstrip(" ").startswith("\t"):
                hint = "; indent with spaces, not with tabs"
            raise PlaybookError(
                f"the YAML is broken: {error.problem}{hint}", source=source, line=line
            ) from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise PlaybookError(f"the YAML is broken: {error}", source=source, line=first_line) from error
        finally:
            loader.dispose()
        if not isinstance(self.values, dict):
            raise PlaybookError("the settings are not `key: value` lines", source=source, line=first_line)

    def _check_depth(self, text: str) -> None:
        """The loader in C recurses, and without this the process would crash on deep nesting."""
        depth = 0
        try:
            for event in yaml.parse(text, Loader=_SafeLoader):
                depth += isinstance(event, yaml.CollectionStartEvent)
                depth -= isinstance(event, yaml.CollectionEndEvent)
                if depth > _MAX_DEPTH:
                    line = self._first_line + (event.start_mark.line if event.start_mark else 0)
                    raise PlaybookError("the YAML is nested too deeply", source=self._source, line=line)
        except yaml.YAMLError:
            return  # told with its line below

    def _note_lines(self, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...]) -> None:
        self._lines[path] = self._first_line + node.start_mark.line
        if len(self._lines) > _MAX_VALUES:
            raise PlaybookError("the YAML has too many values", source=self._source, line=self._lines[path])
        if any(node is other for other in above):
            raise PlaybookError("an alias refers to itself", source=self._source, line=self._lines[path])
        if isinstance(node, yaml.SequenceNode):
            for index, child in enumerate(node.value):
                self._note_lines(child, (*path, index), (*above, node))
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, child in node.value:
                name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
                line = self._first_line + key.start_mark.line
                if not name:
                    raise PlaybookError("a key must be text", source=self._source, line=line)
                if name in seen:
                    raise PlaybookError(f'the key "{name}" stands here twice', source=self._source, line=line)
                seen.add(name)
                self._note_lines(child, (*path, name), (*above, node))
                self._lines[(*path, name)] = line

    def line(self, path: Path) -> int:
        """The line of the nearest known part of `path`."""
        known: Path = ()
        for part in path:
            step = (*known, part if isinstance(part, int) else str(part))
            if step in self._lines:
                known = step
        return self._lines.get(known, self._first_line)


def map_text(values: Any, change: Callable[[str, Path], str], path: Path = ()) -> Any:
    """`values` with every text in it (not the keys) changed; keys become text."""
    if isinstance(values, dict):
        return {str(key): map_text(value, change, (*path, str(key))) for key, value in values.items()}
    if isinstance(values, list):
        return [map_text(value, change, (*path, index)) for index, value in enumerate(values)]
    return change(values, path) if isinstance(values, str) else values


def expand(text: str, environment: Mapping[str, str], missing: Callable[[str], None]) -> str:
    """`text` with `${NAME}` replaced from `environment`, once; an unknown name stays and is reported."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            missing(match[1])
            return match[0]
        return environment[match[1]]

    return _VARIABLE.sub(value, text)


def unknown_keys(model: type[BaseModel], values: Any, path: Path = ()) -> list[tuple[Path, str | None]]:
    """Keys in `values` that `model` would ignore, each with the nearest one it knows."""
    if not isinstance(values, dict):
        return []
    names: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        spellings = {name, info.alias}
        if isinstance(info.validation_alias, AliasChoices):
            spellings |= {choice for choice in info.validation_alias.choices if isinstance(choice, str)}
        names |= {spelling: info.annotation for spelling in spellings if spelling}
    found: list[tuple[Path, str | None]] = []
    for key, value in values.items():
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
            found.append(((*path, key), near[0] if near else None))
            continue
        inner, nested = _inner_model(names[key])
        if inner is None:
            continue
        children = [((*path, key), value)]
        if nested:
            items = (
                value.items()
                if isinstance(value, dict)
                else enumerate(value if isinstance(value, list) else [])
            )
            children = [((*path, key, at), child) for at, child in items]
        for where, child in children:
            found += unknown_keys(inner, child, where)
    return found


def _inner_model(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model in a field's type, and whether the field holds many of it (a list or map)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (list, dict):
        return _inner_model(arguments[-1])[0], True
    if origin in (typing.Union, types.UnionType):
        models = [found for found in map(_inner_model, arguments) if found[0] is not None]
        return models[0] if len(models) == 1 else (None, False)
    return None, False
