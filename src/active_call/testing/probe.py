"""A telephone that measures: one raw RTP socket, every packet noted with the kernel's receive time.

Unlike the phones of `testing.caller` it has no jitter buffer and no clock of its own between the wire and the
notes, so that send clocks, gaps, barge-in and turn times are what the network saw. Runs in a thread.
"""

import select
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_NS, Pcm
from active_call.dsp.g711 import G711, MU_LAW

_SO_TIMESTAMPNS = 35
_ANCILLARY = socket.CMSG_SPACE(16)
_SILENCE = b"\xff" * 160
_AUDIBLE_RMS = 120.0


_DECODED = G711(1, 256).decode(
    np.arange(256, dtype=np.uint8)[None], np.array([MU_LAW]), np.empty((1, 256), np.int16)
)[0]


def _encoded(pcm: Pcm) -> bytes:
    samples: NDArray[np.int16] = np.concatenate((pcm, np.zeros(len(pcm) % 2, np.int16)))[None]
    codes = G711(1, samples.shape[1]).encode(samples, np.array([MU_LAW]), np.empty(samples.shape, np.uint8))
    return codes.tobytes()


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet as received; `time_ns` is the kernel's, since the Unix epoch."""

    time_ns: int
    sequence: int
    timestamp: int
    payload_type: int
    payload: bytes

    @property
    def rms(self) -> float:
        """Loudness of a µ-law payload, in 16-bit sample units."""
        samples = _DECODED[np.frombuffer(self.payload, np.uint8)].astype(np.float64)
        return float(np.sqrt((samples * samples).mean())) if len(samples) else 0.0

    @property
    def audible(self) -> bool:
        return self.rms > _AUDIBLE_RMS


@dataclass(eq=False)
class Probe:
    """One measured audio path, µ-law. Start it, put `port` into an offer, and set `remote` when answered."""

    host: str = "127.0.0.1"
    packets: list[Packet] = field(default_factory=list)
    said: list[tuple[int, int]] = field(default_factory=list)
    """(Unix ns of the first packet, Unix ns of the last packet) of each thing said."""
    remote: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind((self.host, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.port: int = self._socket.getsockname()[1]
        self._queue: deque[tuple[bytes, int]] = deque()
        self._quit = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)

    def start(self) -> None:
        """Begin to send (silence, until something is said) and to note what comes."""
        self._thread.start()

    def say(self, pcm_8k: Pcm) -> None:
        """Queue 8 kHz samples; `said` gets an entry when they are all sent."""
        data = _encoded(pcm_8k)
        pieces = [data[at : at + 160].ljust(160, b"\xff") for at in range(0, len(data), 160)]
        self._queue.extend((piece, 1 if i == 0 else 0) for i, piece in enumerate(pieces[:-1]))
        self._queue.append((pieces[-1], 2 if len(pieces) > 1 else 3))

    def close(self) -> None:
        """Stop the thread and drop the socket."""
        self._quit.set()
        self._thread.join(2.0)
        self._socket.close()

    def _run(self) -> None:
        sequence, timestamp, began = 1, 0, 0
        deadline = time.monotonic_ns()
        while not self._quit.is_set():
            wait = (deadline - time.monotonic_ns()) / 1e9
            if wait > 0 and select.select([self._socket], [], [], wait)[0]:
                self._drain()
                continue
            deadline += TICK_NS
            if self.remote is None:
                continue
            payload, edge = self._queue.popleft() if self._queue else (_SILENCE, 0)
            header = struct.pack("!BBHII", 0x80, 0, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 0x50524F42)
            now = time.time_ns()
            try:
                self._socket.sendto(header + payload, self.remote)
            except OSError:
                pass
            if edge & 1:
                began = now
            if edge & 2:
                self.said.append((began, now))
            sequence += 1
            timestamp += 160

    def _drain(self) -> None:
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(2048, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                continue
            if len(data) < 12 or 192 <= data[1] <= 223:
                continue  # RTCP (RFC 5761 §4), of a call that has the port below
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
            _, kind, sequence, timestamp, _ = struct.unpack_from("!BBHII", data)
            self.packets.append(
                Packet(seconds * 1_000_000_000 + nanoseconds, sequence, timestamp, kind & 0x7F, data[12:])
            )

    # --- reading the notes ----------------------------------------------------------------------------

    def clock_deviations_ms(self, since_ns: int = 0, until_ns: int = 1 << 63) -> list[float]:
        """Each packet's distance from this lane's own 20 ms grid (the median of all phases)."""
        packets = [packet for packet in self.packets if since_ns <= packet.time_ns <= until_ns]
        if len(packets) < 2:
            return []
        first = packets[0]
        # Timestamps advance by 160 per 20 ms: what remains is the phase.
        phases = np.array(
            [
                p.time_ns - first.time_ns - ((p.timestamp - first.timestamp) & 0xFFFFFFFF) * 125_000
                for p in packets
            ],
            np.float64,
        )
        return [float(value) for value in (phases - np.median(phases)) / 1e6]

    def first_audible_after(self, time_ns: int) -> Packet | None:
        """The first packet with sound in it that arrived after a moment."""
        return next((p for p in self.packets if p.time_ns > time_ns and p.audible), None)

    def last_audible_before_silence(self, time_ns: int, quiet_packets: int = 10) -> Packet | None:
        """The last packet with sound before the first stretch of silence that began after a moment."""
        last: Packet | None = None
        quiet = 0
        for packet in self.packets:
            if packet.time_ns <= time_ns:
                if packet.audible:
                    last = packet
                continue
            if packet.audible:
                last, quiet = packet, 0
            else:
                quiet += 1
                if quiet >= quiet_packets:
                    return last
        return None
