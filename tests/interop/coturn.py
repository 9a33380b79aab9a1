"""A real coturn, as a STUN server."""

import shutil
import subprocess
from pathlib import Path
from types import TracebackType

from active_call.testing.process import free_port
from tests.processes import end, wait_listening


def installed() -> bool:
    """Whether Debian's coturn is here."""
    return shutil.which("turnserver") is not None and shutil.which("turnutils_stunclient") is not None


class Coturn:
    """One STUN server at a port of 127.0.0.1. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.port = 0
        self._folder = folder

    def __enter__(self) -> "Coturn":
        self._folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        command = ["turnserver", "-n", "--stun-only", "-L", "127.0.0.1", "-p", str(self.port), "-m", "1"]
        command += ["--no-tls", "--no-dtls", "--no-cli", "--no-rfc5780", "--log-file", "stdout"]
        command += ["--pidfile", str(self._folder / "pid"), "--userdb", str(self._folder / "users")]
        log_file = self._folder / "coturn.log"
        with log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        # It listens at the same port of TCP.
        wait_listening(self._process, self.port, lambda: log_file.read_text(errors="replace"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._process)
