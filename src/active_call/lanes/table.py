"""The lane table: columns in shared memory that both planes map.

A lane (one leg's media) is a row. Every column has exactly one writing process; readers tolerate a value that
is one tick old. Index columns are written last, after the audio they speak of. The memory is a memfd whose
descriptor is inherited: it has no name to leak and outlives the death of any one process. Untouched rows cost
nothing, because their pages are never faulted in.
"""

import mmap
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_NS
from active_call.lanes.external import IN_BYTES, OUT_BYTES

PLAYBACK_SAMPLES: Final = 32_768
"""Playback ring per lane: 2.048 s at 16 kHz. Positions are taken modulo this."""
PLAYBACK_HIGH_WATER: Final = 24_000
"""The sender keeps at most this much queued: 1.5 s, for as long the control plane may be busy."""
HEARD_SAMPLES: Final = 32_768
"""The `received` and `sent` rings per lane: 2.048 s at 16 kHz, indexed by lane position modulo this."""

_MAGIC: Final = 0x4C41_4E45_0001
_PAGE: Final = 4096

Bytes: TypeAlias = NDArray[np.uint8]
Int16: TypeAlias = NDArray[np.int16]
Int64: TypeAlias = NDArray[np.int64]
Float64: TypeAlias = NDArray[np.float64]

# Words of the header, each an int64.
HEADER = (
    "magic",
    "capacity",
    "epoch_ns",  # C  CLOCK_MONOTONIC at tick 0
    "wall_ns",  # C  Unix time at tick 0
    "tick",  # P  last committed tick; written last in each tick
    "active_pid",  # P
    "highest_row",  # P  rows above are not in the tick
    "ticks",  # P  ticks run since the plane started
    "late_ticks",  # P  ticks whose work ended after the next deadline
    "skipped_ticks",  # P  ticks jumped over after a stall
    "work_ns",  # P  work of the last tick
    "slack_ns",  # P  time left before the deadline when the last tick's packets were ready
    "events_dropped",  # P  events that did not fit into the pipe
    "vad_windows",  # P  windows given to a model
    "vad_gated",  # P  windows that the gate spared
)

# name, dtype, samples per lane (1 = a plain column). C: written by the control plane, P: by the media plane.
COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("generation", "i8", 1),  # C
    ("play_write", "i8", 1),  # C  playback position after the last queued sample
    ("play_flush", "i8", 1),  # C  drop all queued audio before this playback position
    ("flush_fade", "i8", 1),  # C  samples to fade out over; written before play_flush
    ("external_write", "i8", 1),  # C  bytes written to `external_in`
    ("external_chunk", "i8", 1),  # C  bytes that came at once last; these two are written before external_write
    ("external_ns", "i8", 1),  # C  when that was (CLOCK_MONOTONIC)
    ("opened_tick", "i8", 1),  # P  the tick of lane position 0; -1 until the lane is in the tick
    ("play_read", "i8", 1),  # P  playback position of the next sample to send
    ("position", "i8", 1),  # P  lane position after the last tick: samples in `received` and `sent`
    ("tx_sequence", "i8", 1),  # P  extended sequence number of the next packet
    ("tx_timestamp", "i8", 1),  # P  RTP timestamp at lane position 0, by the clock in use
    ("tx_packets", "i8", 1),  # P
    ("tx_octets", "i8", 1),  # P
    ("tx_errors", "i8", 1),  # P  refused or unroutable sends
    ("rx_packets", "i8", 1),  # P  valid RTP packets
    ("rx_octets", "i8", 1),  # P
    ("rx_lost", "i8", 1),  # P  expected minus received (RFC 3550 §A.3)
    ("rx_late", "i8", 1),  # P  arrived after their playout tick
    ("rx_duplicate", "i8", 1),  # P
    ("rx_invalid", "i8", 1),  # P  not RTP, or an unknown payload type
    ("rx_stranger", "i8", 1),  # P  from an address that is not the peer's
    ("srtp_rejected", "i8", 1),  # P  of an encrypted lane: did not authenticate, or came before
    ("srtp_received", "i8", 1),  # P  SRTP index of the newest packet << 32 | its SSRC; 0 before the first
    ("srtcp_sent", "i8", 1),  # P  encrypted reports sent
    ("concealed", "i8", 1),  # P  ticks filled by loss concealment
    ("record_from", "i8", 1),  # P  lane position of the recording's first sample; -1 = not recording
    ("rx_tick", "i8", 1),  # P  tick of the last valid packet; -1 before the first
    ("latched", "i8", 1),  # P  1 once the peer's address is confirmed
    ("delay_ms", "i8", 1),  # P  current jitter delay
    ("jitter_ms", "f8", 1),  # P  interarrival jitter (RFC 3550 §6.4.1)
    ("rtt_ms", "f8", 1),  # P  round trip by RTCP; 0 = unknown
    ("remote_lost", "i8", 1),  # P  cumulative loss the peer reports
    ("remote_jitter_ms", "f8", 1),  # P  interarrival jitter the peer reports
    ("original_kept", "i8", 1),  # P  1 = `original` is written, because `received` has less noise
    ("external_read", "i8", 1),  # P  frames taken from `external_in`, or dropped there
    ("external_dropped", "i8", 1),  # P  frames dropped there
    ("external_sent", "i8", 1),  # P  frames written to `external_out`
    ("sent_from", "i8", 1),  # P  lane position since which `sent` is written without a gap; -1 = it isn't
    ("playback", "i2", PLAYBACK_SAMPLES),  # C
    ("received", "i2", HEARD_SAMPLES),  # P  what the peer said
    ("original", "i2", HEARD_SAMPLES),  # P  the same with its noise, of lanes that are denoised and recorded
    ("sent", "i2", HEARD_SAMPLES),  # P  what the peer was sent, of lanes that are recorded or tapped
    ("external_in", "u1", IN_BYTES),  # C
    ("external_out", "u1", OUT_BYTES),  # P
)


