"""One tick of all lanes: packets in, packets out. No sockets, processes or clocks.

    receive(...)   as often as there are packets, each time at most one per lane
    prepare(tick)  works on private memory only
    commit()       stores the result in the table, the tick's number last
    send           by the caller: the packets of `rows`

A process that dies before the commit has not run the tick, and its spare runs it; one that dies after it has,
and loses at most one packet per lane.

Whoever ticks is the only writer of the plane's columns. A spare obeys the same control messages, but touches
no column: a new spare is told about lanes in full talk. The columns of a fresh lane, whose `opened_tick` the
control plane has left at -1, are initialised by the first process to tick it; any later process goes on where
the columns say.
"""

import logging
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_NS, TICK_SAMPLES, Pcm
from active_call.dsp.dtmf import DigitReceiver, DigitSender
from active_call.dsp.g711 import A_LAW, G711, MU_LAW, SILENCE
from active_call.dsp.jitter import Concealment, JitterBuffer
from active_call.dsp.mix import RingWindow
from active_call.dsp.resample import Downsampler, Upsampler
from active_call.dsp.rtp import FRAME, MAX_SENT_FRAMES, PacketMatrix, SendMatrix, packet
from active_call.lanes.messages import (
    CloseLane,
    ConfigureLane,
    ConfigureVad,
    DigitReceived,
    LaneClosed,
    Latched,
    MediaStarted,
    Message,
    OpenLane,
    PlaneEvent,
    PutMark,
    RecordingClosed,
    RtcpByeReceived,
    SendDigits,
    SpeechEnded,
    SpeechStarted,
    SsrcChanged,
    StartRecording,
    StopRecording,
)
from active_call.lanes.table import HEARD_SAMPLES, Table
from active_call.plane.peers import Address, Connect, Peers
from active_call.plane.playback import Playback
from active_call.plane.reports import Reports

log = logging.getLogger(__name__)

Int64: TypeAlias = NDArray[np.int64]
Order: TypeAlias = "Connect | SendRtcp | Drop"

_BLOCK: Final = 256
"""Lanes per block, so that its temporaries stay in cache."""
_COMFORT_NOISE: Final = 13
_RTCP_TICKS: Final = 250
_NO_TYPE: Final = 255


class SendRtcp:
    """Send `data` from the lane's RTCP socket, or from the RTP socket if `muxed`."""

    __slots__ = ("address", "data", "muxed", "row")

    def __init__(self, row: int, address: Address, data: bytes, *, muxed: bool) -> None:
        self.row, self.address, self.data, self.muxed = row, address, data, muxed


class Drop:
    """Close the lane's sockets."""

    __slots__ = ("row",)

    def __init__(self, row: int) -> None:
        self.row = row


class SpeechDetector(Protocol):
    """What a tick needs of a VadEngine."""

    def configure(self, row: int, message: ConfigureVad, position: int) -> None: ...
    def remove(self, row: int) -> None: ...
    def feed(self, rows: Int64, audio: Pcm, positions: Int64, tick: int) -> None: ...
    def collect(self, tick: int) -> list[SpeechStarted | SpeechEnded]: ...
    def counters(self) -> tuple[int, int]: ...


class LaneRecorder(Protocol):
    """What a tick needs of a Recorder, which keeps the column `record_from`."""

    def start(
        self, row: int, generation: int, path: str, rate_hz: int, flush_ms: int, position: int
    ) -> None: ...
    def stop(self, row: int, position: int) -> None: ...
    def advance(self, tick: int) -> None: ...
    def collect(self, tick: int) -> list[RecordingClosed]: ...


