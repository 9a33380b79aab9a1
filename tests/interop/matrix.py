"""Every telephone, transport, encryption, codec and direction: one real call each, heard at both ends."""

import shutil
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from active_call.core.audio import SAMPLE_RATE, Pcm
from active_call.core.errors import ActiveCallError
from active_call.testing.process import GatewayProcess, free_port
from tests.e2e import baresip as baresip_program
from tests.interop import linphone as linphone_program
from tests.interop import peers
from tests.interop.certificates import Certificates, make_certificates
from tests.interop.ourselves import talk_with_ourselves
from tests.interop.peers import Way, tone_share
from tests.interop.rest import post
from tests.interop.sipp import SippPhone

PEERS = ("baresip", "linphone", "SIPp", "active-call")
TRANSPORTS = ("udp", "tcp", "tls")
MEDIA = ("rtp", "srtp")
CODECS = ("pcmu", "pcma", "g722", "opus")
DIRECTIONS = ("inbound", "outbound")

_TALK_SECONDS = 2.5
_AGENT_HZ = 440.0
"""The instant voice's tone."""
_SHARE = 0.8
"""So much of the energy heard must be the tone that was said; the rest is what the codec adds."""
TONE_PLAYBOOK = f"""---
llm: {{provider: scripted}}
greeting: "{"a" * 300}"
tts: {{provider: instant}}
asr: {{provider: instant}}
---
# Scene: main
Say a tone.
"""


@dataclass(frozen=True)
class Cell:
    """One call."""

    peer: str
    transport: str
    media: str
    codec: str
    direction: str

    def __str__(self) -> str:
        return "-".join((self.peer, self.transport, self.media, self.codec, self.direction))

    @property
    def cannot(self) -> str | None:
        """Why the peer can't do this, if it can't."""
        if self.peer == "SIPp" and self.transport == "tls":
            return "Debian's SIPp is built without TLS"
        if self.peer == "SIPp" and self.media == "srtp":
            return "SIPp 3.6 has no SRTP"
        if self.peer == "linphone" and self.transport == "tls" and self.direction == "outbound":
            return "linphone takes no TLS connections; it is called over one that it made to a registrar"
        return None


def cells() -> list[Cell]:
    """The whole matrix."""
    return [Cell(*one) for one in product(PEERS, TRANSPORTS, MEDIA, CODECS, DIRECTIONS)]


def missing(cell: Cell) -> str | None:
    """What must be installed for this cell, if it isn't."""
    if cell.peer == "baresip" and not baresip_program.installed():
        return "baresip (baresip-core)"
    if cell.peer == "linphone" and not linphone_program.installed():
        return "linphone (linphone-cli)"
    if cell.peer == "SIPp" and shutil.which("sipp") is None:
        return "SIPp (sip-tester)"
    return None


class CellFailed(ActiveCallError):
    """The call did not go as it should; the text says where it broke."""


