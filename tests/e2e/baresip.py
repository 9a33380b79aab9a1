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

MODULES = Path("/usr/lib/baresip/modules")


def installed() -> bool:
    """Whether Debian's baresip-core is here."""
    return shutil.which("baresip") is not None and MODULES.is_dir()


@dataclass
class Baresip:
    """One baresip with its own folder, that answers every call. A context manager."""

    folder: Path
    sip_port: int = 0

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
        control = free_port(socket.SOCK_STREAM)
        self.folder.mkdir(parents=True, exist_ok=True)
        silence = self.folder / "silence.wav"
        with wave.open(str(silence), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(bytes(16_000 * 20))
        settings = {
            "sip_listen": f"127.0.0.1:{self.sip_port}",
            "net_interface": "127.0.0.1",
            "audio_player": f"aubridge,sink{self.sip_port}",
            "audio_source": f"aufile,{silence}",
            "audio_alert": f"aubridge,alert{self.sip_port}",
            "ausrc_srate": "8000",
            "auplay_srate": "8000",
            "ausrc_channels": "1",
            "auplay_channels": "1",
            "rtp_ports": "36000-36900",
            "module_path": str(MODULES),
            "snd_path": str(self.folder),
            "ctrl_tcp_listen": f"127.0.0.1:{control}",
        }
        modules = ["g711", "aufile", "aubridge", "sndfile"]
        lines = [f"{key} {value}" for key, value in settings.items()]
        lines += [f"module {name}.so" for name in modules]
        lines += ["module_tmp account.so", "module_app menu.so", "module_app ctrl_tcp.so"]
        (self.folder / "config").write_text("\n".join(lines) + "\n")
        (self.folder / "accounts").write_text(
            f"<{self.uri}>;regint=0;answermode=auto;audio_codecs=pcmu,pcma;dtmfmode=rtpevent\n"
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
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._log.close()

    @property
    def uri(self) -> str:
        return f"sip:probe@127.0.0.1:{self.sip_port}"

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
        deadline = time.monotonic() + timeout
        while text not in self.log():
            if time.monotonic() > deadline:
                raise TimeoutError(f'baresip never said "{text}":\n{self.log()[-2000:]}')
            time.sleep(0.05)

    def heard(self) -> Pcm:
        """What it decoded from the network, 8 kHz."""
        (path,) = self.folder.glob("dump-*-dec.wav")
        data = path.read_bytes()
        return np.frombuffer(data[44 : len(data) & ~1], np.int16)
