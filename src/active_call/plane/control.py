"""Which lanes there are, and what the control plane wants of each.

Whoever ticks is the only writer of the plane's columns. A spare obeys the same control messages, but touches
no column: a new spare is told about lanes in full talk. The columns of a fresh lane, whose `opened_tick` the
control plane has left at -1, are initialised by the first process to tick it; any later process goes on where
the columns say.
"""

import logging
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_NS, Pcm
from active_call.dsp.g711 import A_LAW, MU_LAW
from active_call.dsp.resample import Downsampler
from active_call.lanes.messages import (
    AdjustLane,
    CloseLane,
    ConfigureLane,
    ConfigureVad,
    DigitReceived,
    LaneClosed,
    Message,
    OpenExternal,
    OpenLane,
    PlaneEvent,
    PutMark,
    RecordingClosed,
    SendDigits,
    SetAmbience,
    SetDenoise,
    SetMix,
    SpeechEnded,
    SpeechStarted,
    StartRecording,
    StopRecording,
)
from active_call.lanes.table import Table
from active_call.plane.denoise import Denoise
from active_call.plane.external import ExternalLanes
from active_call.plane.keys import Keys
from active_call.plane.orders import Drop, KeepAlive, Order, Secure, SendRtcp
from active_call.plane.peers import Address, Peers, numeric
from active_call.plane.reception import Reception
from active_call.plane.reports import Reports
from active_call.plane.transmission import Transmission

log = logging.getLogger(__name__)

Int64: TypeAlias = NDArray[np.int64]

BLOCK: Final = 256
"""Lanes per block, so that its temporaries stay in cache."""
RTCP_TICKS: Final = 250
_KEEP_ALIVE_REPORTS: Final = 3
"""With every third report, so every 15 s (RFC 6263 §7), a lane that sends no audio shows that it is there."""


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


