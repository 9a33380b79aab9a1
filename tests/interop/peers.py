"""The telephones of the matrix, all driven the same way."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from active_call.core.audio import Pcm
from tests.e2e.baresip import RATES, Baresip
from tests.interop.certificates import Certificates
from tests.interop.linphone import Linphone

PEER_HZ = 600.0
"""What a peer says."""


@dataclass(frozen=True)
class Way:
    """How a peer is to talk with us."""

    transport: str
    srtp: bool
    codec: str


class Peer(Protocol):
    """A telephone that says a tone, records what it hears, and answers by itself."""

    uri: str

    def call(self, uri: str) -> None:
        """Dial, and wait until it is answered."""
        ...

    def hang_up(self) -> None: ...

    def heard(self) -> tuple[int, Pcm]:
        """Rate and samples of what it heard, once the call is over."""
        ...


class BaresipPeer:
    def __init__(self, phone: Baresip) -> None:
        self._phone = phone
        self.uri = phone.uri

    def call(self, uri: str) -> None:
        self._phone.command("dial", uri)
        self._phone.wait_for("Call established")

    def hang_up(self) -> None:
        self._phone.command("hangup")

    def heard(self) -> tuple[int, Pcm]:
        codec = self._phone.codecs[0]
        samples = self._phone.heard()
        return RATES[codec], samples[::2] if codec == "opus" else samples


class LinphonePeer:
    def __init__(self, phone: Linphone) -> None:
        self._phone = phone
        self.uri = phone.uri

    def call(self, uri: str) -> None:
        self._phone.command(f"call {uri}")
        self._phone.wait_for("connected.")

    def hang_up(self) -> None:
        self._phone.command("terminate")

    def heard(self) -> tuple[int, Pcm]:
        return self._phone.heard()


@contextmanager
def baresip(folder: Path, way: Way, certificates: Certificates) -> Iterator[Peer]:
    with Baresip(
        folder,
        codecs=(way.codec,),
        transport=way.transport,
        srtp=way.srtp,
        certificates=certificates,
        tone_hz=PEER_HZ,
    ) as phone:
        yield BaresipPeer(phone)


@contextmanager
def linphone(folder: Path, way: Way, certificates: Certificates) -> Iterator[Peer]:
    with Linphone(
        folder,
        codecs=(way.codec,),
        transport=way.transport,
        srtp=way.srtp,
        certificates=certificates,
        tone_hz=PEER_HZ,
    ) as phone:
        yield LinphonePeer(phone)


def tone_share(rate: int, samples: Pcm, hz: float) -> float:
    """The share of the energy that lies within 15 Hz of `hz`."""
    power = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / rate)
    total = float(power[frequencies > 50].sum())
    return float(power[np.abs(frequencies - hz) <= 15].sum()) / total if total else 0.0
