"""A real linphone: linphonec, driven by its prompt, with WAV files for microphone and loudspeaker."""

import os
import shutil
import subprocess
import time
import wave
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from active_call.core.audio import Pcm
from active_call.testing.process import free_port
from tests.e2e.baresip import write_tone
from tests.interop.certificates import Certificates

_CODECS = {
    "opus": ("opus", 48_000),
    "pcmu": ("PCMU", 8000),
    "pcma": ("PCMA", 8000),
    "g722": ("G722", 8000),
    "g729": ("G729", 8000),
    "speex": ("speex", 16_000),
    "speex8": ("speex", 8000),
    "speex32": ("speex", 32_000),
}
_RATES = {"opus": 48_000, "g722": 16_000}


def installed() -> bool:
    """Whether Debian's linphone-cli is here."""
    return shutil.which("linphonec") is not None


@dataclass
class Linphone:
    """One linphone with its own folder, that answers every call. A context manager."""

    folder: Path
    codecs: tuple[str, ...] = ("pcmu", "pcma")
    transport: str = "udp"
    """What others call it with: udp, tcp or tls."""
    srtp: bool = False
    """Refuse what is not encrypted."""
    certificates: Certificates | None = None
    tone_hz: float = 0.0
    """What it says; 0 is silence."""

    def __enter__(self) -> "Linphone":
        self.sip_port, self._tls_port = free_port(), free_port()
        # Absolute, because linphone works where it wants.
        self.folder = self.folder.absolute()
        (self.folder / ".local/share/linphone").mkdir(parents=True, exist_ok=True)
        write_tone(self.folder / "said.wav", self.tone_hz, _RATES.get(self.codecs[0], 8000))
        (self.folder / "rc").write_text(self._settings())
        self._log = (self.folder / "linphone.out").open("wb")
        self._process = subprocess.Popen(
            ["linphonec", "-a", "-c", "rc", "-b", "rc", "-d", "6", "-l", "linphone.log"],
            cwd=self.folder,
            env=os.environ | {"HOME": str(self.folder)},
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
        )
        self.command("soundcard use files")
        self.command(f"record {self.folder}/heard.wav")
        self.command(f"play {self.folder}/said.wav")
        self._wait_for_file("linphone.log", "transport=TLS]", 10.0)  # the last of its listening points
        self.wait_for("play /")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.command("quit")
            self._process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait(5)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._log.close()

    def _settings(self) -> str:
        sip = {
            "sip_port": self.sip_port,
            "sip_tcp_port": self.sip_port,
            "sip_tls_port": self._tls_port,
            "contact": "sip:probe@127.0.0.1",
            "use_ipv6": 0,
            "guess_hostname": 0,
            "auto_net_state_mon": 0,
            "media_encryption": "srtp" if self.srtp else "none",
            "media_encryption_mandatory": int(self.srtp),
        }
        if self.certificates is not None:
            sip["root_ca"] = self.certificates.ca
            sip["verify_server_cn"] = 0  # it compares host names only, and we are an address
            sip["client_cert_chain"] = self.certificates.certificate
            sip["client_cert_key"] = self.certificates.key
        ports = free_port() // 100 * 100
        lines = ["[sip]", *(f"{key}={value}" for key, value in sip.items())]
        lines += ["[net]", "firewall_policy=0"]
        lines += ["[rtp]", f"audio_rtp_port={ports}-{ports + 98}"]
        lines += ["[sound]", "echocancellation=0"]
        for number, name in enumerate((*self.codecs, *(set(_CODECS) - set(self.codecs)))):
            mime, rate = _CODECS[name]
            lines += [f"[audio_codec_{number}]", f"mime={mime}", f"rate={rate}"]
            lines += ["channels=2" if name == "opus" else "channels=1", f"enabled={int(name in self.codecs)}"]
        return "\n".join(lines) + "\n"

    @property
    def uri(self) -> str:
        port = self._tls_port if self.transport == "tls" else self.sip_port
        suffix = "" if self.transport == "udp" else f";transport={self.transport}"
        return f"sip:probe@127.0.0.1:{port}{suffix}"

    def command(self, line: str) -> None:
        """A line at its prompt: call, terminate."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def log(self) -> str:
        return (self.folder / "linphone.out").read_text(errors="replace")

    def wait_for(self, text: str, timeout: float = 10.0) -> None:
        """Until linphone says something. Raises TimeoutError."""
        self._wait_for_file("linphone.out", text, timeout)

    def _wait_for_file(self, name: str, text: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        path = self.folder / name
        while not path.exists() or text not in path.read_text(errors="replace"):
            if time.monotonic() > deadline:
                raise TimeoutError(f'linphone never said "{text}":\n{self.log()[-2000:]}')
            time.sleep(0.05)

    def heard(self) -> tuple[int, Pcm]:
        """Rate, and what it decoded from the network."""
        with wave.open(str(self.folder / "heard.wav")) as file:
            return file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), np.int16)
