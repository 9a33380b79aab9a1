"""Two lanes of a real media plane, bridged: each peer hears what the other one says, also after a takeover."""

import select
import signal
import time

import numpy as np
import pytest

from active_call.core.audio import Pcm
from active_call.dsp.g711 import G711, MU_LAW
from active_call.dsp.rtp import packet
from active_call.lanes.messages import MixSource, PlanePromoted, SetMix
from tests.e2e.test_plane_process import TICK, Gateway

pytestmark = pytest.mark.e2e

HZ = (500, 1300)
"""What each peer says."""


def said(number: int, hz: int) -> bytes:
    """Packet `number` of a steady tone as G.711 codes."""
    time_ = (number * 160 + np.arange(160)) / 8000
    samples = (8000 * np.sin(2 * np.pi * hz * time_)).astype(np.int16)
    return G711(1, 160).encode(samples[None], np.array([MU_LAW]), np.zeros((1, 160), np.uint8)).tobytes()


def decoded(codes: bytes) -> Pcm:
    samples = np.zeros((1, len(codes)), np.int16)
    G711(1, len(codes)).decode(np.frombuffer(codes, np.uint8)[None], np.array([MU_LAW]), samples)
    return samples.ravel()


def loudest_hz(samples: Pcm) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * 8000 / len(samples))


def talk(gateway: Gateway, first: int, seconds: float) -> tuple[int, list[list[bytes]]]:
    """Let both say their tones for a while. Returns the next packet's number, and what each heard."""
    heard: list[list[bytes]] = [[], []]
    number, start = first, time.monotonic()
    while (now := time.monotonic()) < start + seconds:
        if now >= start + (number - first) * TICK:
            for peer, hz in zip(gateway.peers, HZ, strict=True):
                data = packet(0, number, number * 160, 7, said(number, hz))
                peer.sock.sendto(data, peer.lane.getsockname())
            number += 1
        sockets = [peer.sock for peer in gateway.peers]
        for sock in select.select(sockets, [], [], 0.005)[0]:
            heard[sockets.index(sock)].append(sock.recv(2048)[12:])
    return number, heard


def assert_bridged(heard: list[list[bytes]]) -> None:
    for packets, hz in zip(heard, reversed(HZ), strict=True):
        assert loudest_hz(decoded(b"".join(packets[-20:]))) == pytest.approx(hz, abs=25)


def test_t22_peers_hear_each_other_before_and_after_a_takeover() -> None:
    gateway = Gateway()
    try:
        active = gateway.start()
        spare = gateway.start(spare_of=active)
        gateway.open_lanes(2)
        for process in gateway.processes:
            process.send(SetMix(0, 1, (MixSource(1, 2),)))
            process.send(SetMix(1, 2, (MixSource(0, 1),)))
        number, heard = talk(gateway, 0, 1.2)
        assert_bridged(heard)
        active.child.send_signal(signal.SIGKILL)
        number, heard = talk(gateway, number, 1.2)
        spare.wait_for(PlanePromoted)
        assert_bridged(heard)
        spare.send(SetMix(0, 1, ()))
        _, heard = talk(gateway, number, 0.6)
        assert not decoded(b"".join(heard[0][-10:])).any()
        assert decoded(b"".join(heard[1][-10:])).any()
    finally:
        gateway.close()
