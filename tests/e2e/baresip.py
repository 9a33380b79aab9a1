"""A real baresip telephone: configured, started, driven by its control port, recording what it hears."""

import json
import shutil
import socket
import subprocess
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from active_call.core.audio import Pcm
from active_call.testing.process import free_port
from tests.interop.certificates import Certificates
from tests.processes import end

MODULES = Path("/usr/lib/baresip/modules")


def installed() -> bool:
    """Whether Debian's baresip-core is here."""
    return shutil.which("baresip") is not None and MODULES.is_dir()


RATES = {"pcmu": 8000, "pcma": 8000, "g722": 16_000, "opus": 48_000}
"""Of the codecs that it can be set to."""
_NAMES = {"opus": "opus/48000/2", "g722": "G722/16000/1"}


@dataclass
class Baresip:
    """One baresip with its own folder, that answers every call. A context manager."""

    folder: Path
    sip_port: int = 0
    codecs: tuple[str, ...] = ("pcmu", "pcma")
    transport: str = "udp"
    """What it calls with, and listens on: udp, tcp or tls."""
    srtp: bool = False
    """Refuse what is not encrypted."""
    certificates: Certificates | None = None
    tone_hz: float = 0.0
    """What it says; 0 is silence."""
    register: str = ""
    """Further account parameters, for a registrar: `auth_pass=…;regint=60`."""
    aor: str = ""
    """Its address, if it is another one than `uri`."""
    host: str = "127.0.0.1"
    interface: str = "127.0.0.1"

    def __enter__(self) -> "Baresip":
        wanted = self.sip_port
        for _ in range(3):
            # A port that was free may be taken before baresip has it.
            self.sip_port = wanted or free_port()
            try:
                self._start()
            except OSError:
                self._end()
            else:
                return self
        raise RuntimeError(f"baresip does not start:\n{(self.folder / 'baresip.log').read_text()}")

    def _start(self) -> None:
        control = free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        rate = RATES[self.codecs[0]]
        channels = 2 if self.codecs[0] == "opus" else 1
        said = self.folder / "said.wav"
        write_tone(said, self.tone_hz, rate, channels)
        settings = {
            "sip_listen": f"{self.host}:{self.sip_port}",
            "net_interface": self.interface,
            "audio_player": f"aubridge,sink{self.sip_port}",
            "audio_source": f"aufile,{said}",
            "audio_alert": f"aubridge,alert{self.sip_port}",
            "ausrc_srate": str(rate),
            "auplay_srate": str(rate),
            "ausrc_channels": str(channels),
            "auplay_channels": str(channels),
            "rtp_ports": "36000-36900",
            "module_path": str(MODULES),
            "snd_path": str(self.folder),
            "ctrl_tcp_listen": f"127.0.0.1:{control}",
        }
        if self.certificates is not None:
            settings["sip_certificate"] = str(self.certificates.combined)
            settings["sip_cafile"] = str(self.certificates.ca)
        modules = ["g711", "g722", "opus", "srtp", "aufile", "aubridge", "sndfile"]
        lines = [f"{key} {value}" for key, value in settings.items()]
        lines += [f"module {name}.so" for name in modules]
        lines += ["module_tmp account.so", "module_app menu.so", "module_app ctrl_tcp.so"]
        (self.folder / "config").write_text("\n".join(lines) + "\n")
        codecs = ",".join(_NAMES.get(name, name) for name in self.codecs)
        (self.folder / "accounts").write_text(
            f"<{self.aor or self.uri}>;answermode=auto;audio_codecs={codecs};dtmfmode=rtpevent;"
            f"{'mediaenc=srtp-mand;' if self.srtp else ''}{self.register or 'regint=0'}\n"
        )
        self._log = (self.folder / "baresip.log").open("wb")
        self._process = subprocess.Popen(
            ["baresip", "-f", str(self.folder)], stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL
        )
        self._control = self._connect(control)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control.close()
        self._end()

    def _end(self) -> None:
        end(self._process)
        self._log.close()

    @property
    def uri(self) -> str:
        port = self.sip_port + (1 if self.transport == "tls" else 0)  # TLS listens beside the others
        suffix = "" if self.transport == "udp" else f";transport={self.transport}"
        return f"sip:probe@{self.host}:{port}{suffix}"

    def _connect(self, port: int) -> socket.socket:
        deadline = time.monotonic() + 5
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), 1)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def command(self, command: str, params: str | None = None) -> None:
        """A menu command: dial, sndcode, hangup."""
        message = json.dumps({"command": command, "params": params, "token": "t"}).encode()
        self._control.sendall(b"%d:%s," % (len(message), message))

    def log(self) -> str:
        return (self.folder / "baresip.log").read_text(errors="replace")

    def wait_for(self, text: str, timeout: float = 10.0) -> None:
        """Until baresip says something. Raises TimeoutError."""
        self.wait_for_count(text, 1, timeout)

    def wait_for_count(self, text: str, count: int, timeout: float = 10.0) -> None:
        """Until baresip has said something so many times. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while self.log().count(text) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f'baresip never said "{text}" {count} times:\n{self.log()[-2000:]}')
            time.sleep(0.05)

    def heard_last(self) -> Pcm:
        """What it heard in the last call, at its codec's rate, channels interleaved."""
        *_, path = sorted(self.folder.glob("dump-*-dec.wav"), key=lambda file: file.stat().st_mtime)
        data = path.read_bytes()
        return np.frombuffer(data[44 : len(data) & ~1], np.int16)

    def heard(self) -> Pcm:
        """The same, of a phone that had just one call."""
        (_,) = self.folder.glob("dump-*-dec.wav")
        return self.heard_last()


def write_tone(path: Path, hz: float, rate: int, channels: int = 1, seconds: int = 30) -> None:
    """A WAV file with a tone, or silence."""
    time_s = np.arange(rate * seconds) / rate
    tone = (8000 * np.sin(2 * np.pi * hz * time_s)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(tone, channels).tobytes())
