"""One tick of all lanes: packets in, packets out. No sockets, processes or clocks.

    reception.receive(...)  as often as there are packets, each time at most one per lane
    prepare(tick)           works on private memory only
    settle()                at the deadline: audio of external lanes, barge-in of the last moment, packets
    commit()                stores the result in the table, the tick's number last
    (sending)               by the caller: the packets of `transmission.rows`
    deliver()               what external lanes are to hear, into their rings
    finish()                everything that nobody waits for

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
from active_call.dsp.g711 import A_LAW, MU_LAW
from active_call.dsp.mix import RingWindow
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
    RtcpByeReceived,
    SendDigits,
    SetAmbience,
    SetDenoise,
    SetMix,
    SpeechEnded,
    SpeechStarted,
    SrtpKeys,
    StartRecording,
    StopRecording,
)
from active_call.lanes.table import HEARD_SAMPLES, Table
from active_call.plane.denoise import Denoise
from active_call.plane.external import ExternalLanes
from active_call.plane.keys import Keys
from active_call.plane.peers import Address, Connect, Peers, numeric
from active_call.plane.reception import Reception
from active_call.plane.reports import Reports
from active_call.plane.transmission import Transmission

log = logging.getLogger(__name__)

Int64: TypeAlias = NDArray[np.int64]
Order: TypeAlias = "Connect | Secure | SendRtcp | KeepAlive | Drop"

_BLOCK: Final = 256
"""Lanes per block, so that its temporaries stay in cache."""
_RTCP_TICKS: Final = 250
_KEEP_ALIVE_REPORTS: Final = 3
"""With every third report, so every 15 s (RFC 6263 §7), a lane that sends no audio shows that it is there."""


class SendRtcp:
    """Send `data` from the lane's RTCP socket, or from the RTP socket if `muxed`."""

    __slots__ = ("address", "data", "muxed", "row")

    def __init__(self, row: int, address: Address, data: bytes, *, muxed: bool) -> None:
        self.row, self.address, self.data, self.muxed = row, address, data, muxed


class KeepAlive:
    """Send an empty datagram from the RTP socket, so that NATs on the way don't forget it (RFC 6263 §4.1)."""

    __slots__ = ("address", "row")

    def __init__(self, row: int, address: Address) -> None:
        self.row, self.address = row, address


