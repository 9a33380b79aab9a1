"""Captures of loopback, and what Wireshark says of them."""

import json
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_MOST_SECONDS = 90
_NOTE = 0x400000
"""Severities from here on are more than chat."""


def installed() -> bool:
    """Whether Debian's tshark is here."""
    return shutil.which("tshark") is not None and shutil.which("dumpcap") is not None


class Capture:
    """Everything on this host's loopback while the context lasts, written to `file`."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> "Capture":
        command = ["dumpcap", "-q", "-i", "lo", "-w", str(self.file), "-a", f"duration:{_MOST_SECONDS}"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        said = ""
        for line in self._process.stderr:
            said += line
            if line.startswith("File:"):  # it has opened the interface
                return self
        raise RuntimeError(f"dumpcap does not start:\n{said}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        time.sleep(0.3)  # what has been sent is to be written
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


@dataclass(frozen=True)
class Frame:
    """A packet: the values of each field, as often as it occurs."""

    fields: dict[str, list[str]]

    def all(self, name: str) -> list[str]:
        return self.fields.get(name, [])

    def __str__(self) -> str:
        return f"{self.source} to {self.destination}: {self.fields}"

    def text(self, name: str) -> str:
        """The first value; "" if there is none."""
        return next(iter(self.all(name)), "")

    def number(self, name: str, at: int = 0) -> int:
        """The value as an integer, whether it is shown as 0x1f or 31. Raises IndexError."""
        return int(self.all(name)[at], 0)

    @property
    def time(self) -> float:
        """When it was captured, Unix seconds."""
        return float(self.text("frame.time_epoch"))

    @property
    def source(self) -> tuple[str, int]:
        port = self.all("udp.srcport") or self.all("tcp.srcport")
        return self.text("ip.src"), int(port[0])

    @property
    def destination(self) -> tuple[str, int]:
        port = self.all("udp.dstport") or self.all("tcp.dstport")
        return self.text("ip.dst"), int(port[0])


_ALWAYS = (
    "frame.number", "frame.time_epoch", "ip.src", "ip.dst",
    "udp.srcport", "udp.dstport", "tcp.srcport", "tcp.dstport",
)  # fmt: skip


@dataclass
class Dissection:
    """A finished capture. `options` are tshark's, for all questions."""

    file: Path
    options: tuple[str, ...] = ()

    def frames(self, wanted: str, *fields: str) -> list[Frame]:
        """The packets that a display filter wants, with these fields of theirs."""
        names = (*_ALWAYS, *fields)
        asked = [part for name in names for part in ("-e", name)]
        lines = self._tshark("-Y", wanted, "-T", "json", *asked)
        return [Frame(one["_source"].get("layers", {})) for one in json.loads(lines or "[]")]

    def statistics(self, what: str) -> list[str]:
        """The lines of a table of tshark's."""
        return self._tshark("-q", "-z", what).splitlines()

    def complaints(self, protocols: str) -> list[Frame]:
        """Packets of these protocols that Wireshark can't read, or has a note, a warning or an error about."""
        wanted = f"({protocols}) && !icmp && (_ws.malformed || _ws.expert.severity >= {_NOTE})"
        return self.frames(wanted, "_ws.malformed", "_ws.expert.message")

    def _tshark(self, *arguments: str) -> str:
        command = ["tshark", "-n", "-2", "-r", str(self.file), *self.options, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"tshark failed: {done.stderr[-2000:]}")
        return done.stdout
