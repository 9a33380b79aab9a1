"""The dump of a call: every command, event and SIP message as a line of JSON, to find out later what happened.

Lines are `{"type", "timestamp", "content"}`, where `content` is JSON (or the SIP message) as text, plus `seq`,
the call's own count, `mono`, monotonic seconds, and of SIP messages `peer`, where they came from or went to.
Secrets are masked; audio is never written.
"""

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from active_call.core.clock import Clock
from active_call.records.masking import mask, mask_info, mask_text
from active_call.wire.model import Model

_log = logging.getLogger(__name__)

_WAITING = 4 << 20
"""Characters that may wait for the disk; more are dropped and counted."""

_LONGEST = 256 << 20
"""Characters of one dump; what a peer sends after that must not fill the disk."""

_writer = ThreadPoolExecutor(1, "dump")
"""One thread writes the dumps of all calls, so that a slow disk never holds the event loop up."""


class Dump:
    """One call's dump. Its methods return at once, except `close`."""

    def __init__(self, path: Path | None, clock: Clock | None) -> None:
        self.path = path
        self.mask_digits = False
        """`*` is written for each key that a SIP INFO tells; of events their teller takes care."""
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._waiting = 0
        self._length = 0
        self._dropped = 0
        self._seq = 0
        self._scheduled = False
        self._failed = False

    @classmethod
    def open(cls, path: Path, clock: Clock) -> "Dump":
        """Append to `path`, whose name is best a safe_name; it and its folder are made with the first line."""
        return cls(path, clock)

    @classmethod
    def null(cls) -> "Dump":
        """Writes nothing."""
        return cls(None, None)

    def command(self, command: Model) -> None:
        """A command that the call was given."""
        if self.path is not None:
            self._add("command", json.dumps(mask(command.dump()), ensure_ascii=False))

    def event(self, event: Model) -> None:
        """An event that the call told."""
        if self.path is not None:
            self._add("event", json.dumps(mask(event.dump()), ensure_ascii=False))

    def sip(self, direction: Literal["<", ">"], message: bytes, peer: str = "") -> None:
        """A SIP message received ("<") or sent (">"); `peer` is transport and address of the other side."""
        if self.path is not None:
            text = mask_text(message.decode("utf-8", "replace"))
            self._add("sip", f"{direction} {mask_info(text) if self.mask_digits else text}", peer=peer)

    def close(self) -> None:
        """Write what is waiting; later lines are ignored. Blocks."""
        if self.path is not None:
            _writer.submit(self._flush).result()
            if self._dropped:
                _log.warning("%s: %d lines were dropped", self.path, self._dropped)
            self.path = None

    def _add(self, kind: str, content: str, *, peer: str = "") -> None:
        assert self._clock is not None
        self._seq += 1
        line = json.dumps(
            {
                "type": kind,
                "timestamp": round(self._clock.wall() * 1000),
                "seq": self._seq,
                "mono": round(self._clock.monotonic(), 6),
                "content": content,
                **({"peer": peer} if peer else {}),
            },
            ensure_ascii=False,
        )
        with self._lock:
            full = self._waiting + len(line) > _WAITING or self._length + len(line) > _LONGEST
            if self._failed or full:
                self._dropped += 1
                return
            self._length += len(line) + 1
            self._lines.append(line + "\n")
            self._waiting += len(line)
            schedule, self._scheduled = not self._scheduled, True
        if schedule:
            _writer.submit(self._flush)

    def _flush(self) -> None:
        with self._lock:
            lines, self._lines, self._waiting, self._scheduled = self._lines, [], 0, False
        if not lines or self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8", errors="replace") as file:
                file.writelines(lines)
        except OSError as error:
            if not self._failed:
                _log.error("the dump %s can't be written: %s", self.path, error)
            self._failed = True
            self._dropped += len(lines)
