"""The media plane as a real process, on loopback, in real time."""

import array
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from active_call.dsp.rtp import packet
from active_call.lanes.messages import (
    PCMU,
    ConfigureLane,
    ControlMessage,
    OpenLane,
    PlaneEvent,
    PlanePromoted,
    PlaneReady,
    SrtpKeys,
    SrtpSuite,
    decode_events,
    encode_controls,
)
from active_call.lanes.table import Table
from active_call.plane.srtp import SrtpReceiver, SrtpSender

pytestmark = pytest.mark.e2e

LANES = 3
TICK = 0.02


@dataclass
class Process:
    child: subprocess.Popen[bytes]
    pipe: socket.socket
    events: list[PlaneEvent] = field(default_factory=list)

    def send(self, message: ControlMessage, fds: tuple[int, ...] = ()) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.pipe.sendmsg([encode_controls([message])], rights)

    def wait_for(self, kind: type[PlaneEvent], seconds: float = 5.0) -> PlaneEvent:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for event in self.events:
                if isinstance(event, kind):
                    return event
            if select.select([self.pipe], [], [], 0.1)[0]:
                self.events += decode_events(self.pipe.recv(1 << 18))
        raise AssertionError(f"no {kind.__name__}")


@dataclass
class Peer:
    """A caller that hears and, by its own clock, talks."""

    sock: socket.socket
    lane: socket.socket
    heard: list[tuple[float, int, int]] = field(default_factory=list)
    """Arrival, sequence, timestamp."""
    talked: int = 65_520
    sender: SrtpSender | None = None
    receiver: SrtpReceiver | None = None

    def talk(self) -> None:
        data: bytes | None = packet(0, self.talked, self.talked * 160, 7, bytes(160))
        if self.sender is not None:
            data = self.sender.protect(data or b"")
        assert data is not None
        self.sock.sendto(data, self.lane.getsockname())
        self.talked += 1

    def hear(self) -> None:
        data: bytes | None = self.sock.recv(2048)
        if self.receiver is not None:
            data = self.receiver.unprotect(data or b"")
        assert data is not None, "not encrypted with our key"
        sequence, timestamp = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big")
        self.heard.append((time.monotonic(), sequence, timestamp))


class Gateway:
    """The control plane's end of everything."""

    def __init__(self) -> None:
        self.table = Table.create(64, epoch_ns=time.monotonic_ns(), wall_ns=time.time_ns())
        self.processes: list[Process] = []
        self.peers: list[Peer] = []

    def start(self, spare_of: Process | None = None) -> Process:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = (self.table.fd, theirs.fileno())
        command = [sys.executable, "-m", "active_call.plane", "--table", str(fds[0]), "--pipe", str(fds[1])]
        if spare_of:
            command += ["--spare-of", str(spare_of.child.pid)]
        process = Process(subprocess.Popen(command, pass_fds=fds), ours)
        theirs.close()
        self.processes.append(process)
        process.wait_for(PlaneReady)
        return process

    def open_lanes(self, count: int, srtp: SrtpKeys | None = None) -> None:
        for row in range(count):
            rtp, rtcp, sock = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3))
            for each in (rtp, rtcp, sock):
                each.bind(("127.0.0.1", 0))
                each.setblocking(False)
            self.table.generation[row] = row + 1
            opened = OpenLane(row, row + 1, 1000 + row, 65_530, 2**32 - 800, "test")
            configured = ConfigureLane(row, row + 1, PCMU, (PCMU,), None, sock.getsockname(), None, srtp=srtp)
            for process in self.processes:
                process.send(opened, (rtp.fileno(), rtcp.fileno()))
                process.send(configured)
            rtcp.close()
            peer = Peer(sock, rtp)
            if srtp is not None:
                peer.sender = SrtpSender(srtp.suite, srtp.receive, 7)
                peer.receiver = SrtpReceiver(srtp.suite, srtp.send)
            self.peers.append(peer)

    def run(self, seconds: float) -> None:
        """Let the peers talk and hear for a while."""
        end = time.monotonic() + seconds
        next_packet = time.monotonic()
        while (now := time.monotonic()) < end:
            if now >= next_packet:
                next_packet += TICK
                for peer in self.peers:
                    peer.talk()
            for sock in select.select([p.sock for p in self.peers], [], [], max(0.0, next_packet - now))[0]:
                next(peer for peer in self.peers if peer.sock is sock).hear()

    def close(self) -> None:
        for process in self.processes:
            process.pipe.close()
            process.child.kill()
            process.child.wait()
        for peer in self.peers:
            peer.sock.close()
            peer.lane.close()
        self.table.close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.close()