class Secure:
    """Encrypt what the lane sends as `ssrc`, and decrypt what it receives; no `keys`: it is plain."""

    __slots__ = ("keys", "row", "ssrc")

    def __init__(self, row: int, ssrc: int, keys: SrtpKeys | None) -> None:
        self.row, self.ssrc, self.keys = row, ssrc, keys


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
        self.peers = Peers(capacity)
        self.reception = Reception(table, self.peers, _BLOCK, self._tell_once)
        self.transmission = Transmission(table, self.peers, _BLOCK)
        self.keys = Keys(table, self.reception.event_tick, self._tell)
        self.denoise = Denoise(table)
        self.external = ExternalLanes(table, _BLOCK, self._tell)
        self._orders: list[Order] = []
        self._events: list[PlaneEvent] = []
        self._vad = vad
        self._recorder = recorder
        self._reports = Reports(table, self.reception.jitter)
        self._received = RingWindow(table.received, TICK_SAMPLES)
        self._sent = RingWindow(table.sent, TICK_SAMPLES)
        self._opened: dict[int, OpenLane | OpenExternal] = {}
        self._configured: dict[int, ConfigureLane] = {}
        self._recordings: dict[int, StartRecording] = {}
        self._adjusted: dict[int, AdjustLane] = {}
        self._watched: set[int] = set()
        self._stale = True
        self._lanes: Int64 = np.zeros(0, np.int64)
        """All lanes in the tick, those with sockets before the external ones: the order of the tick's audio."""
        self._with_sockets = 0
        """How many of them have sockets."""
        self._place = np.zeros(capacity, np.int64)
        """Where in `_lanes` a row is; -1 if it isn't."""
        self._listeners: Int64 = np.zeros(0, np.int64)
        self._wide_listeners: Int64 = np.zeros(0, np.int64)
        """Those whose 8 kHz audio has to be made of what they hear at 16 kHz."""
        self._muted: Int64 = np.zeros(0, np.int64)
        self._keyed: Int64 = np.zeros(0, np.int64)
        self._keyed_external: Int64 = np.zeros(0, np.int64)
        self._kept: Int64 = np.zeros(0, np.int64)
        """Places in `_lanes` of those whose `sent` ring is written."""
        self._attended = False
        """Whether the control plane is to be woken after each tick."""
        self._concealed: Int64 = np.zeros(0, np.int64)
        self._narrower = Downsampler(capacity, capacity)
        self._law = np.zeros(capacity, np.int64)
        self._opened_tick = np.zeros(capacity, np.int64)

    # --- control --------------------------------------------------------------------------------------

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
            self.transmission.open(row, message.ssrc, message.first_timestamp)
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
        self.transmission.configure(message, self.next_tick if self.active else self.table.get("tick") + 1)
        self.keys.configure(row, inband=message.inband_digits)
        self._stale = True
        if message.srtp is not None or (before is not None and before.srtp is not None):
            self._orders.append(Secure(row, opened.ssrc, message.srtp))
        self._reports.configure(row, message)
        remote, rtcp = (address and numeric(address) for address in (message.remote, message.remote_rtcp))
        self.peers.configure(row, remote, latching=message.latching, remote_rtcp=rtcp)
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

    # --- the tick -------------------------------------------------------------------------------------

    def receive_rtcp(self, tick: int, row: int, data: bytes, arrived_ns: int) -> None:
        """Take an RTCP packet that arrived at that Unix time."""
        if self._reports.receive(row, data, arrived_ns):
            self._tell(RtcpByeReceived(row, self._generation(row), tick))

    def prepare(self, tick: int) -> None:
        """Compute the tick of all lanes in private memory."""
        self.next_tick = tick
        if self._stale:
            self._arrange()
        lanes, count, reception = self._lanes, self._with_sockets, self.reception
        concealed: list[Int64] = []
        blocks = [slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]
        for block in blocks:
            rows = lanes[block]
            concealed.append(reception.hear(tick, rows, self._law[rows], block))
        self._find_keys(tick, self._keyed)
        self._mute()
        self.keys.press(tick, self.transmission.tones.rows)
        self.transmission.mixing.gather(reception.heard, self._place, count)
        for block in blocks:
            rows = lanes[block]
            playing = self.transmission.play(rows, block)
            self.transmission.encode(tick, rows, self._law[rows], block, playing)
        self._concealed = np.concatenate(concealed) if concealed else np.zeros(0, np.int64)
        reception.jitter.judge(tick)
        if count < len(lanes):
            block = slice(count, len(lanes))
            self.transmission.play(lanes[block], block)
        else:
            self._listen(tick)
        self.peers.release_silent(tick, lanes, tick - self.table.rx_tick[lanes], reception.jitter.reception)

    def _hear_external(self, tick: int) -> None:
        """At the deadline: preparation begins now sooner, now later, which frames that just came would feel."""
        part = slice(self._with_sockets, len(self._lanes))
        concealed = self.external.hear(tick, self.reception.heard[part])
        self._concealed = np.concatenate((self._concealed, concealed))
        self._find_keys(tick, self._keyed_external)
        self._mute()
        self._listen(tick)

    def _find_keys(self, tick: int, rows: Int64) -> None:
        """Tell the keys whose tones these lanes hear, and leave nothing of those that are masked."""
        if len(rows):
            places, reception = self._place[rows], self.reception
            delay = reception.jitter.delay[rows]
            silent = self.keys.hear(tick, rows, self._positions(rows), reception.heard[places], delay)
            reception.heard[places[silent]] = reception.narrow[places[silent]] = 0

    def _mute(self) -> None:
        if len(self._muted):
            self.reception.heard[self._muted] = self.reception.narrow[self._muted] = 0

    def _listen(self, tick: int) -> None:
        """What is done with the audio that was heard."""
        heard = self.reception.heard
        if len(denoised := self.denoise.rows):
            self.denoise.hear(heard, self._place[denoised])
            # It lags behind, and still had some of what was said before.
            heard[self._muted] = heard[self._place[self.keys.silenced]] = 0
        self._detect(tick)

    def _detect(self, tick: int) -> None:
        """Let the detector hear the lanes that asked for it."""
        listeners, narrow, heard = self._listeners, self.reception.narrow, self.reception.heard
        if not len(listeners):
            return
        if len(wide := self._wide_listeners):
            audio, part = heard[self._place[wide]], np.empty((len(wide), narrow.shape[1]), np.int16)
            self._narrower.run(wide, audio, part)
            self._narrower.advance(wide, audio)
            narrow[self._place[wide]] = part
        self._vad.feed(listeners, narrow[self._place[listeners]], self._positions(listeners), tick)

    def _arrange(self) -> None:
        """Put the lanes in order after any change of them."""
        self._stale = False
        external = self.external.rows
        with_sockets = np.array(sorted(self._opened.keys() - set(external.tolist())), np.int64)
        self._with_sockets = len(with_sockets)
        self._lanes = lanes = np.concatenate((with_sockets, external))
        self._place[:] = -1
        self._place[lanes] = np.arange(len(lanes))
        self.table.set("highest_row", max(self._opened, default=-1))
        self._listeners = np.array(sorted(self._watched), np.int64)
        self._wide_listeners = np.intersect1d(self._listeners, np.union1d(external, self.denoise.rows))
        adjusted = self._adjusted.values()
        self._muted = self._place[[message.row for message in adjusted if message.mute_received]]
        keyed = self.keys.rows
        self._keyed, self._keyed_external = np.setdiff1d(keyed, external), np.intersect1d(keyed, external)
        tapped = {message.row for message in adjusted if message.tapped}
        self._attended = bool(tapped or len(external))
        kept = sorted(tapped | self._recordings.keys())
        self._kept = self._place[kept]
        before, sent_from = self.table.sent_from[kept], np.full(len(lanes), -1)
        sent_from[self._kept] = np.where(before < 0, self._positions(kept), before)
        self.table.sent_from[lanes] = sent_from

    def _positions(self, rows: Int64 | list[int]) -> Int64:
        """Lane positions of `rows` at which the tick being prepared begins."""
        positions: Int64 = (self.next_tick - self._opened_tick[rows]) * TICK_SAMPLES
        return positions

    def skip(self, ticks: int) -> None:
        """Leave out so many ticks. What was to be heard in them would else be, when its slots come round."""
        self.next_tick += ticks
        self.reception.jitter.pause(np.array(sorted(self._opened), np.int64), self.next_tick)

    def settle(self) -> None:
        """Just before `commit`: hear external lanes, let late barge-in take effect, fill the packets."""
        if self._with_sockets < len(self._lanes):
            self._hear_external(self.next_tick)
        laws = self._law[self._lanes[: self._with_sockets]]
        self._events += self.transmission.settle(self.next_tick, self._lanes, laws)

    def commit(self) -> None:
        """Store the prepared tick in the table; the packets of `transmission.rows` are then to be sent."""
        tick, table, lanes = self.next_tick, self.table, self._lanes
        count = len(lanes)
        positions = self._positions(lanes)
        for i in np.flatnonzero(table.position[lanes] != positions).tolist():
            self._blank(int(lanes[i]), int(positions[i]))
        self._received.write(lanes, positions, self.reception.heard[:count])
        if len(kept := self._kept):
            self._sent.write(lanes[kept], positions[kept], self.transmission.playing[kept])
        self.keys.blank()
        if len(denoised := self.denoise.rows):
            self.denoise.store(self._positions(denoised))
        table.concealed[self._concealed] += 1
        table.delay_ms[lanes] = self.reception.jitter.delay[lanes] * 20
        table.latched[lanes] = self.peers.latched[lanes]
        self.transmission.commit(lanes, self._with_sockets)
        self.external.commit(tick)
        table.position[lanes] = positions + TICK_SAMPLES
        table.set("tick", tick)
        self.next_tick = tick + 1

    def deliver(self) -> bool:
        """After sending: give external lanes what they are to hear. Whether there are any, or tapped ones."""
        self.external.deliver(self.transmission.playing[self._with_sockets : len(self._lanes)])
        return self._attended

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

    def _blank(self, row: int, position: int) -> None:
        """Silence in both rings for the ticks that were not run."""
        start = int(self.table.position[row])
        if position - start >= HEARD_SAMPLES:
            start = position - HEARD_SAMPLES
        places = np.arange(start, position) % HEARD_SAMPLES
        self.table.received[row, places] = 0
        if self.table.original_kept[row]:
            self.table.original[row, places] = 0
        if self.table.sent_from[row] >= 0:
            self.table.sent[row, places] = 0

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
        if not configured.sending and not muxed and tick // _RTCP_TICKS % _KEEP_ALIVE_REPORTS == 0:
            self._orders.append(KeepAlive(row, address))

    def _generation(self, row: int) -> int:
        return int(self.table.generation[row])

    def _tell(self, event: PlaneEvent) -> None:
        self._events.append(event)

    def _tell_once(self, event: PlaneEvent) -> None:
        """What packets say, but for keys whose tones were faster."""
        if not (isinstance(event, DigitReceived) and self.keys.is_repeated(event)):
            self._tell(event)
