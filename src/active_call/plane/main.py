"""The process of the media plane: a clock around the tick, or a spare that waits for it to stop.

The control plane starts two of them on one lane table. Both obey the same control messages. The active one
ticks at absolute deadlines; the spare watches its process id and its tick, and goes on with the next deadline
when it died, or when it has hung for 200 ms (it is killed first, so that two never tick).
"""

import argparse
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from typing import Final

import msgspec

from active_call.core.audio import TICK_NS
from active_call.core.clock import monotonic_ns
from active_call.core.limits import raise_descriptor_limit
from active_call.core.log import LEVELS, setup
from active_call.lanes.messages import (
    ControlMessage,
    OpenLane,
    PlaneEvent,
    PlanePromoted,
    PlaneReady,
    Quit,
    decode_controls,
    encode_events,
)
from active_call.lanes.table import Table
from active_call.plane.sockets import LaneSockets, receive_controls
from active_call.plane.tick import MediaTick
from active_call.plane.vad import VadEngine
from active_call.plane.writer import Recorder

log = logging.getLogger(__name__)

_CONTROL_BYTES: Final = 1 << 18
_EVENTS_PER_MESSAGE: Final = 500
_EVENTS_WAITING: Final = 20_000
_MOST_BEHIND: Final = 5
"""Ticks that are caught up; after a longer stall they are skipped."""
_LEAST_LEAD_NS, _MOST_LEAD_NS = 2_000_000, 14_000_000
_MARGIN_NS: Final = 1_000_000
"""Preparation starts so long before it has to, as experience goes."""
_CONTROL_NS: Final = 3_000_000
"""Control messages get so much of a tick; a burst of them is spread over several."""
_HUNG_NS: Final = 200_000_000
_WATCH_MS: Final = 20
_STALLED_NS: Final = 60_000_000
"""A spare that slept longer than this was stalled itself and can't judge."""


class Quitting(Exception):
    """The control plane said so, or is gone."""


