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
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import TICK_SAMPLES
from active_call.dsp.mix import RingWindow
from active_call.lanes.messages import RtcpByeReceived
from active_call.lanes.table import HEARD_SAMPLES, Table
from active_call.plane.control import BLOCK, RTCP_TICKS, ControlledLanes, LaneRecorder, SpeechDetector

Int64: TypeAlias = NDArray[np.int64]


class MediaTick(ControlledLanes):
    """The tick of all lanes of a table; see the base class for what is done to them between ticks."""

    def __init__(
        self, table: Table, vad: SpeechDetector, recorder: LaneRecorder, *, active: bool, next_tick: int = 0
    ) -> None:
        super().__init__(table, vad, recorder, active=active, next_tick=next_tick)
        self._received = RingWindow(table.received, TICK_SAMPLES)
        self._sent = RingWindow(table.sent, TICK_SAMPLES)
        self._lanes: Int64 = np.zeros(0, np.int64)
        """All lanes in the tick, those with sockets before the external ones: the order of the tick's audio."""
        self._with_sockets = 0
        """How many of them have sockets."""
        self._place = np.zeros(table.capacity, np.int64)
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
        blocks = [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
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
        for row in self._lanes[(self._lanes + tick) % RTCP_TICKS == 0].tolist():
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
