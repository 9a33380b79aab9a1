"""The control plane's ends of an external lane's rings (see lanes.external)."""

from active_call.lanes.external import IN_FRAMES, OUT_FRAMES, ExternalCodec, frame_bytes
from active_call.lanes.table import Table


class ExternalAudio:
    """Bytes of the peer into `external_in`, frames for the peer out of `external_out`."""

    def __init__(self, table: Table, row: int, codec: ExternalCodec, rate_hz: int) -> None:
        self.missed = 0
        """Frames for the peer that were overwritten before they were fetched."""
        self._table = table
        self._row = row
        self._frame_bytes = frame_bytes(codec, rate_hz)
        self._in_bytes = IN_FRAMES * self._frame_bytes
        self._incoming = memoryview(table.external_in[row])
        self._outgoing = memoryview(table.external_out[row])
        self._written = 0
        self._fetched = 0

    def feed(self, data: bytes, now_ns: int) -> None:
        """Any number of bytes, at that moment; of more than the ring holds the last are kept."""
        size, length = self._in_bytes, len(data)
        start, end = self._written, self._written + length
        if length > size:
            data, start = data[-size:], end - size
        place = start % size
        first = min(size - place, end - start)
        self._incoming[place : place + first] = data[:first]
        if first < end - start:
            self._incoming[: end - start - first] = data[first:]
        self._written = end
        self._table.external_chunk[self._row] = length
        self._table.external_ns[self._row] = now_ns
        self._table.external_write[self._row] = end

    def fetch(self) -> list[bytes]:
        """The frames that have become ready since the last call, 20 ms each."""
        sent = int(self._table.external_sent[self._row])
        # The media plane may be writing the slot of the oldest just now.
        first = max(self._fetched, sent - OUT_FRAMES + 1)
        self.missed += first - self._fetched
        self._fetched = sent
        size = self._frame_bytes
        places = ((number % OUT_FRAMES) * size for number in range(first, sent))
        return [bytes(self._outgoing[place : place + size]) for place in places]