class MediaTick:
    """All lanes of a table. `active` False: takes the same control messages, but leaves the table alone."""

    def __init__(
        self, table: Table, vad: SpeechDetector, recorder: LaneRecorder, *, active: bool, next_tick: int = 0
    ) -> None:
        capacity = table.capacity
        self.table = table
        self.active = active
        self.next_tick = next_tick
        self.incoming = PacketMatrix(capacity)
        self.outgoing = SendMatrix(capacity)
        self.peers = Peers(capacity)
        self.rows: list[int] = []
        """Lanes that send a packet this tick, after `commit`."""
        self.views: dict[int, memoryview | bytes] = {}
        """Their packets, where it isn't the plain one of `outgoing.views`."""
        self._orders: list[Order] = []
        self._events: list[PlaneEvent] = []
        self._vad = vad
        self._recorder = recorder
        self._opened: dict[int, OpenLane] = {}
        self._configured: dict[int, ConfigureLane] = {}
        self._recordings: dict[int, StartRecording] = {}
        self._lanes: Int64 = np.zeros(0, np.int64)
        self._listeners: Int64 = np.zeros(0, np.int64)
        self._watched: set[int] = set()
        self._stale = True

        self._law = np.zeros(capacity, np.int64)
        self._payload_type = np.full(capacity, _NO_TYPE, np.uint8)
        self._event_type = np.full(capacity, _NO_TYPE, np.uint8)
        self._receiving = np.zeros(capacity, np.bool_)
        self._sending = np.zeros(capacity, np.bool_)
        self._frames_per_packet = np.ones(capacity, np.int64)
        self._first_timestamp = np.zeros(capacity, np.int64)
        self._opened_tick = np.zeros(capacity, np.int64)
        self._arrival_ns = np.zeros(capacity, np.int64)
        self._arrival_stamp = np.zeros(capacity, np.int64)

        self._jitter = JitterBuffer(capacity)
        self._concealment = Concealment(capacity)
        self._g711 = G711(_BLOCK, FRAME)
        self._upsampler = Upsampler(capacity, _BLOCK)
        self._downsampler = Downsampler(capacity, _BLOCK)
        self._playback = Playback(table)
        self._digits_in = DigitReceiver(capacity)
        self._digits_out = DigitSender(capacity)
        self._reports = Reports(table, self._jitter)
        self._received = RingWindow(table.received, TICK_SAMPLES)
        self._sent = RingWindow(table.sent, TICK_SAMPLES)
        self._played_before = np.zeros(capacity, np.bool_)

        # One row per lane in the tick, in the order of self._lanes.
        self._codes_in = np.zeros((capacity, FRAME), np.uint8)
        self._codes_out = np.zeros((capacity, FRAME), np.uint8)
        self._narrow = np.zeros((capacity, FRAME), np.int16)
        self._narrow_out = np.zeros((capacity, FRAME), np.int16)
        self._heard = np.zeros((capacity, TICK_SAMPLES), np.int16)
        self._playing = np.zeros((capacity, TICK_SAMPLES), np.int16)
        self._concealed: Int64 = np.zeros(0, np.int64)
        self._sent_rows: Int64 = np.zeros(0, np.int64)
        self._sent_octets: Int64 = np.zeros(0, np.int64)

    # --- control --------------------------------------------------------------------------------------

    def apply(self, message: Message) -> None:
        """Obey a control message between two ticks. What names another generation is ignored."""
        row = message.row
        if not 0 <= row < self.table.capacity or self.table.generation[row] != message.generation:
            return
        if isinstance(message, CloseLane):
            self._close(row, message)
            return
        if isinstance(message, OpenLane):
            self._open(row, message)
            return
        opened = self._opened.get(row)
        if opened is None or opened.generation != message.generation:
            return
        match message:
            case ConfigureLane():
                self._configure(row, message)
            case ConfigureVad():
                self._vad.configure(row, message, int(self.table.position[row]))
                (self._watched.discard if message.kind is None else self._watched.add)(row)
                self._stale = True
            case PutMark():
                self._playback.put_mark(row, message.mark, message.position)
            case SendDigits():
                # A spare can't tell which keys have been pressed by now.
                if self.active:
                    self._digits_out.start(row, message.digits, message.duration_ms, message.gap_ms)
            case StartRecording():
                self._stop_recording(row)
                self._recordings[row] = message
                if self.active:
                    self._start_recording(row)
            case StopRecording():
                self._stop_recording(row)
            case _:
                log.warning("message %s is not for a media plane", type(message).__name__)

    def promote(self, tick: int, connected: dict[int, Address | None]) -> None:
        """Become the active process with `tick` as the first, on sockets with these connected addresses."""
        self.active = True
        self.next_tick = tick
        for row in self._opened:
            self._enter(row)
            self.peers.resume(row, connected.get(row))
            self.table.latched[row] = self.peers.latched[row]
        self._orders += self.peers.orders
        self.peers.orders.clear()

    def take_orders(self) -> list[Order]:
        """What is to be done with the sockets, in order."""
        orders = [*self._orders, *self.peers.orders]
        self._orders.clear()
        self.peers.orders.clear()
        return orders

    def take_events(self) -> list[PlaneEvent]:
        """What happened since the last call."""
        events = self._events
        self._events = []
        return events

    @property
    def open_rows(self) -> list[int]:
        """The lanes in the tick."""
        return list(self._opened)

    def _open(self, row: int, message: OpenLane) -> None:
        if row in self._opened:
            self._leave(row)
        self._opened[row] = message
        self.peers.open(row)
        self._first_timestamp[row] = message.first_timestamp
        self._payload_type[row] = self._event_type[row] = _NO_TYPE
        self._receiving[row] = self._sending[row] = False
        self._frames_per_packet[row] = 1
        self._law[row] = MU_LAW
        self._playback.open(row)
        self._reports.open(row, message.ssrc, message.cname)
        self._stale = True
        if self.active:
            self._enter(row)

    def _enter(self, row: int) -> None:
        """Begin to tick a lane: initialise its columns, or go on where another process stopped."""
        table, message = self.table, self._opened[row]
        if table.opened_tick[row] < 0:
            for column in (
                table.play_read,
                table.position,
                table.tx_packets,
                table.tx_octets,
                table.tx_errors,
                table.rx_packets,
                table.rx_octets,
                table.rx_lost,
                table.rx_late,
                table.rx_duplicate,
                table.rx_invalid,
                table.rx_stranger,
                table.concealed,
                table.latched,
                table.remote_lost,
            ):
                column[row] = 0
            table.jitter_ms[row] = table.rtt_ms[row] = 0.0
            table.rx_tick[row] = table.record_from[row] = -1
            table.tx_sequence[row] = message.first_sequence
            table.opened_tick[row] = self.next_tick
        self._opened_tick[row] = table.opened_tick[row]
        self._jitter.open(
            row, law=int(self._law[row]), delay_ms=self._delay_ms(row), lost=int(table.rx_lost[row])
        )
        self._concealment.silence(np.array([row]))
        self._upsampler.reset(row)
        self._downsampler.clear(np.array([row]))
        self._played_before[row] = False
        self._digits_in.reset(row)
        self._digits_out.reset(row)
        self._arrival_ns[row] = 0
        if row in self._recordings:
            self._start_recording(row)

    def _delay_ms(self, row: int) -> int:
        configured = self._configured.get(row)
        return configured.jitter_ms if configured else 40

    def _configure(self, row: int, message: ConfigureLane) -> None:
        self._configured[row] = message
        self._law[row] = A_LAW if message.codec == "pcma" else MU_LAW
        self._payload_type[row] = message.payload_type
        self._event_type[row] = _NO_TYPE if message.dtmf_payload_type is None else message.dtmf_payload_type
        self._receiving[row], self._sending[row] = message.receiving, message.sending
        self._frames_per_packet[row] = message.ptime_ms // 20 if message.ptime_ms in (20, 40, 60) else 1
        self.outgoing.set_stream(row, self._opened[row].ssrc, message.payload_type)
        remote = message.remote
        if remote and remote[0] in ("0.0.0.0", "::"):  # an old way to say hold
            remote = None
        if remote and not _is_numeric(remote[0]):
            log.warning("lane %d: remote address %r is not numeric", row, remote[0])
            remote = None
        self.peers.configure(row, remote, latching=message.latching)
        if not self.active:
            self.peers.orders.clear()  # the active process connects the socket, which we share
            return
        self._jitter.configure(row, law=int(self._law[row]), delay_ms=message.jitter_ms)
        self.table.latched[row] = self.peers.latched[row]
        if not message.receiving:
            self._jitter.pause(np.array([row]), self.next_tick)
            self._concealment.silence(np.array([row]))

    def _start_recording(self, row: int) -> None:
        message, table = self._recordings[row], self.table
        begun = int(table.record_from[row])
        position = begun if begun >= 0 else int(table.position[row])
        self._recorder.start(row, message.generation, message.path, message.rate_hz, message.flush_ms, position)

    def _stop_recording(self, row: int) -> None:
        if self._recordings.pop(row, None) is not None and self.active:
            self._recorder.stop(row, int(self.table.position[row]))

    def _close(self, row: int, message: CloseLane) -> None:
        if row in self._opened:
            if self.active:
                self._send_report(row, self.next_tick, bye=True)
            self._leave(row)
        if self.active:
            self.table.opened_tick[row] = -1
        self._events.append(LaneClosed(row, message.generation, self.next_tick, self.active))

    def _leave(self, row: int) -> None:
        self._stop_recording(row)
        self._vad.remove(row)
        self._watched.discard(row)
        self._digits_out.reset(row)
        self._reports.close(row)
        self._playback.open(row)
        self._configured.pop(row, None)
        del self._opened[row]
        self._stale = True
        self._orders += [order for order in self.peers.orders if order.row != row]
        self.peers.orders.clear()
        self.peers.open(row)
        self._orders.append(Drop(row))

    # --- receiving ------------------------------------------------------------------------------------

    def receive(
        self,
        tick: int,
        rows: Int64,
        lengths: Int64,
        sources: dict[int, Address],
        arrived_ns: Int64 | None = None,
    ) -> list[tuple[int, bytes]]:
        """Take the first n packets of `incoming`, before `prepare(tick)`.

        `rows` (n,) are all different; `lengths` (n,) in bytes, -1 where receiving was refused (ICMP).
        `sources` has the index of each packet from an unconnected socket; `arrived_ns` (n,) are kernel
        times, 0 where unknown. Returns RTCP that came to the RTP sockets, as (row, data).
        """
        table = self.table
        packets = self.incoming.parse(lengths)
        audio = packets.valid & (packets.payload_type == self._payload_type[rows])
        event = packets.valid & (packets.payload_type == self._event_type[rows])
        accepted = audio | event | (packets.valid & (packets.payload_type == _COMFORT_NOISE))
        muxed: list[tuple[int, bytes]] = []
        if not accepted.all():
            refused = lengths < 0
            table.tx_errors[rows[refused]] += 1
            table.rx_invalid[rows[~accepted & ~refused & ~packets.rtcp]] += 1
            muxed += [
                (int(rows[i]), bytes(self.incoming.views[i][: lengths[i]]))
                for i in np.flatnonzero(packets.rtcp).tolist()
                if i not in sources or sources[i] == self.peers.address[rows[i]]
            ]
        for i, source in sources.items():
            row = int(rows[i])
            if accepted[i] and not self.peers.admit(row, source, int(packets.sequence[i])):
                accepted[i] = False
                table.rx_stranger[row] += 1
        index = np.flatnonzero(accepted)
        if not len(index):
            return muxed
        at = rows[index]
        first = table.rx_packets[at] == 0
        if first.any() or sources:
            self._tell_sources(tick, at, index, first, sources)
        table.rx_packets[at] += 1
        table.rx_octets[at] += packets.length[index]
        table.rx_tick[at] = tick
        result = self._jitter.receive(
            tick,
            at,
            packets.sequence[index],
            packets.timestamp[index],
            packets.ssrc[index],
            audio[index] & self._receiving[at],
            packets.length[index],
            self.incoming,
            index,
        )
        table.rx_lost[at] = result.lost
        table.rx_late[at] += result.late
        table.rx_duplicate[at] += result.duplicate
        for row, ssrc in zip(
            at[result.new_ssrc].tolist(), packets.ssrc[index][result.new_ssrc].tolist(), strict=True
        ):
            self._tell(SsrcChanged(row, self._generation(row), tick, ssrc))
            self._digits_in.reset(row)
            self._arrival_ns[row] = 0
        if not audio.all():
            self._concealment.silence(at[~audio[index]])
            for i in np.flatnonzero(event & accepted):
                self._receive_digit(
                    tick, int(rows[i]), int(packets.timestamp[i]), int(i), int(packets.length[i])
                )
        if arrived_ns is not None:
            self._measure_jitter(at, packets.timestamp[index], arrived_ns[index], audio[index])
        return muxed

    def receive_rtcp(self, tick: int, row: int, data: bytes, arrived_ns: int) -> None:
        """Take an RTCP packet that arrived at that Unix time."""
        if self._reports.receive(row, data, arrived_ns):
            self._tell(RtcpByeReceived(row, self._generation(row), tick))

    def _tell_sources(
        self, tick: int, rows: Int64, index: Int64, first: NDArray[np.bool_], sources: dict[int, Address]
    ) -> None:
        for i, row in enumerate(rows.tolist()):
            source = sources.get(int(index[i]), self.peers.address[row])
            if source is None:
                continue
            if first[i]:
                self._tell(MediaStarted(row, self._generation(row), tick, source[0], source[1]))
            if self.peers.latched[row] and self.peers.is_news(row):
                self._tell(Latched(row, self._generation(row), tick, source[0], source[1]))
            self.table.latched[row] = self.peers.latched[row]

    def _receive_digit(self, tick: int, row: int, timestamp: int, index: int, length: int) -> None:
        digit = self._digits_in.receive(row, timestamp, self.incoming.payload[index, :length].tobytes())
        if digit is not None:
            position = max(0, (tick - int(self._opened_tick[row])) * TICK_SAMPLES)
            self._tell(DigitReceived(row, self._generation(row), tick, digit, position))

    def _measure_jitter(
        self, rows: Int64, timestamp: Int64, arrived_ns: Int64, audio: NDArray[np.bool_]
    ) -> None:
        """RFC 3550 §A.8, in milliseconds, over consecutive packets whose arrival is known."""
        known = (arrived_ns > 0) & audio
        measured = known & (self._arrival_ns[rows] > 0)
        at = rows[measured]
        elapsed_ms = (arrived_ns[measured] - self._arrival_ns[at]) / 1e6
        stamps = (timestamp[measured] - self._arrival_stamp[at] + (1 << 31) & 0xFFFF_FFFF) - (1 << 31)
        deviation = np.minimum(np.abs(elapsed_ms - stamps / 8), 1_000.0)
        self.table.jitter_ms[at] += (deviation - self.table.jitter_ms[at]) / 16
        self._arrival_ns[rows] = np.where(known, arrived_ns, 0)
        self._arrival_stamp[rows] = timestamp

    # --- the tick -------------------------------------------------------------------------------------

    def prepare(self, tick: int) -> None:
        """Compute the tick of all lanes in private memory."""
        self.next_tick = tick
        if self._stale:
            self._lanes = np.array(sorted(self._opened), np.int64)
            self._listeners = np.array(sorted(self._watched), np.int64)
            self.table.set("highest_row", max(self._opened, default=-1))
            self._stale = False
        concealed: list[Int64] = []
        for start in range(0, len(self._lanes), _BLOCK):
            block = slice(start, min(start + _BLOCK, len(self._lanes)))
            rows = self._lanes[block]
            concealed.append(rows[self._hear(tick, rows, block)])
            self._play(rows, block)
        self._concealed = np.concatenate(concealed) if concealed else np.zeros(0, np.int64)
        self._jitter.judge(tick)
        lanes = self._lanes
        if len(self._listeners):
            # Both are sorted and the listeners are among the lanes.
            index = np.searchsorted(lanes, self._listeners)
            positions = (tick - self._opened_tick[self._listeners]) * TICK_SAMPLES
            self._vad.feed(self._listeners, self._narrow[index], positions, tick)
        self.peers.release_silent(lanes, tick - self.table.rx_tick[lanes])

    def commit(self) -> None:
        """Store the prepared tick in the table; `rows` and `views` are then to be sent."""
        tick, table, lanes, rows = self.next_tick, self.table, self._lanes, self._sent_rows
        count = len(lanes)
        positions = (tick - self._opened_tick[lanes]) * TICK_SAMPLES
        behind = np.flatnonzero(table.position[lanes] != positions)
        for i in behind:
            self._blank(int(lanes[i]), int(positions[i]))
        self._received.write(lanes, positions, self._heard[:count])
        self._sent.write(lanes, positions, self._playing[:count])
        self._downsampler.advance(lanes, self._playing[:count])
        table.concealed[self._concealed] += 1
        table.delay_ms[lanes] = self._jitter.delay[lanes] * 20
        table.latched[lanes] = self.peers.latched[lanes]
        table.tx_packets[rows] += 1
        table.tx_octets[rows] += self._sent_octets
        table.tx_sequence[rows] += 1
        self._playback.store(lanes)
        table.position[lanes] = positions + TICK_SAMPLES
        table.set("tick", tick)
        self.next_tick = tick + 1

    def settle(self) -> None:
        """Just before `commit`: let barge-in of the last moment take effect, fill the packets."""
        tick, lanes = self.next_tick, self._lanes
        for index in self._playback.flushed_since(lanes):
            row = lanes[index : index + 1]
            self._playback.flush(int(row[0]), self._playing[index])
            self._encode(row, slice(index, index + 1), np.ones(1, np.bool_))
        self._events += self._playback.commit(tick, lanes, self.table.generation)
        self._fill_packets(tick)

    def finish(self) -> None:
        """After sending: let recorder and detector work on the tick, collect their results, report by RTCP."""
        tick = self.next_tick - 1
        self._recorder.advance(tick)
        self._events += self._recorder.collect(tick)
        self._events += self._vad.collect(tick)
        windows, gated = self._vad.counters()
        self.table.set("vad_windows", windows)
        self.table.set("vad_gated", gated)
        for row in self._lanes[(self._lanes + tick) % _RTCP_TICKS == 0].tolist():
            self._send_report(row, tick, bye=False)

    def _hear(self, tick: int, rows: Int64, block: slice) -> Int64:
        """Jitter buffer to 16 kHz. Returns the indices (in rows) of concealed lanes."""
        laws = self._law[rows]
        present = self._jitter.playout(tick, rows, laws, self._codes_in[block])
        narrow = self._g711.decode(self._codes_in[block], laws, self._narrow[block])
        concealed = self._concealment.fill(rows, narrow, present)
        self._upsampler.run(rows, narrow, self._heard[block])
        return concealed

    def _play(self, rows: Int64, block: slice) -> None:
        """Playback ring to codes. A lane that fell silent is filtered one tick longer."""
        playing = self._playback.prepare(rows, self._playing[block])
        self._encode(rows, block, playing | self._played_before[rows])
        self._played_before[rows] = playing

    def _encode(self, rows: Int64, block: slice, busy: NDArray[np.bool_]) -> None:
        laws, codes = self._law[rows], self._codes_out[block]
        if busy.all():
            self._downsampler.run(rows, self._playing[block], self._narrow_out[block])
            self._g711.encode(self._narrow_out[block], laws, codes)
            return
        codes[:] = SILENCE[laws][:, None]
        index = np.flatnonzero(busy)
        if len(index):
            narrow, part = self._narrow_out[: len(index)], np.empty((len(index), FRAME), np.uint8)
            self._downsampler.run(rows[index], self._playing[block][index], narrow)
            codes[index] = self._g711.encode(narrow, laws[index], part)

    def _fill_packets(self, tick: int) -> None:
        """Put headers and payloads together, and decide which lanes send."""
        lanes = self._lanes
        sequence = self.table.tx_sequence[lanes]
        sending = self._sending[lanes] & self.peers.reachable[lanes]
        frames = self._frames_per_packet[lanes]
        part = (tick - self._opened_tick[lanes]) % frames
        stamps = self._first_timestamp[lanes] + FRAME * (tick - self._opened_tick[lanes] - part)
        complete = sending & (part == frames - 1)
        self.views = {}
        if frames.max(initial=1) == 1:
            self.outgoing.set_frames(lanes, self._codes_out[: len(lanes)])
        else:
            for number in range(MAX_SENT_FRAMES):
                which = np.flatnonzero(part == number)
                self.outgoing.set_frames(lanes[which], self._codes_out[which], number)
            several = complete & (frames > 1)
            for row, count in zip(lanes[several].tolist(), frames[several].tolist(), strict=True):
                self.views[row] = self.outgoing.view(row, count)
        octets = frames * FRAME
        for row in self._digits_out.rows().tolist():
            i = int(np.searchsorted(lanes, row))
            event_type = int(self._event_type[row])
            now = int(stamps[i] + FRAME * part[i])
            event = self._digits_out.next(row, now & 0xFFFF_FFFF)
            if event is None or event_type == _NO_TYPE or not sending[i]:
                continue
            payload, marker, stamp = event
            ssrc = self._opened[row].ssrc
            self.views[row] = packet(event_type, int(sequence[i]), stamp, ssrc, payload, marker=marker)
            complete[i], octets[i] = True, len(payload)
        self.outgoing.set_numbers(lanes, sequence, stamps)
        self._sent_rows, self._sent_octets = lanes[complete], octets[complete]
        self.rows = self._sent_rows.tolist()

    def _blank(self, row: int, position: int) -> None:
        """Silence in both rings for the ticks that were not run."""
        start = int(self.table.position[row])
        if position - start >= HEARD_SAMPLES:
            start = position - HEARD_SAMPLES
        places = np.arange(start, position) % HEARD_SAMPLES
        self.table.received[row, places] = 0
        self.table.sent[row, places] = 0

    def _send_report(self, row: int, tick: int, *, bye: bool) -> None:
        configured, address = self._configured.get(row), self.peers.address[row]
        if configured is None or address is None:
            return
        muxed = configured.remote_rtcp is not None and configured.remote_rtcp == configured.remote
        target = address if muxed else (address[0], address[1] + 1)
        if not muxed and configured.remote_rtcp and configured.remote_rtcp[0] == address[0]:
            target = (configured.remote_rtcp[0], configured.remote_rtcp[1])
        wall_ns = self.table.get("wall_ns") + tick * TICK_NS
        stamp = int(self._first_timestamp[row]) + FRAME * (tick - int(self._opened_tick[row]))
        data = self._reports.build(row, wall_ns, stamp, bye=bye)
        self._orders.append(SendRtcp(row, target, data, muxed=muxed))

    def _generation(self, row: int) -> int:
        return int(self.table.generation[row])

    def _tell(self, event: PlaneEvent) -> None:
        self._events.append(event)


def _is_numeric(host: str) -> bool:
    """Whether this is an address rather than a name, which the media plane must not resolve."""
    return ":" in host or host.replace(".", "").isdigit()