def steps(numbers: list[int], modulus: int) -> list[int]:
    return [(b - a) % modulus for a, b in zip(numbers, numbers[1:], strict=False)]


def test_three_lanes_are_served_every_20_ms(gateway: Gateway) -> None:
    process = gateway.start()
    gateway.open_lanes(LANES)
    gateway.run(0.8)
    for row, peer in enumerate(gateway.peers):
        times, sequences, timestamps = zip(*peer.heard, strict=True)
        assert len(peer.heard) >= 36
        assert set(steps(list(sequences), 1 << 16)) == {1}
        assert set(steps(list(timestamps), 1 << 32)) == {160}
        assert abs(np.median(np.diff(times)) - TICK) < 0.002
        assert gateway.table.rx_packets[row] >= 36
        assert gateway.table.latched[row] == 1
    assert process.child.poll() is None


def test_a_warm_spare_goes_on_when_the_active_process_is_killed(gateway: Gateway) -> None:
    active = gateway.start()
    spare = gateway.start(spare_of=active)
    gateway.open_lanes(LANES)
    gateway.run(0.5)
    os.kill(active.child.pid, signal.SIGKILL)
    gateway.run(0.5)
    promoted = spare.wait_for(PlanePromoted)
    assert isinstance(promoted, PlanePromoted)
    assert promoted.first_tick - promoted.last_tick <= 3
    for row, peer in enumerate(gateway.peers):
        times, sequences, timestamps = zip(*peer.heard, strict=True)
        assert np.diff(times).max() <= 0.060
        assert sorted(steps(list(sequences), 1 << 16))[-1] <= 2
        assert set(steps(list(timestamps), 1 << 32)) <= {160, 320, 480}
        assert gateway.table.rx_lost[row] <= 1


@pytest.mark.parametrize(("suite", "size"), [("AES_CM_128_HMAC_SHA1_80", 30), ("AEAD_AES_256_GCM", 44)])
def test_encrypted_lanes_survive_the_death_of_the_process(
    gateway: Gateway, suite: SrtpSuite, size: int
) -> None:
    """Sequence numbers roll over before it, in both directions, so the rollover counters must survive too."""
    active = gateway.start()
    spare = gateway.start(spare_of=active)
    gateway.open_lanes(LANES, SrtpKeys(suite, os.urandom(size), os.urandom(size)))
    gateway.run(0.6)
    os.kill(active.child.pid, signal.SIGKILL)
    gateway.run(0.6)
    assert isinstance(spare.wait_for(PlanePromoted), PlanePromoted)
    for row, peer in enumerate(gateway.peers):
        times, sequences, _ = zip(*peer.heard, strict=True)
        assert sequences[0] > 65_000 > 1_000 > sequences[-1]
        assert np.diff(times).max() <= 0.060
        assert sorted(steps(list(sequences), 1 << 16))[-1] <= 2
        assert gateway.table.rx_packets[row] >= peer.talked - 65_520 - 2
        assert gateway.table.srtp_rejected[row] == 0
        assert gateway.table.srtp_received[row] >> 32 > 65_536


def test_a_hanging_process_is_replaced(gateway: Gateway) -> None:
    active = gateway.start()
    spare = gateway.start(spare_of=active)
    gateway.open_lanes(1)
    gateway.run(0.2)
    os.kill(active.child.pid, signal.SIGSTOP)
    gateway.run(0.4)
    assert isinstance(spare.wait_for(PlanePromoted), PlanePromoted)
    assert active.child.wait(1.0) == -signal.SIGKILL
    assert gateway.table.get("active_pid") == spare.child.pid
    times = [time for time, _, _ in gateway.peers[0].heard]
    assert np.diff(times).max() <= 0.3


def test_all_processes_exit_when_the_control_plane_dies(gateway: Gateway) -> None:
    active = gateway.start()
    spare = gateway.start(spare_of=active)
    gateway.open_lanes(1)
    for process in (active, spare):
        process.pipe.close()
    assert active.child.wait(1.0) == 0
    assert spare.child.wait(1.0) == 0