class ControlledLanes:
    """The lanes of a table, in the parts of the tick that they go through.

    `active` False: takes the same control messages, but leaves the table alone.
    """

    def __init__(
        self, table: Table, vad: SpeechDetector, recorder: LaneRecorder, *, active: bool, next_tick: int = 0
    ) -> None:
        capacity = table.capacity
        self.table = table
        self.active = active
        self.next_tick = next_tick
        self.peers = Peers(capacity)
        self.reception = Reception(table, self.peers, BLOCK, self._tell_once)
        self.transmission = Transmission(table, self.peers, BLOCK)
        self.keys = Keys(table, self.reception.event_tick, self._tell)
        self.denoise = Denoise(table)
        self.external = ExternalLanes(table, BLOCK, self._tell)
        self._orders: list[Order] = []
        self._events: list[PlaneEvent] = []
        self._vad = vad
        self._recorder = recorder
        self._reports = Reports(table, self.reception.jitter)
        self._opened: dict[int, OpenLane | OpenExternal] = {}
        self._configured: dict[int, ConfigureLane] = {}
        self._recordings: dict[int, StartRecording] = {}
        self._adjusted: dict[int, AdjustLane] = {}
        self._watched: set[int] = set()
        self._stale = True
        """Whether the lanes have to be put in order before the next tick."""
        self._narrower = Downsampler(capacity, capacity)
        self._law = np.zeros(capacity, np.int64)
        self._opened_tick = np.zeros(capacity, np.int64)

    # --- control messages -----------------------------------------------------------------------------

    def apply(self, message: Message) -> None:
        """Obey a control message between two ticks. What names another generation is ignored."""
        row = message.row
        if not 0 <= row < self.table.capacity or self.table.generation[row] != message.generation:
            return
        if isinstance(message, CloseLane):
            self._close(row, message)
            return
        if isinstance(message, OpenLane | OpenExternal):
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
            case AdjustLane():
                self._adjusted[row] = message
                self.transmission.adjust(message)
                self.keys.mask(row, on=message.mask_digits)
                self._stale = True
            case SetDenoise():
                self.denoise.configure(row, message.kind)
                self._narrower.clear(np.array([row]))
                if self.active:
                    self.denoise.keep_original(row, recorded=row in self._recordings)
                self._stale = True
            case SetAmbience():
                self.transmission.background.configure(message)
            case SetMix():
                self.transmission.mixing.configure(message)
            case PutMark():
                self.transmission.playback.put_mark(row, message.mark, message.position)
            case SendDigits():
                # A spare can't tell which keys have been pressed by now.
                if self.active and (message.tones or isinstance(opened, OpenLane)):
                    self.transmission.send_digits(message)
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

    # --- lanes ----------------------------------------------------------------------------------------

    def _open(self, row: int, message: OpenLane | OpenExternal) -> None:
        if row in self._opened:
            self._leave(row)
        self._opened[row] = message
        self.peers.open(row)
        self.keys.open(row)
        if isinstance(message, OpenExternal):
            self.external.open(message)
            self.transmission.open(row)
        else:
            self._law[row] = MU_LAW
            self.reception.open(row)
            self.transmission.open(row, message.ssrc)
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
                table.srtp_rejected,
                table.srtp_received,
                table.srtcp_sent,
                table.concealed,
                table.latched,
                table.remote_lost,
                table.original_kept,
                table.external_read,
                table.external_dropped,
                table.external_sent,
            ):
                column[row] = 0
            table.jitter_ms[row] = table.rtt_ms[row] = table.remote_jitter_ms[row] = 0.0
            table.rx_tick[row] = table.record_from[row] = table.sent_from[row] = -1
            if isinstance(message, OpenLane):
                table.tx_sequence[row] = message.first_sequence
                table.tx_timestamp[row] = message.first_timestamp
            table.opened_tick[row] = self.next_tick
        self._opened_tick[row] = table.opened_tick[row]
        self._narrower.clear(np.array([row]))
        if isinstance(message, OpenLane):
            self.reception.enter(row, int(self._law[row]))
            self._reports.enter(row)
        else:
            self.external.enter(row)
        self.transmission.enter(row)
        self.keys.enter(row)
        if row in self._recordings:
            self._start_recording(row)

    def _configure(self, row: int, message: ConfigureLane) -> None:
        opened = self._opened[row]
        if isinstance(opened, OpenExternal):
            log.warning("lane %d: an external lane has no RTP session", row)
            return
        before = self._configured.get(row)
        self._configured[row] = message
        self._law[row] = A_LAW if message.sends.codec == "pcma" else MU_LAW
        self.reception.configure(message, int(self._law[row]), self.next_tick)
        self.transmission.configure(message, self.next_tick if self.active else None)
        self.keys.configure(row, inband=message.inband_digits)
        self._stale = True
        if message.srtp is not None or (before is not None and before.srtp is not None):
            self._orders.append(Secure(row, opened.ssrc, message.srtp))
        self._reports.configure(row, message)
        remote, rtcp = (address and numeric(address) for address in (message.remote, message.remote_rtcp))
        self.peers.configure(row, remote, latching=message.latching, remote_rtcp=rtcp, host=message.peer_host)
        if not self.active:
            self.peers.orders.clear()  # the active process connects the socket, which we share
            return
        self.table.latched[row] = self.peers.latched[row]

    def _start_recording(self, row: int) -> None:
        message, table = self._recordings[row], self.table
        begun = int(table.record_from[row])
        position = begun if begun >= 0 else int(table.position[row])
        self.denoise.keep_original(row, recorded=True)
        self._recorder.start(row, message.generation, message.path, message.rate_hz, message.flush_ms, position)
        self._stale = True

    def _stop_recording(self, row: int) -> None:
        if self._recordings.pop(row, None) is not None and self.active:
            self._recorder.stop(row, int(self.table.position[row]))
            self._stale = True

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
        self.denoise.remove(row)
        self.keys.open(row)
        self._watched.discard(row)
        self._adjusted.pop(row, None)
        self._reports.close(row)
        self.reception.close(row)
        self.transmission.close(row)
        self.external.close(row)
        self._configured.pop(row, None)
        del self._opened[row]
        self._stale = True
        self._orders += [order for order in self.peers.orders if order.row != row]
        self.peers.orders.clear()
        self.peers.open(row)
        self._orders.append(Drop(row))

    # --- what is told ---------------------------------------------------------------------------------

    def _send_report(self, row: int, tick: int, *, bye: bool) -> None:
        configured, address = self._configured.get(row), self.peers.address[row]
        if configured is None or address is None:
            return
        same_port = configured.remote_rtcp is not None and configured.remote_rtcp == configured.remote
        muxed = configured.rtcp_mux or same_port
        target = address if muxed else self.peers.report_address(row)
        if target is None:
            return
        wall_ns = self.table.get("wall_ns") + tick * TICK_NS
        stamp = self.transmission.timestamp(row, tick)
        data = self._reports.build(row, wall_ns, stamp, bye=bye)
        self._orders.append(SendRtcp(row, target, data, muxed=muxed))
        if not configured.sending and not muxed and tick // RTCP_TICKS % _KEEP_ALIVE_REPORTS == 0:
            self._orders.append(KeepAlive(row, address))

    def _generation(self, row: int) -> int:
        return int(self.table.generation[row])

    def _tell(self, event: PlaneEvent) -> None:
        self._events.append(event)

    def _tell_once(self, event: PlaneEvent) -> None:
        """What packets say, but for keys whose tones were faster."""
        if not (isinstance(event, DigitReceived) and self.keys.is_repeated(event)):
            self._tell(event)
