"""The query parameters of the WebSocket endpoints."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from active_call.core.errors import ActiveCallError

BinaryAs = Literal["frame", "json", "base64"]

_LONGEST_ID = 1_024
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_LONGEST_PING = 86_400


class QueryError(ActiveCallError):
    """A parameter has a value it can't have; the text names both."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a client asks of its socket."""

    id: str | None = None
    """Session id; the dialog id of a waiting inbound call takes that up."""
    dump: bool = True
    ping_seconds: int = 20
    """Between pings; 0 sends none."""
    server_side_track: str = "serverSideTrack"
    canonical: bool = False
    """Leave out the events `transcript` and `end`."""
    binary: BinaryAs = "frame"
    """How audio is sent to the client."""


def parse_query(raw: str) -> Query:
    """Read a query string as clients write it, encoded or not. Raises QueryError; ignores what it doesn't know.

    Dialog ids come unencoded: "+" stays "+", and ":", "/", "@" and "~" are taken as they are.
    """
    given: dict[str, str] = {}
    for name, value in _parameters(raw):
        given.setdefault(_plain(name), value)
    call_id = given.get("id") or None
    if call_id is not None and (len(call_id) > _LONGEST_ID or not call_id.isprintable()):
        raise QueryError(f"id: at most {_LONGEST_ID} printable characters")
    return Query(
        id=call_id,
        dump=_boolean("dump", _first(given, "dump", "dumpevents"), default=True),
        ping_seconds=_seconds("pingInterval", _first(given, "pinginterval", "ping"), default=20),
        server_side_track=given.get("serversidetrack") or "serverSideTrack",
        canonical=_choice("events", given.get("events"), ("canonical", "all")) == "canonical",
        binary=_binary(given.get("binary")),
    )


def _parameters(raw: str) -> Iterator[tuple[str, str]]:
    for pair in raw.split("&"):
        name, equals, value = pair.partition("=")
        if name:
            yield unquote(name), unquote(value) if equals else ""


def _plain(name: str) -> str:
    """`dump_events` and `dumpEvents` are one name."""
    return name.replace("_", "").lower()


def _first(given: dict[str, str], *names: str) -> str | None:
    return next((given[name] for name in names if name in given), None)


def _boolean(name: str, text: str | None, *, default: bool) -> bool:
    if text is None:
        return default
    if text.lower() not in _TRUE + _FALSE:
        raise QueryError(f'{name}: "{text[:40]}" is neither true nor false')
    return text.lower() in _TRUE


def _seconds(name: str, text: str | None, *, default: int) -> int:
    if text is None:
        return default
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > _LONGEST_PING:
        raise QueryError(f'{name}: "{text[:40]}" is not a number of seconds; write 0 to {_LONGEST_PING}')
    return int(text)


def _choice(name: str, text: str | None, known: tuple[str, ...]) -> str | None:
    if text is not None and text not in known:
        raise QueryError(f'{name}: "{text[:40]}" is not known; write {" or ".join(known)}')
    return text


def _binary(text: str | None) -> BinaryAs:
    match _choice("binary", text, ("frame", "json", "base64")):
        case "json":
            return "json"
        case "base64":
            return "base64"
    return "frame"
