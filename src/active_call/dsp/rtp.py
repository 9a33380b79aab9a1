"""RTP (RFC 3550 §5.1) for many packets at once: header fields are columns over a matrix of packets.

The first four bytes of each row of a matrix are not part of the packet, so that the payload after the plain
12-byte header is aligned to eight bytes.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

HEADER: Final = 12
FRAME: Final = 160
"""G.711 codes in 20 ms."""
HALF_FRAME: Final = FRAME // 2
"""10 ms."""
MAX_PAYLOAD: Final = 1280
"""160 ms of G.711, 40 ms of L16 at 16 kHz, and all of Opus; a longer packet counts as invalid."""
MOST_HANDLES: Final = 10
"""A packet is heard up to 100 ms."""

_PAD = 4
_PAYLOAD = _PAD + HEADER
_RECEIVE_BYTES = HEADER + MAX_PAYLOAD + 80
_RECEIVE_ROW = _PAD + _RECEIVE_BYTES
_SEND_ROW = _PAYLOAD + FRAME
_FRAME_ITEM = np.dtype((np.void, FRAME))


@dataclass(slots=True)
class Packets:
    """The headers of n packets; each field has shape (n,)."""

    valid: NDArray[np.bool_]
    """Version 2 and long enough."""
    rtcp: NDArray[np.bool_]
    """RTCP that came to the RTP port (RFC 5761 §4)."""
    payload_type: Int64
    sequence: Int64
    timestamp: Int64
    ssrc: Int64
    length: Int64
    """Bytes of payload, without padding."""


class PacketMatrix:
    """Memory that up to `count` packets are received into: `views[i]` is where packet i goes."""

    def __init__(self, count: int) -> None:
        self._bytes = np.zeros((count, _RECEIVE_ROW), np.uint8)
        self.views = [row.data[_PAD:] for row in self._bytes]
        self._first = self._bytes[:, _PAD]
        self._second = self._bytes[:, _PAD + 1]
        self._sequence = self._field(">u2", _PAD + 2)
        self._timestamp = self._field(">u4", _PAD + 4)
        self._ssrc = self._field(">u4", _PAD + 8)
        self.payload = self._bytes[:, _PAYLOAD : _PAYLOAD + MAX_PAYLOAD]
        """The payloads, shape (count, 1280), once `parse` has moved those that don't start at byte 12."""
        self.frames = self._field(_FRAME_ITEM, _PAYLOAD)
        """The first 160 bytes of each payload as one item, shape (count,)."""
        self.handles: NDArray[np.uint64] = self.payload.view(np.uint64)[:, : MOST_HANDLES * 10 : 10]
        """The first eight bytes of each 80 of a payload, shape (count, 10): see dsp.jitter."""

    def _field(self, dtype: object, offset: int) -> NDArray[np.generic]:
        return np.ndarray((len(self._bytes),), np.dtype(dtype), self._bytes.data, offset, (_RECEIVE_ROW,))  # type: ignore[call-overload]

    def parse(self, lengths: Int64) -> Packets:
        """Read the headers of the first n packets, of `lengths` (n,) bytes each."""
        count = len(lengths)
        first, second = self._first[:count], self._second[:count]
        length = lengths - HEADER
        valid = ((first & 0xC0) == 0x80) & (length >= 0) & (length <= MAX_PAYLOAD)
        rtcp = valid & (second >= 192) & (second <= 223)
        if (first & 0x3F).any():
            self._strip((first & 0x3F).astype(np.uint8), length, valid & ~rtcp)
            valid &= length >= 0
        return Packets(
            valid & ~rtcp,
            rtcp,
            (second & 0x7F).astype(np.int64),
            self._sequence[:count].astype(np.int64),
            self._timestamp[:count].astype(np.int64),
            self._ssrc[:count].astype(np.int64),
            length,
        )

    def _strip(self, flags: NDArray[np.uint8], length: Int64, valid: NDArray[np.bool_]) -> None:
        """Cut padding, skip CSRCs and extension; `length` becomes negative where they exceed the packet."""
        for index in np.flatnonzero((flags != 0) & valid):
            row, size = self._bytes[index, _PAYLOAD:], int(length[index])
            skip = 4 * int(flags[index] & 0x0F)
            if flags[index] & 0x10:
                words = int.from_bytes(row[skip + 2 : skip + 4].tobytes(), "big") if skip + 4 <= size else size
                skip += 4 + 4 * words
            if flags[index] & 0x20 and size > 0:
                size -= int(row[size - 1])
            length[index] = size - skip
            if skip and skip < size:
                row[: size - skip] = row[skip:size].copy()


class SendMatrix:
    """A packet of 20 ms of G.711 per lane: `views[row]` is that of a lane, header included."""

    def __init__(self, capacity: int) -> None:
        self._bytes = np.zeros((capacity, _SEND_ROW), np.uint8)
        self._second = self._bytes[:, _PAD + 1]
        self._payload_type = np.zeros(capacity, np.uint8)
        self._sequence = self._field(">u2", _PAD + 2)
        self._timestamp = self._field(">u4", _PAD + 4)
        self._ssrc = self._field(">u4", _PAD + 8)
        self._frames = self._field(_FRAME_ITEM, _PAYLOAD)
        self.views = [row.data[_PAD:] for row in self._bytes]
        self._bytes[:, _PAD] = 0x80

    def _field(self, dtype: object, offset: int) -> NDArray[np.generic]:
        return np.ndarray((len(self._bytes),), np.dtype(dtype), self._bytes.data, offset, (_SEND_ROW,))  # type: ignore[call-overload]

    def set_stream(self, row: int, ssrc: int, payload_type: int) -> None:
        """What stays the same from packet to packet."""
        self._ssrc[row] = ssrc
        self._payload_type[row] = payload_type

    def set_frames(self, rows: Int64, codes: NDArray[np.uint8]) -> None:
        """Put G.711 codes (n, 160), contiguous, into the packets of `rows` (n,)."""
        self._frames[rows] = codes.view(_FRAME_ITEM)[:, 0]

    def set_numbers(self, rows: Int64, sequence: Int64, timestamp: Int64, marker: NDArray[np.bool_]) -> None:
        """Sequence numbers and timestamps, taken modulo 2^16 and 2^32, and marker bits, (n,) each."""
        self._second[rows] = self._payload_type[rows] | marker.astype(np.uint8) << 7
        self._sequence[rows] = sequence & 0xFFFF
        self._timestamp[rows] = timestamp & 0xFFFF_FFFF


def packet(
    payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, *, marker: bool = False
) -> bytes:
    """One packet by itself."""
    return b"".join(
        (
            bytes((0x80, payload_type | (0x80 if marker else 0))),
            (sequence & 0xFFFF).to_bytes(2, "big"),
            (timestamp & 0xFFFF_FFFF).to_bytes(4, "big"),
            ssrc.to_bytes(4, "big"),
            payload,
        )
    )