class Plane:
    """One process: lane table, pipe to the control plane, tick and sockets."""

    def __init__(self, table: Table, pipe: socket.socket, wake: int | None, *, active: bool) -> None:
        self._table = table
        self._pipe = pipe
        self._wake = wake
        self._vad = VadEngine(table.capacity)
        self._vad.warm_up()
        self._recorder = Recorder(table)
        self._media = MediaTick(table, self._vad, self._recorder, active=active)
        self._sockets = LaneSockets(self._media)
        self._events: deque[PlaneEvent] = deque()
        self._prepare_ns = _LEAST_LEAD_NS

    def run(self, watched: int | None) -> None:
        """Tick, or first wait until the process `watched` does so no more. Returns when told to quit."""
        self._events.append(PlaneReady(os.getpid(), watched is None))
        self._send_events()
        try:
            last_tick = None
            if watched is not None:
                last_tick = self._wait_for_failure(watched)
            self._take_over(last_tick)
            self._tick_forever()
        except Quitting:
            pass
        finally:
            self._finish()

    # --- the spare ------------------------------------------------------------------------------------

    def _wait_for_failure(self, watched: int) -> int:
        """Obey control messages until the active process is gone. Returns the last tick it committed."""
        table = self._table
        while True:
            pidfd = _open_pidfd(watched)
            if pidfd is not None:
                self._watch(watched, pidfd)
                os.close(pidfd)
            self._receive_controls()
            active = table.get("active_pid")
            if active in (watched, 0, os.getpid()) or _open_pidfd(active, close=True) is None:
                return table.get("tick")
            watched = active  # another spare was faster

    def _watch(self, watched: int, pidfd: int) -> None:
        """Return when the process has ended; kill it when its tick stands still."""
        table = self._table
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(self._pipe, select.POLLIN)
        last_tick, moved_ns = table.get("tick"), monotonic_ns()
        while True:
            before_ns = monotonic_ns()
            ready = {fd for fd, _ in poll.poll(_WATCH_MS)}
            now_ns = monotonic_ns()
            if pidfd in ready:
                return
            if self._pipe.fileno() in ready:
                self._receive_controls()
                self._send_events()
            tick = table.get("tick")
            ticking = table.get("active_pid") == watched and tick >= 0
            if tick != last_tick or not ticking or now_ns - before_ns > _STALLED_NS:
                last_tick, moved_ns = tick, now_ns
            elif now_ns - moved_ns >= _HUNG_NS:
                log.error("media process %d hangs at tick %d; killing it", watched, tick)
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                moved_ns = now_ns

    def _take_over(self, last_tick: int | None) -> None:
        table = self._table
        table.set("active_pid", os.getpid())
        # The first tick is the next deadline, which takes no longer to prepare than is left until then.
        tick = self._tick_at(monotonic_ns()) + 1
        self._media.promote(tick, self._sockets.watch())
        for word in ("ticks", "late_ticks", "skipped_ticks"):
            table.set(word, 0)
        if last_tick is not None:
            self._events.append(PlanePromoted(os.getpid(), last_tick, tick))

    # --- the clock ------------------------------------------------------------------------------------

    def _tick_at(self, now_ns: int) -> int:
        return (now_ns - self._table.get("epoch_ns")) // TICK_NS

    def _tick_forever(self) -> None:
        table, media = self._table, self._media
        ticks = late = skipped = 0
        while True:
            tick = media.next_tick
            deadline_ns = table.tick_ns(tick)
            self._sleep_until(deadline_ns - self._lead_ns())
            started_ns = monotonic_ns()
            behind = (started_ns - deadline_ns) // TICK_NS
            if behind > _MOST_BEHIND:
                skipped += behind
                table.set("skipped_ticks", skipped)
                log.warning("stalled: %d ticks are skipped", behind)
                media.skip(behind)
                continue
            self._receive_controls(started_ns + _CONTROL_NS)
            self._sockets.drain(tick)
            media.prepare(tick)
            self._obey_orders()
            ready_ns = monotonic_ns()
            self._sleep_until(deadline_ns)
            sending_ns = monotonic_ns()
            media.settle()
            self._events += media.take_events()
            self._send_events()
            media.commit()
            self._sockets.send()
            if media.deliver() and self._wake is not None:
                os.eventfd_write(self._wake, 1)
            self._sockets.drain_rtcp(tick)
            media.finish()
            self._obey_orders()
            # What the detector found must not wait for the next tick.
            self._events += media.take_events()
            self._send_events()
            ended_ns = monotonic_ns()

            work_ns = ready_ns - started_ns + ended_ns - sending_ns
            self._prepare_ns = max(ready_ns - started_ns, self._prepare_ns - self._prepare_ns // 64)
            ticks += 1
            if ended_ns > deadline_ns + TICK_NS:
                late += 1
                table.set("late_ticks", late)
            table.set("ticks", ticks)
            table.set("work_ns", work_ns)
            table.set("slack_ns", TICK_NS - work_ns)

    def _lead_ns(self) -> int:
        return min(max(self._prepare_ns + _MARGIN_NS, _LEAST_LEAD_NS), _MOST_LEAD_NS)

    @staticmethod
    def _sleep_until(moment_ns: int) -> None:
        remaining = moment_ns - monotonic_ns()
        if remaining > 0:
            time.sleep(remaining / 1e9)

    def _obey_orders(self) -> None:
        for order in self._media.take_orders():
            self._sockets.obey(order)

    # --- the pipe -------------------------------------------------------------------------------------

    def _receive_controls(self, until_ns: int | None = None) -> None:
        """Apply waiting control messages, until a moment at most. Raises Quitting at Quit and at the end."""
        while until_ns is None or monotonic_ns() < until_ns:
            try:
                data, fds, truncated = receive_controls(self._pipe, _CONTROL_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                data, fds, truncated = b"", [], False
            if not data:
                raise Quitting
            if truncated:
                log.error("descriptors of a control message were lost; is RLIMIT_NOFILE too low?")
            try:
                messages = decode_controls(data)
            except msgspec.DecodeError:
                log.exception("unreadable control message")
                messages = []
            for message in messages:
                self._apply(message, fds)
            for fd in fds:
                os.close(fd)

    def _apply(self, message: ControlMessage, fds: list[int]) -> None:
        if isinstance(message, Quit):
            raise Quitting
        if isinstance(message, OpenLane):
            if len(fds) < 2 or not 0 <= message.row < self._table.capacity:
                log.error("lane %d came without sockets", message.row)
                return
            pair = fds.pop(0), fds.pop(0)
            if self._table.generation[message.row] != message.generation:
                for fd in pair:
                    os.close(fd)
                return
            self._media.apply(message)
            self._obey_orders()
            self._sockets.open(message.row, *pair)
            return
        self._media.apply(message)
        self._obey_orders()
        if not self._media.active:
            self._events += self._media.take_events()

    def _send_events(self) -> None:
        """Send what fits into the pipe; keep the rest for the next tick, up to a limit."""
        events = self._events
        while events:
            batch = [events[i] for i in range(min(len(events), _EVENTS_PER_MESSAGE))]
            try:
                self._pipe.send(encode_events(batch))
            except BlockingIOError:
                break
            except OSError:  # the control plane is gone; the next read says so
                return
            for _ in batch:
                events.popleft()
        excess = len(events) - _EVENTS_WAITING
        if excess > 0:
            for _ in range(excess):
                events.popleft()
            self._table.set("events_dropped", self._table.get("events_dropped") + excess)

    def _finish(self) -> None:
        if self._media.active:
            self._recorder.close()
            self._events += self._recorder.collect(self._media.next_tick)
            self._send_events()
        self._vad.close()


def _open_pidfd(pid: int, *, close: bool = False) -> int | None:
    """A descriptor of a media process that is alive, or None. A number used again by others doesn't count."""
    try:
        pidfd = os.pidfd_open(pid)
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            ours = b"active_call.plane" in file.read()
    except (ProcessLookupError, FileNotFoundError):
        return None
    if not ours or close:
        os.close(pidfd)
    return pidfd if ours else None


def _raise_limits(*, realtime: bool) -> None:
    """As many descriptors and as much priority as we are allowed; less of either is no error."""
    raise_descriptor_limit()
    if not realtime:
        return
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    except OSError:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, -10)
        except OSError:
            log.debug("no permission for a higher priority")


def main(arguments: list[str]) -> int:
    """Entry point of the child process."""
    parser = argparse.ArgumentParser(prog="python -m active_call.plane")
    parser.add_argument("--table", type=int, required=True, help="descriptor of the lane table")
    parser.add_argument("--pipe", type=int, required=True, help="descriptor of the SEQPACKET pipe")
    parser.add_argument("--wake", type=int, help="descriptor of an eventfd: external or tapped lanes have news")
    parser.add_argument("--spare-of", type=int, help="process id of the active media process")
    parser.add_argument("--normal-priority", action="store_true", help="for load generators: yield to others")
    parser.add_argument("--log", choices=LEVELS, default="info")
    options = parser.parse_args(arguments)
    # The control plane decides when we end: by a message, or by its own end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    setup(options.log)
    sys.setswitchinterval(0.0005)
    table = Table.attach(options.table)
    pipe = socket.socket(fileno=options.pipe)
    pipe.setblocking(False)
    plane = Plane(table, pipe, options.wake, active=options.spare_of is None)
    _raise_limits(realtime=not options.normal_priority)
    gc.collect()
    gc.freeze()
    gc.disable()
    plane.run(options.spare_of)
    return 0
