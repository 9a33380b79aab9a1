"""Reads a configuration file, lays the command line over it, and reports everything that is wrong at once."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from active_call.config.explain import explain, key_path, key_text, line_of, unknown_key
from active_call.config.lines import KeyPath, key_lines
from active_call.config.schema import UA_KEYS, Config
from active_call.core.errors import ConfigError

Overrides = Mapping[str, tuple[str, Any]]
"""Top-level keys set on the command line: the flag to name in errors, and the value."""

_ALIASES = {"sip_registrations": "register_users", "srtp": "enable_srtp"}
"""Other names of top-level keys."""

_TOML_HINTS = {
    "Expected newline or end of document after a statement": 'text needs quotes, key = "..."',
    "Invalid value": 'text needs quotes, key = "..."',
    "Expected '=' after a key in a key/value pair": "write key = value",
    "Cannot overwrite a value": "the key stands there twice",
    "Illegal character '\\n'": "the quotes are not closed",
}
"""What the parser says, and what the operator most likely has to do."""

_TOML_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)")


def load_config(path: Path | None = None, overrides: Overrides | None = None) -> Config:
    """The configuration in the TOML file `path` (None: the defaults) with `overrides` laid over it.

    Raises ConfigError with one line for each thing that is wrong.
    """
    source = _Source(str(path), *_read(path)) if path is not None else _Source("", {}, {})
    return _validate(source, overrides or {})


def parse_config(text: str, name: str = "active-call.toml") -> Config:
    """The configuration in a TOML text. Raises ConfigError that calls it `name`."""
    return _validate(_Source(name, *_parse(text, name)), {})


def load_env(directory: Path) -> None:
    """Take environment variables from `.env` in `directory`, if there is one; those that exist win."""
    file = directory / ".env"
    if file.is_file():
        from dotenv import load_dotenv

        try:
            load_dotenv(file, override=False)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: can't be read: {error}") from None


@dataclass(frozen=True, slots=True)
class _Source:
    """A file's values and the lines of its keys."""

    name: str
    values: dict[str, Any]
    lines: dict[KeyPath, int]

    def problem(self, path: KeyPath, text: str) -> tuple[int, str]:
        """The line to sort by, and the line to print."""
        line = line_of(path, self.lines)
        where = f"{self.name}:{line}" if line is not None else self.name
        return line or 0, ": ".join(part for part in (where, key_text(path), text) if part)


def _read(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: {os.strerror(error.errno or 0)}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    return _parse(text, str(path))


def _parse(text: str, name: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what = str(error)
        found = _TOML_LINE.search(what)
        line = int(found[1]) if found else text.count("\n") + 1
        what = _TOML_LINE.sub("", what).replace(" (at end of document)", "")
        hint = f"; {_TOML_HINTS[what]}" if what in _TOML_HINTS else ""
        raise ConfigError(f"{name}:{line}: not valid TOML: {what}{hint}") from None
    return values, key_lines(text)


def _validate(source: _Source, overrides: Overrides) -> Config:
    problems: list[tuple[int, str]] = []
    values, origin = _flatten(source, problems)
    values |= {key: value for key, (_, value) in overrides.items()}
    config = None
    try:
        config = Config.model_validate(values)
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False):
            path = key_path(error)
            if path and path[0] in overrides:
                problems.append((0, f"{overrides[str(path[0])][0]}: {explain(error)}"))
            else:
                problems.append(source.problem(origin.get(path[0], path[:1]) + path[1:], explain(error)))
    if problems or config is None:
        raise ConfigError("\n".join(text for _, text in sorted(problems)))
    return config


def _flatten(source: _Source, problems: list[tuple[int, str]]) -> tuple[dict[str, Any], dict[Any, KeyPath]]:
    """The top-level values with those of other places among them, and where each of those was written.

    A table `[ua]` holds SIP keys as RustPBX writes them. An `external_ip` written below `[[ice_servers]]`
    belongs, for TOML, to that server, which has no such key: it is meant as the top-level key.
    """
    values = dict(source.values)
    origin: dict[Any, KeyPath] = {}

    def lift(key: str, value: object, path: KeyPath) -> None:
        if key in values:
            problems.append(source.problem(path, f"is also written as {key_text(origin.get(key, (key,)))}"))
        else:
            values[key] = value
            origin[key] = path

    for alias in _ALIASES.keys() & values.keys():
        lift(_ALIASES[alias], values.pop(alias), (alias,))
    if isinstance(values.get("ua"), dict):
        for key, value in values.pop("ua").items():
            if _ALIASES.get(key, key) in UA_KEYS:
                lift(_ALIASES.get(key, key), value, ("ua", key))
            else:
                problems.append(source.problem(("ua", key), unknown_key(key, sorted(UA_KEYS))))
    servers = values.get("ice_servers")
    if isinstance(servers, list):
        values["ice_servers"] = [dict(item) if isinstance(item, dict) else item for item in servers]
        for index, item in enumerate(values["ice_servers"]):
            if isinstance(item, dict) and "external_ip" in item:
                lift("external_ip", item.pop("external_ip"), ("ice_servers", index, "external_ip"))
    return values, origin
