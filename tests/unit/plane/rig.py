"""A MediaTick without sockets: packets are queued, ticks are run one by one."""

from collections import deque
from collections.abc import Callable, Container
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import Pcm
from active_call.dsp.coders import make_encoder
from active_call.dsp.rtp import packet
from active_call.lanes.external import IN_FRAMES, OUT_FRAMES, ExternalCodec, frame_bytes
from active_call.lanes.messages import (
    PCMU,
    TELEPHONE_EVENT,
    AdjustLane,
    ConfigureLane,
    ConfigureVad,
    OpenExternal,
    OpenLane,
    PlaneEvent,
    RecordingClosed,
    RtpFormat,
    SpeechEnded,
    SpeechStarted,
)
from active_call.lanes.ring import ring_read, ring_write
from active_call.lanes.table import Table
from active_call.plane.orders import Order
from active_call.plane.peers import Address, Connect
from active_call.plane.tick import MediaTick

E = TypeVar("E")

REMOTE = ("192.0.2.7", 4000)


class FakeVad:
    """Remembers what it was fed."""

    def __init__(self) -> None:
        self.fed: list[tuple[list[int], list[int], int]] = []
        self.heard: Callable[[Pcm], None] | None = None

    def configure(self, row: int, message: ConfigureVad, position: int) -> None:
        pass

    def remove(self, row: int) -> None:
        pass

    def feed(self, rows: NDArray[np.int64], audio: Pcm, positions: NDArray[np.int64], tick: int) -> None:
        assert audio.shape == (len(rows), 160)
        self.fed.append((rows.tolist(), positions.tolist(), tick))
        if self.heard:
            self.heard(audio.copy())

    def collect(self, tick: int) -> list[SpeechStarted | SpeechEnded]:
        return []

    def counters(self) -> tuple[int, int]:
        return 3, 4


