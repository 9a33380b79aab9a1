"""A real gateway in a process of its own, for end-to-end tests and benchmarks."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from active_call.core.errors import ActiveCallError


def free_port() -> int:
    """A port of 127.0.0.1 that nobody had a moment ago, neither of UDP nor of TCP, nor the one after it.

    Below those that the kernel gives to connections, which could take it meanwhile.
    """
    for _ in range(1000):
        port = random.randrange(20_000, 30_000, 2)
        if all(is_free(port + step, kind) for step in (0, 1) for kind in _KINDS):
            return port
    raise ActiveCallError("no port is free between 20000 and 30000")


def is_free(port: int, kind: socket.SocketKind = socket.SOCK_DGRAM) -> bool:
    """Whether nobody has this port of 127.0.0.1."""
    with socket.socket(socket.AF_INET, kind) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_KINDS = (socket.SOCK_DGRAM, socket.SOCK_STREAM)


@dataclass
class GatewayProcess:
    """`active-call` in `directory`, on free ports of `host`. A context manager that waits for readiness."""

    directory: Path
    playbooks: dict[str, str] = field(default_factory=dict)
    """File name to text, written to config/playbook/."""
    default: str | None = None
    config: str = ""
    """Further TOML: top-level keys first, then tables."""
    arguments: tuple[str, ...] = ()
    rtp_ports: tuple[int, int] = (30_000, 34_000)
    log_level: str = "info"
    host: str = "127.0.0.1"
    """Where telephones reach it; HTTP is served on 127.0.0.1."""
    sip_port: int = 0
    http_port: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    """Further environment variables."""
    program: tuple[str, ...] = ("-m", "active_call")
    """What Python runs."""
    ready_seconds: float = 0.0
    """From process start to the first 200 of /health."""

    def __enter__(self) -> "GatewayProcess":
        self.sip_port = self.sip_port or free_port()
        self.http_port = self.http_port or free_port()
        folder = self.directory / "config" / "playbook"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.playbooks.items():
            (folder / name).write_text(text, encoding="utf-8")
        (self.directory / "active-call.toml").write_text(self._toml(), encoding="utf-8")
        command = [sys.executable, *self.program, "--conf", "active-call.toml", *self.arguments]
        self._log = (self.directory / "gateway.log").open("ab")
        began = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            cwd=self.directory,
            env=os.environ | self.environment,
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
        )
        try:
            self._wait_ready(began)
        except BaseException:
            self.process.kill()
            self.process.wait(5)
            self._log.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._log.close()

    def _toml(self) -> str:
        low, high = self.rtp_ports
        lines = [
            f'addr = "{self.host}"',
            f"udp_port = {self.sip_port}",
            f'http_addr = "127.0.0.1:{self.http_port}"',
            f"rtp_start_port = {low}",
            f"rtp_end_port = {high}",
            f'log_level = "{self.log_level}"',
            *([] if "graceful_shutdown" in self.config else ["graceful_shutdown_timeout = 0"]),
            self.config,
        ]
        if self.default is not None:
            lines += ["[handler]", 'type = "playbook"', f'default = "{self.default}"']
        if "[callrecord]" not in self.config:
            lines += ["[callrecord]", 'type = "local"']
        return "\n".join(lines) + "\n"

    def _wait_ready(self, began: float) -> None:
        while time.perf_counter() - began < 15.0:
            if self.process.poll() is not None:
                break
            try:
                if self.health()[0] == 200:
                    self.ready_seconds = time.perf_counter() - began
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise ActiveCallError(f"the gateway did not become ready:\n{self.log()[-3000:]}")

    def health(self) -> tuple[int, dict[str, Any]]:
        """Status and body of GET /health. Raises OSError while nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=2)
        try:
            connection.request("GET", "/health")
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    @property
    def uri(self) -> str:
        """Where calls go."""
        return f"sip:agent@{self.host}:{self.sip_port}"

    @property
    def ws_url(self) -> str:
        """Where clients of the API connect."""
        return f"ws://127.0.0.1:{self.http_port}"

    @property
    def http_url(self) -> str:
        """Where REST is served."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def media_pid(self) -> int:
        """The active media plane's process id."""
        return int(self.health()[1]["media"]["pid"])

    def pids(self) -> list[int]:
        """The control plane's process id, then the media processes'."""
        media = self.health()[1]["media"]
        return [self.process.pid, *(pid for pid in (media["pid"], media["spare"]) if pid)]

    def log(self) -> str:
        """What it logged so far."""
        return (self.directory / "gateway.log").read_text(encoding="utf-8", errors="replace")

    def records(self) -> list[dict[str, Any]]:
        """All call records written so far, oldest first."""
        files = sorted((self.directory / "config" / "cdr").glob("*/*.json"), key=os.path.getmtime)
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    def wait_records(self, count: int, timeout: float = 10.0) -> list[dict[str, Any]]:
        """Until so many records are written. Raises TimeoutError."""
        self._wait(lambda: len(self.records()) >= count, f"{count} records", timeout)
        return self.records()

    def wait_calls(self, active: int = 0, timeout: float = 10.0) -> None:
        """Until just so many calls are live. Raises TimeoutError."""
        self._wait(lambda: self.health()[1]["calls"]["active"] == active, f"{active} live calls", timeout)

    def wait_lanes(self, count: int = 0, timeout: float = 10.0) -> None:
        """Until just so many lanes are in use. Raises TimeoutError."""
        self._wait(lambda: self.health()[1]["media"]["lanes"] == count, f"{count} lanes", timeout)

    def _wait(self, come: Callable[[], bool], what: str, timeout: float) -> None:
        deadline = time.perf_counter() + timeout
        while not come():
            if time.perf_counter() > deadline:
                log = [line for line in self.log().splitlines() if " http.access " not in line]
                raise TimeoutError(f"never came to {what}\n" + "\n".join(log[-30:]))
            time.sleep(0.05)

    def stop(self, sig: signal.Signals = signal.SIGTERM, timeout: float = 10.0) -> int:
        """Signal it, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(5)