@dataclass
class House:
    """A gateway that talks a tone to everybody, and records."""

    gateway: GatewayProcess
    certificates: Certificates
    tls_port: int
    folder: Path
    calls: int = 0

    def uri(self, transport: str) -> str:
        """Where the gateway is called over `transport`."""
        port = self.tls_port if transport == "tls" else self.gateway.sip_port
        return f"sip:agent@127.0.0.1:{port}" + ("" if transport == "udp" else f";transport={transport}")

    def run(self, cell: Cell) -> None:
        """Make the call. Raises CellFailed, TimeoutError."""
        self.calls = len(self.gateway.records())
        folder = self.folder / str(cell)
        if cell.peer == "SIPp":
            self._echo(cell, folder)
        elif cell.peer == "active-call":
            self._call_ourselves(cell)
        else:
            self._talk(cell, folder)

    def _talk(self, cell: Cell, folder: Path) -> None:
        way = Way(cell.transport, cell.media == "srtp", cell.codec)
        open_peer = peers.baresip if cell.peer == "baresip" else peers.linphone
        with open_peer(folder, way, self.certificates) as peer:
            if cell.direction == "inbound":
                peer.call(self.uri(cell.transport))
            else:
                self.dial(peer.uri, cell)
            time.sleep(_TALK_SECONDS)
            peer.hang_up()
            record = self._record(cell)
            rate, heard = peer.heard()
        self._check_heard(record, peers.PEER_HZ)
        _check_tone("the peer", rate, heard, _AGENT_HZ)

    def _echo(self, cell: Cell, folder: Path) -> None:
        with SippPhone(folder, cell.codec, cell.transport, _TALK_SECONDS) as phone:
            if cell.direction == "inbound":
                phone.call("127.0.0.1", self.gateway.sip_port)
            else:
                phone.answer()
                session = self.dial(phone.uri, cell)
                time.sleep(_TALK_SECONDS)
                post(self.gateway, f"/call/kill/{session}")
            status = phone.wait()
            if status:
                raise CellFailed(f"SIPp ended with {status}: {phone.log()[-500:]}")
        self._check_heard(self._record(cell), _AGENT_HZ)

    def _call_ourselves(self, cell: Cell) -> None:
        heard = talk_with_ourselves(self, cell, _TALK_SECONDS)
        self._check_heard(self._record(cell), peers.PEER_HZ)
        _check_tone("the peer", SAMPLE_RATE, heard, _AGENT_HZ)

    # --- the gateway's side ---------------------------------------------------------------------------

    def dial(self, callee: str, cell: Cell) -> str:
        """Call out, with the option that the cell asks for. Returns the session id."""
        sip = {"enableSrtp": cell.media == "srtp"}
        option = {"callee": callee, "playbook": "tone.md", "sip": sip, "codec": cell.codec}
        return str(post(self.gateway, "/call", option)["session_id"])

    def _record(self, cell: Cell) -> dict[str, Any]:
        record = self.gateway.wait_records(self.calls + 1)[-1]
        if record["statusCode"] != 200:
            raise CellFailed(f"status {record['statusCode']}: {record.get('hangupDetail')}")
        if record["codec"] != cell.codec:
            raise CellFailed(f"codec {record['codec']} instead of {cell.codec}")
        if bool(record.get("srtp")) != (cell.media == "srtp"):
            raise CellFailed(f"SRTP is {record.get('srtp') or 'off'}")
        return record

    def _check_heard(self, record: dict[str, Any], hz: float) -> None:
        with wave.open(str(self.gateway.directory / record["recorder"][0]["path"])) as file:
            rate, frames = file.getframerate(), file.readframes(file.getnframes())
        _check_tone("the gateway", rate, np.frombuffer(frames, np.int16).reshape(-1, 2)[:, 0], hz)


def _check_tone(who: str, rate: int, heard: Pcm, hz: float) -> None:
    middle = heard[rate // 2 : 2 * rate]
    if len(middle) < rate:
        raise CellFailed(f"{who} heard only {len(heard) / rate:.1f} s")
    share = tone_share(rate, middle, hz)
    level = float(np.sqrt(np.mean(middle.astype(np.float64) ** 2)))
    if share < _SHARE or level < 500:
        raise CellFailed(f"{who} heard {share:.0%} of {hz:g} Hz at level {level:.0f}")


@contextmanager
def house(folder: Path) -> Iterator[House]:
    """A gateway with all transports."""
    certificates = make_certificates(folder / "certificates")
    tls_port = free_port()
    config = f"""
tls_port = {tls_port}
tls_cert_file = "{certificates.certificate}"
tls_key_file = "{certificates.key}"
tls_ca_file = "{certificates.ca}"
codecs = ["pcmu", "pcma", "g722", "opus", "telephone_event"]
[recording]
enabled = true
auto_start = true
"""
    with GatewayProcess(folder / "gateway", {"tone.md": TONE_PLAYBOOK}, "tone.md", config=config) as gateway:
        yield House(gateway, certificates, tls_port, folder)


def pairwise(wanted: list[Cell]) -> list[Cell]:
    """A few of `wanted` in which each value of one column still meets each value of every other."""

    def pairs(cell: Cell) -> set[tuple[str, str]]:
        values = [f"{name}={value}" for name, value in vars(cell).items()]
        return {(one, other) for i, one in enumerate(values) for other in values[i + 1 :]}

    open_pairs = set().union(*map(pairs, wanted)) if wanted else set()
    chosen: list[Cell] = []
    while open_pairs:
        best = max(wanted, key=lambda cell: len(pairs(cell) & open_pairs))
        chosen.append(best)
        open_pairs -= pairs(best)
    return chosen