class FakeRecorder:
    """Remembers when it was started and stopped."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    def start(self, row: int, generation: int, path: str, rate_hz: int, flush_ms: int, position: int) -> None:
        self.calls.append(("start", row, position))

    def stop(self, row: int, position: int) -> None:
        self.calls.append(("stop", row, position))

    def advance(self, tick: int) -> None:
        pass

    def collect(self, tick: int) -> list[RecordingClosed]:
        return []


class Rig:
    """One process's tick over a table; `take_over` makes the next process."""

    def __init__(self, table: Table | None = None, *, active: bool = True) -> None:
        self.table = table or Table.create(1024, epoch_ns=0, wall_ns=1_700_000_000_000_000_000)
        self.vad = FakeVad()
        self.recorder = FakeRecorder()
        self.media = MediaTick(self.table, self.vad, self.recorder, active=active)
        self.waiting: dict[int, deque[tuple[bytes, Address | None]]] = {}
        self.events: list[PlaneEvent] = []
        self.orders: list[Order] = []
        self.frame_bytes: dict[int, int] = {}
        self.wire: dict[int, list[bytes]] = {}
        """All packets sent by row."""

    def open(self, row: int = 0, **settings: object) -> None:
        """A fresh lane, configured, and connected to REMOTE unless latching is tried out."""
        self.table.opened_tick[row] = -1
        self.table.play_write[row] = self.table.play_read[row] = self.table.play_flush[row] = 0
        self.table.generation[row] += 1
        self.tell(row, **settings)

    def tell(self, row: int = 0, **settings: object) -> None:
        """What the control plane says (again) about an open lane."""
        generation = int(self.table.generation[row])
        self.media.apply(OpenLane(row, generation, 500 + row, 65_530, 2**32 - 800, "cname"))
        self.configure(row, **settings)
        self.media.apply(AdjustLane(row, generation, tapped=True))  # so that `sent` tells

    def open_external(self, row: int = 0, codec: ExternalCodec = "pcm", rate_hz: int = 16_000) -> None:
        """A fresh lane without sockets."""
        table = self.table
        table.opened_tick[row] = -1
        table.play_write[row] = table.play_read[row] = table.play_flush[row] = 0
        table.external_write[row] = table.external_chunk[row] = table.external_sent[row] = 0
        table.generation[row] += 1
        self.tell_external(row, codec, rate_hz)

    def tell_external(self, row: int = 0, codec: ExternalCodec = "pcm", rate_hz: int = 16_000) -> None:
        """What the control plane says (again) about an open external lane."""
        generation = int(self.table.generation[row])
        self.media.apply(OpenExternal(row, generation, codec, rate_hz))
        self.media.apply(AdjustLane(row, generation, tapped=True))
        self.frame_bytes[row] = frame_bytes(codec, rate_hz)

    def feed(self, data: bytes, row: int = 0, *, early_ms: float = 10.0) -> None:
        """What the peer of an external lane sends at once, so long before the next tick."""
        size, written = self.frame_bytes[row] * IN_FRAMES, int(self.table.external_write[row])
        places = np.arange(written, written + len(data)) % size
        self.table.external_in[row, places] = np.frombuffer(data, np.uint8)
        self.table.external_chunk[row] = len(data)
        self.table.external_ns[row] = self.table.tick_ns(self.media.next_tick) - int(early_ms * 1e6)
        self.table.external_write[row] = written + len(data)

    def delivered(self, row: int = 0) -> bytes:
        """The last frame for the peer of an external lane."""
        size, number = self.frame_bytes[row], int(self.table.external_sent[row]) - 1
        start = number % OUT_FRAMES * size
        return self.table.external_out[row, start : start + size].tobytes()

    def configure(self, row: int = 0, **settings: object) -> None:
        fields: dict[str, object] = {
            "sends": PCMU,
            "receives": (settings.get("sends", PCMU), TELEPHONE_EVENT),
            "sends_events": TELEPHONE_EVENT,
        }
        fields |= {"remote": REMOTE, "remote_rtcp": None, "latching": False} | settings
        generation = int(self.table.generation[row])
        self.media.apply(ConfigureLane(row, generation, **fields))  # type: ignore[arg-type]

    def watch(self, row: int = 0) -> None:
        """Ask for detection of speech."""
        self.media.apply(ConfigureVad(row, int(self.table.generation[row]), "energy"))

    def arrive(self, data: bytes, row: int = 0, source: Address | None = None) -> None:
        self.waiting.setdefault(row, deque()).append((data, source))

    def say(self, number: int, codes: bytes, row: int = 0, *, ssrc: int = 9, frame: int = 160) -> None:
        """Packet `number` of a peer's stream, with timestamps to match."""
        self.arrive(packet(0, number, number * frame, ssrc, codes), row)

    def tick(self) -> dict[int, bytes]:
        """Run the next tick. Returns the packets sent by row."""
        self.prepare()
        return self.finish()

    def prepare(self) -> None:
        media, tick = self.media, self.media.next_tick
        while any(self.waiting.values()):
            rows = [row for row, queue in self.waiting.items() if queue]
            lengths, sources = [], {}
            for index, row in enumerate(rows):
                data, source = self.waiting[row].popleft()
                media.reception.incoming.views[index][: len(data)] = data
                lengths.append(len(data))
                if source:
                    sources[index] = source
            media.reception.receive(tick, np.array(rows), np.array(lengths), sources)
            self.orders += media.take_orders()
        media.prepare(tick)

    def finish(self) -> dict[int, bytes]:
        media = self.media
        media.settle()
        media.commit()
        out = media.transmission
        sent = {row: bytes(out.views.get(row) or out.packets.views[row]) for row in out.rows}
        for row, data in [*sent.items(), *out.more]:
            self.wire.setdefault(row, []).append(data)
        media.deliver()
        media.finish()
        self.orders += media.take_orders()
        self.events += media.take_events()
        return sent

    def ticks(self, count: int) -> list[dict[int, bytes]]:
        return [self.tick() for _ in range(count)]

    def play(self, samples: Pcm, row: int = 0) -> None:
        ring_write(self.table.playback[row], int(self.table.play_write[row]), samples)
        self.table.play_write[row] += len(samples)

    def flush(self, fade: int = 320, row: int = 0) -> None:
        self.table.flush_fade[row] = fade
        self.table.play_flush[row] = self.table.play_write[row]

    def sent(self, ticks: int, row: int = 0) -> Pcm:
        """What the `sent` ring has of the last `ticks` ticks."""
        return ring_read(self.table.sent[row], int(self.table.position[row]) - 320 * ticks, 320 * ticks)

    def heard(self, ticks: int, row: int = 0) -> Pcm:
        return ring_read(self.table.received[row], int(self.table.position[row]) - 320 * ticks, 320 * ticks)

    @property
    def connects(self) -> list[Address | None]:
        """Where sockets were to be connected to, in order."""
        return [order.address for order in self.orders if isinstance(order, Connect)]

    def told(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


def numbers(data: bytes) -> tuple[int, int]:
    """Sequence number and timestamp of a packet."""
    return int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big")


def tone(ticks: int) -> Pcm:
    """A steady tone of so many ticks."""
    samples: Pcm = (9000 * np.sin(np.arange(320 * ticks) * 0.1)).astype(np.int16)
    return samples


def speech(number: int) -> bytes:
    """20 ms of G.711 codes, different for each number."""
    return bytes((number * 7 + i) % 256 for i in range(160))


class Peer:
    """Somebody who talks to a lane in packets of `ptime_ms`."""

    def __init__(self, rig: Rig, form: RtpFormat, row: int = 0, *, ptime_ms: int = 20) -> None:
        self.sequence, self.timestamp, self.ssrc = 100, 5000, 9
        self.ptime_ms = ptime_ms
        self._rig, self._row = rig, row
        self.use(form)

    def use(self, form: RtpFormat) -> None:
        """Go on with another codec, as if it had been that from the start."""
        self.form, self._encoder = form, make_encoder(form)
        self.step = form.clock_hz * self.ptime_ms // 1000

    def packets(self, samples: Pcm) -> list[bytes]:
        """The packets of so much audio at 16 kHz, in order."""
        rate = self._encoder.rate_hz
        heard = samples[:: 16_000 // rate]
        length = rate * self.ptime_ms // 1000
        made = []
        for start in range(0, len(heard) - length + 1, length):
            payload = self._encoder.encode(heard[start : start + length])
            made.append(packet(self.form.payload_type, self.sequence, self.timestamp, self.ssrc, payload))
            self.sequence += 1
            self.timestamp += self.step
        return made

    def talk(self, samples: Pcm, *, lose: Container[int] = ()) -> None:
        """Send so much audio, and run the ticks that it takes; some packets, counted from 0, get lost."""
        waiting = dict(enumerate(self.packets(samples)))
        for tick in range(len(samples) // 320):
            due = [number for number in waiting if number * self.ptime_ms // 20 <= tick]
            for number in due:
                data = waiting.pop(number)
                if number not in lose:
                    self._rig.arrive(data, self._row)
            self._rig.tick()


def hum(ticks: int, hz: float = 400.0) -> Pcm:
    """A steady tone of so many ticks, without a step from one piece to the next."""
    samples: Pcm = (8000 * np.sin(np.arange(320 * ticks) * 2 * np.pi * hz / 16_000)).astype(np.int16)
    return samples


def pitch(samples: Pcm) -> float:
    """The loudest frequency, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * 16_000 / len(samples)


def quietest(samples: Pcm) -> float:
    """The level (RMS) of the quietest 10 ms."""
    parts = samples[: len(samples) // 160 * 160].reshape(-1, 160).astype(float)
    return float(np.sqrt((parts**2).mean(axis=1)).min())