def _aligned(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


@dataclass(frozen=True, slots=True)
class LaneRef:
    """The address of a lane: (plane, row, generation). There is one plane now."""

    row: int
    generation: int
    plane: int = 0


class Table:
    """The mapped table. Plain columns have shape (capacity,), rings (capacity, samples)."""

    generation: Int64
    play_write: Int64
    play_flush: Int64
    flush_fade: Int64
    external_write: Int64
    external_chunk: Int64
    external_ns: Int64
    opened_tick: Int64
    play_read: Int64
    position: Int64
    tx_sequence: Int64
    tx_timestamp: Int64
    tx_packets: Int64
    tx_octets: Int64
    tx_errors: Int64
    rx_packets: Int64
    rx_octets: Int64
    rx_lost: Int64
    rx_late: Int64
    rx_duplicate: Int64
    rx_invalid: Int64
    rx_stranger: Int64
    srtp_rejected: Int64
    srtp_received: Int64
    srtcp_sent: Int64
    concealed: Int64
    record_from: Int64
    rx_tick: Int64
    latched: Int64
    delay_ms: Int64
    jitter_ms: Float64
    rtt_ms: Float64
    remote_lost: Int64
    remote_jitter_ms: Float64
    original_kept: Int64
    external_read: Int64
    external_dropped: Int64
    external_sent: Int64
    sent_from: Int64
    playback: Int16
    received: Int16
    original: Int16
    sent: Int16
    external_in: Bytes
    external_out: Bytes

    def __init__(self, fd: int, capacity: int) -> None:
        self.fd = fd
        self.capacity = capacity
        self._closed: Callable[[], object] | None = None
        """Closes the descriptor, also when a table that was made here is simply dropped."""
        self._map = mmap.mmap(fd, _table_size(capacity))
        self._header: Int64 = np.frombuffer(self._map, np.int64, len(HEADER), 0)
        offset = _PAGE
        for name, dtype, samples in COLUMNS:
            column: NDArray[Any] = np.frombuffer(self._map, dtype, capacity * samples, offset)
            setattr(self, name, column if samples == 1 else column.reshape(capacity, samples))
            offset += _aligned(column.nbytes)

    @classmethod
    def create(cls, capacity: int, *, epoch_ns: int, wall_ns: int) -> "Table":
        """A new table of `capacity` lanes whose tick 0 is at `epoch_ns` (monotonic) = `wall_ns` (Unix)."""
        fd = os.memfd_create("active-call-lanes", os.MFD_CLOEXEC)
        os.ftruncate(fd, _table_size(capacity))
        table = cls(fd, capacity)
        table._closed = weakref.finalize(table, os.close, fd)
        table.opened_tick[:] = -1
        table.rx_tick[:] = -1
        table.record_from[:] = -1
        table.sent_from[:] = -1
        for name, value in (
            ("capacity", capacity),
            ("epoch_ns", epoch_ns),
            ("wall_ns", wall_ns),
            ("tick", -1),
        ):
            table.set(name, value)
        table.set("magic", _MAGIC)
        return table

    @classmethod
    def attach(cls, fd: int) -> "Table":
        """Map a table that another process created. Raises ValueError if the descriptor is not one."""
        header = np.frombuffer(os.pread(fd, 8 * len(HEADER), 0), np.int64)
        if len(header) < 2 or header[0] != _MAGIC:
            raise ValueError("descriptor is not a lane table")
        return cls(fd, int(header[1]))

    def get(self, word: str) -> int:
        """A header word by its name in HEADER."""
        return int(self._header[_WORDS[word]])

    def set(self, word: str, value: int) -> None:
        """Store a header word: one aligned 8-byte store, never torn."""
        self._header[_WORDS[word]] = value

    def tick_ns(self, tick: int) -> int:
        """The deadline of `tick` on CLOCK_MONOTONIC."""
        return self.get("epoch_ns") + tick * TICK_NS

    def tick_wall_ms(self, tick: int) -> int:
        """The deadline of `tick` in Unix milliseconds."""
        return (self.get("wall_ns") + tick * TICK_NS) // 1_000_000

    def close(self) -> None:
        """Unmap and close. Fails silently while views are still held."""
        for name, _, _ in COLUMNS:
            self.__dict__.pop(name, None)
        self.__dict__.pop("_header", None)
        try:
            self._map.close()
        except BufferError:
            pass
        if self._closed is not None:
            self._closed()
        else:
            os.close(self.fd)


_WORDS = {name: index for index, name in enumerate(HEADER)}


def _table_size(capacity: int) -> int:
    return _PAGE + sum(_aligned(np.dtype(dtype).itemsize * samples * capacity) for _, dtype, samples in COLUMNS)
