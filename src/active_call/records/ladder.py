"""A call's dump as a SIP ladder: who sent what when, and what happened in the call meanwhile."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from active_call.core.errors import ActiveCallError

_WIDTH = 46
_TOLD = {"incoming", "ringing", "answer", "mediaReady", "reject", "error", "hangup"}
_TOLD |= {"hold", "transferRequest", "message", "dtmf", "inactivity"}
"""Events that explain the ladder; speech and playback would bury it."""
_SHOWN_FIELDS = (
    "reason",
    "code",
    "onHold",
    "referTo",
    "digit",
    "earlyMedia",
    "refer",
    "sender",
    "error",
)


class DumpError(ActiveCallError):
    """A file that is no dump; the text names the line."""


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    seconds: float
    kind: str
    content: str
    peer: str


def ladder(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a picture of the dump `lines`, in order. Raises DumpError for a line that is none.

    The last one says why the call ended, if that is known.
    """
    start: float | None = None
    why = ""
    peers: list[str] = []
    for line in _parsed(lines):
        if start is None:
            start = line.seconds
            yield f"begins {datetime.fromtimestamp(start, UTC).isoformat(timespec='milliseconds')}"
            yield f"{'seconds':>9}  {'peer':<{_WIDTH // 2}}{'active-call':>{_WIDTH // 2}}"
        moment = f"{line.seconds - start:9.3f}"
        if line.kind == "sip":
            if line.peer not in peers:
                peers.append(line.peer)
                if line.peer:
                    yield f"{'':9}  [{len(peers)}] {line.peer}"
            mark = f"[{peers.index(line.peer) + 1}] " if len(peers) > 1 else ""
            yield f"{moment}  {_arrow(line.content, mark)}"
            yield from (f"{'':9}  {'':{_WIDTH}}  {note}" for note in _notes(line.content))
        elif line.kind == "event":
            why = _why(line) or why
            told = _event(line)
            if told is not None:
                yield f"{moment}  {'':{_WIDTH}}  * {told}"
        elif line.kind == "command":
            command = _object(line).get("command", "?")
            yield f"{moment}  {'':{_WIDTH}}  > {command}"
    if start is None:
        raise DumpError("the dump is empty")
    if why:
        yield f"ended: {why}"


def _parsed(lines: Iterable[str]) -> Iterator[_Line]:
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
            seconds = float(fields["timestamp"]) / 1000
            yield _Line(
                number, seconds, str(fields["type"]), str(fields["content"]), str(fields.get("peer", ""))
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DumpError(f"line {number} is no line of a dump: {error!r}") from None


def _object(line: _Line) -> dict[str, Any]:
    try:
        content = json.loads(line.content)
    except ValueError as error:
        raise DumpError(f"line {line.number}: the content is no JSON: {error}") from None
    return content if isinstance(content, dict) else {}


def _why(line: _Line) -> str:
    """What a `hangup` says of the call itself, not of a party that it was transferred to."""
    content = _object(line)
    of_call = content.get("event") == "hangup" and not content.get("refer")
    return str(content.get("detail") or "") if of_call else ""


def _event(line: _Line) -> str | None:
    content = _object(line)
    name = content.get("event")
    if name not in _TOLD:
        return None
    shown = [
        f"{field}={content[field]}" for field in _SHOWN_FIELDS if content.get(field) not in (None, "", False)
    ]
    return " ".join([name, *shown])


def _arrow(content: str, mark: str) -> str:
    """`INVITE ─────►` towards us, `◄───── 200 OK` from us."""
    inward, text = content.startswith("<"), content[2:].split("\r\n", 1)[0].split("\n", 1)[0]
    words = text.split(" ")
    if text.startswith("SIP/2.0 "):
        label = f"{text[8:]} ({_cseq_method(content)})"
    else:
        label = f"{words[0]} {words[1] if len(words) > 1 else ''}"
    if _has_sdp(content):
        label += " SDP"
    label = mark + label.strip()
    label = label if len(label) <= _WIDTH - 4 else label[: _WIDTH - 5] + "…"
    rule = "─" * (_WIDTH - len(label) - 2)
    return f"{label} {rule}►" if inward else f"◄{rule} {label}"


def _cseq_method(content: str) -> str:
    found = re.search(r"\ncseq[ \t]*:[ \t]*\d+[ \t]+(\S+)", content, re.IGNORECASE)
    return found[1] if found is not None else "?"


def _has_sdp(content: str) -> bool:
    return "\r\n\r\nv=0" in content or "\n\nv=0" in content


def _notes(content: str) -> Iterator[str]:
    """What explains a message: its Reason, Warning and Retry-After, and the media of its description."""
    head, _, body = content.replace("\r\n", "\n").partition("\n\n")
    for name, value in re.findall(r"\n(Reason|Warning|Retry-After)[ \t]*:[ \t]*([^\n]*)", head, re.IGNORECASE):
        yield f"{name}: {value}"
    if body.startswith("v=0"):
        address = re.search(r"^c=IN IP[46] (\S+)", body, re.MULTILINE)
        media = re.search(r"^m=audio (\d+) (\S+)", body, re.MULTILINE)
        codecs = re.findall(r"^a=rtpmap:\d+ (\S+)", body, re.MULTILINE)
        if media is not None:
            where = f"{address[1] if address is not None else '?'}:{media[1]}"
            yield f"{media[2]} at {where} {' '.join(codecs)}".rstrip()
