"""The media plane, as the control plane sees it: starts it, keeps a warm spare, replaces it, feeds it.

Two child processes run `python -m active_call.plane` over one lane table: the active one ticks, the spare has
the same sockets and settings and watches the pid of the first. When the active one dies or hangs the spare
takes over by itself (we may be blocked at that moment), says so with PlanePromoted, and a new spare is
started here and told about every open lane. Without a spare, a new process is started the same way: its
predecessor is dead already, so it takes over at once.
"""

import array
import asyncio
import heapq
import logging
import os
import socket
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, field

import msgspec

from active_call.core.audio import TICK_SECONDS
from active_call.core.clock import monotonic_ns, wall_ns
from active_call.core.errors import MediaError
from active_call.core.limits import raise_descriptor_limit
from active_call.lanes.external import ExternalCodec, frame_bytes
from active_call.lanes.messages import (
    CloseLane,
    ControlMessage,
    LaneClosed,
    LaneEvent,
    OpenExternal,
    OpenLane,
    PlaneEvent,
    PlanePromoted,
    PlaneReady,
    Quit,
    decode_events,
    encode_controls,
)
from active_call.lanes.table import LaneRef, Table
from active_call.media.lane import Lane
from active_call.media.ports import PortRange

log = logging.getLogger(__name__)

_EVENT_BYTES = 1 << 18
_FEED_PHASES = 5
_START_SECONDS = 10.0
_FIRST_RESTART_PAUSE = 0.2
_MINIMAL_SLACK_MS = 2.0
_BACKLOG_LIMIT = 20_000
"""Control messages that wait for a process which reads none: it is stuck, and killed."""


@dataclass(eq=False)
class _Child:
    """One media process and the control end of its pipe."""

    process: subprocess.Popen[bytes]
    pipe: socket.socket
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    backlog: deque[tuple[bytes, tuple[int, ...]]] = field(default_factory=deque)
    gone: bool = False


class MediaPlane:
    """Owns the lane table, the media processes and all lanes."""

    def __init__(
        self, *, capacity: int, ports: PortRange, cname: str, spare: bool = True, realtime: bool = True
    ) -> None:
        now = monotonic_ns()
        self.table = Table.create(capacity, epoch_ns=now, wall_ns=wall_ns())
        self.lanes: dict[int, Lane] = {}
        self.promotions = 0
        self._ports = ports
        self._cname = cname
        self._want_spare = spare
        self._realtime = realtime
        self._free = list(range(capacity))
        self._generation = 0
        self._active: _Child | None = None
        self._spare: _Child | None = None
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        """Written by the media plane each tick in which external or tapped lanes have news."""
        self._attended: dict[int, Lane] = {}
        self._feed_phase = 0
        self._slack_ms = TICK_SECONDS * 1000
        self._feed_timer: asyncio.TimerHandle | None = None
        self._restart_pause = _FIRST_RESTART_PAUSE

    # --- life -----------------------------------------------------------------------------------------

    def spawn(self) -> None:
        """Start the active process without waiting: it sets itself up while the rest of the gateway does."""
        raise_descriptor_limit()
        self._active = self._start_child(predecessor=None)

    async def start(self) -> None:
        """Wait until the media plane ticks. Raises MediaError if it does not come up."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._wake, self._attend)
        if self._active is None:
            self.spawn()
        child = self._active
        assert child is not None
        self._watch(child)
        try:
            await asyncio.wait_for(child.ready.wait(), _START_SECONDS)
        except TimeoutError:
            await self.aclose()
            raise MediaError(f"the media plane was not ready within {_START_SECONDS:.0f} s") from None
        if self._want_spare:
            self._spare = self._start_child(predecessor=child)
            self._watch(self._spare)
        self._feed()

    async def aclose(self) -> None:
        """Let the processes finish their files and exit. Harmless a second time."""
        if self._closing:
            return
        self._closing = True
        if self._feed_timer is not None:
            self._feed_timer.cancel()
        for lane in list(self.lanes.values()):
            if lane.sockets:
                lane.sockets.close()
        children = [child for child in (self._active, self._spare) if child is not None]
        for child in children:
            self._send_to(child, [Quit()])
        for child in children:
            await self._reap(child)
        self.lanes.clear()
        self._attended.clear()
        if self._loop is not None:
            self._loop.remove_reader(self._wake)
        os.close(self._wake)
        self.table.close()

    async def _reap(self, child: _Child) -> None:
        for _ in range(100):
            if child.process.poll() is not None:
                break
            await asyncio.sleep(0.02)
        else:
            child.process.kill()
            child.process.wait(1.0)
        self._unwatch(child)

    @property
    def pids(self) -> tuple[int | None, int | None]:
        """Process ids of the active plane and of the spare."""
        return (
            self._active.process.pid if self._active else None,
            self._spare.process.pid if self._spare else None,
        )

    @property
    def spare_ready(self) -> bool:
        """Whether a warm spare waits."""
        return self._spare is not None and self._spare.ready.is_set()

    @property
    def slack_ms(self) -> float:
        """Time left before a tick's deadline, smoothed over about half a second."""
        return self._slack_ms

    @property
    def overloaded(self) -> bool:
        """Admission by deadline: no room for another call."""
        return not self._free or self._slack_ms < _MINIMAL_SLACK_MS

    # --- lanes ----------------------------------------------------------------------------------------

    def open_lane(self, *, ipv6: bool = False) -> Lane:
        """A fresh lane with bound sockets. Raises MediaError if rows or ports are used up, or no IPv6."""
        self._require_room()
        sockets = self._ports.open_pair(ipv6=ipv6)
        ref = self._take_row()
        token = os.urandom(10)
        opened = OpenLane(
            ref.row,
            ref.generation,
            ssrc=int.from_bytes(token[:4], "big"),
            first_sequence=int.from_bytes(token[4:6], "big") >> 1,
            first_timestamp=int.from_bytes(token[6:10], "big"),
            cname=self._cname,
        )
        lane = self.lanes[ref.row] = Lane(self, ref, sockets, opened)
        self.send(opened, (sockets.rtp.fileno(), sockets.rtcp.fileno()))
        return lane

    def open_external_lane(self, codec: ExternalCodec, rate_hz: int) -> Lane:
        """A fresh lane without sockets: see Lane.feed and Lane.on_audio. `rate_hz` matters to pcm only.

        Raises MediaError if rows are used up, or for a codec or rate that such lanes don't have.
        """
        try:
            frame_bytes(codec, rate_hz)
        except ValueError as error:
            raise MediaError(str(error)) from None
        self._require_room()
        ref = self._take_row()
        opened = OpenExternal(ref.row, ref.generation, codec, rate_hz)
        lane = self.lanes[ref.row] = Lane(self, ref, None, opened)
        self.send(opened)
        self.attend(lane)
        return lane

    def _require_room(self) -> None:
        if not self._free:
            raise MediaError(f"all {self.table.capacity} lanes are in use")

    def _take_row(self) -> LaneRef:
        """The lowest free row, with the columns that count its audio at 0."""
        row = heapq.heappop(self._free)
        self._generation += 1
        table = self.table
        for column in (
            table.play_write,
            table.play_read,
            table.play_flush,
            table.external_write,
            table.external_chunk,
            table.external_sent,
        ):
            column[row] = 0
        table.opened_tick[row] = -1
        table.generation[row] = self._generation
        return LaneRef(row, self._generation)

    def attend(self, lane: Lane) -> None:
        """Look after the lane in every tick, or no more, as it says."""
        if lane.attended and not lane.closing:
            self._attended[lane.ref.row] = lane
        elif self._attended.get(lane.ref.row) is lane:
            del self._attended[lane.ref.row]

    def release(self, lane: Lane, message: CloseLane) -> None:
        """Called by Lane.close: the row is free again once the active plane has answered."""
        self.send(message)
        self.attend(lane)
        if lane.sockets:
            lane.sockets.close()

    def send(self, message: ControlMessage, fds: tuple[int, ...] = ()) -> None:
        """Tell both processes, in order."""
        for child in (self._active, self._spare):
            if child is not None and not child.gone:
                self._send_to(child, [message], fds)

    def _send_to(self, child: _Child, messages: list[ControlMessage], fds: tuple[int, ...] = ()) -> None:
        data = encode_controls(messages)
        # A queued message outlives the caller's sockets, so it keeps descriptors of its own.
        if child.backlog:
            child.backlog.append((data, tuple(os.dup(fd) for fd in fds)))
            if len(child.backlog) == _BACKLOG_LIMIT:
                log.error("media process %d reads nothing; killing it", child.process.pid)
                child.process.kill()
            return
        try:
            _send_with_fds(child.pipe, data, fds)
        except BlockingIOError:
            child.backlog.append((data, tuple(os.dup(fd) for fd in fds)))
            if self._loop is not None:
                self._loop.add_writer(child.pipe, self._send_backlog, child)
        except OSError as error:
            log.debug("media process %d: %s", child.process.pid, error)

    def _send_backlog(self, child: _Child) -> None:
        while child.backlog:
            data, fds = child.backlog[0]
            try:
                _send_with_fds(child.pipe, data, fds)
            except BlockingIOError:
                return
            except OSError:
                pass
            child.backlog.popleft()
            for fd in fds:
                os.close(fd)
        if self._loop is not None:
            self._loop.remove_writer(child.pipe)

    # --- children -------------------------------------------------------------------------------------

    def _start_child(self, *, predecessor: _Child | None) -> _Child:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        fds = (self.table.fd, theirs.fileno(), self._wake)
        command = [sys.executable, "-m", "active_call.plane"]
        for option, fd in zip(("--table", "--pipe", "--wake"), fds, strict=True):
            command += [option, str(fd)]
        if not self._realtime:
            command.append("--normal-priority")
        if predecessor is not None:
            command += ["--spare-of", str(predecessor.process.pid)]
        # A process group of its own: Ctrl-C in the terminal is for the control plane. One BLAS thread: the
        # matrices are small, and idle ones would spin on the core that the control plane needs.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            command, pass_fds=fds, stdin=subprocess.DEVNULL, env=environment, process_group=0
        )
        theirs.close()
        child = _Child(process, ours)
        for lane in self.lanes.values():
            if not lane.closing:
                first, *rest = lane.replay()
                sockets = lane.sockets
                pair = (sockets.rtp.fileno(), sockets.rtcp.fileno()) if sockets else ()
                self._send_to(child, [first], pair)
                self._send_to(child, rest)
        return child

    def _watch(self, child: _Child) -> None:
        assert self._loop is not None
        self._loop.add_reader(child.pipe, self._receive, child)
        if child.backlog:
            self._loop.add_writer(child.pipe, self._send_backlog, child)

    def _unwatch(self, child: _Child) -> None:
        if child.gone:
            return
        child.gone = True
        if self._loop is not None:
            self._loop.remove_reader(child.pipe)
            self._loop.remove_writer(child.pipe)
        for _, fds in child.backlog:
            for fd in fds:
                os.close(fd)
        child.backlog.clear()
        child.pipe.close()

    def _receive(self, child: _Child) -> None:
        while True:
            try:
                data = child.pipe.recv(_EVENT_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lost(child)
                return
            try:
                events = decode_events(data)
            except msgspec.DecodeError:
                log.exception("media process %d sent something unreadable", child.process.pid)
                continue
            for event in events:
                self._dispatch(child, event)

    def _dispatch(self, child: _Child, event: PlaneEvent) -> None:
        match event:
            case PlaneReady():
                child.ready.set()
                self._restart_pause = _FIRST_RESTART_PAUSE
                log.info("- media process %d is %s", event.pid, "active" if event.active else "the spare")
            case PlanePromoted():
                self._promoted(child, event)
            case LaneEvent():
                lane = self.lanes.get(event.row)
                if lane is None or lane.ref.generation != event.generation:
                    return
                if isinstance(event, LaneClosed) and not event.active:
                    return
                try:
                    lane.receive(event)
                except Exception:  # a fault in one call must not cost the others their events
                    log.exception("lane %d: the listener failed on %s", event.row, type(event).__name__)
                self._release_if_done(lane)

    def _release_if_done(self, lane: Lane) -> None:
        if lane.statistics is not None and not lane.recording_pending:
            del self.lanes[lane.ref.row]
            heapq.heappush(self._free, lane.ref.row)
            lane.let_go()

    def _promoted(self, child: _Child, event: PlanePromoted) -> None:
        self.promotions += 1
        gap = event.first_tick - event.last_tick
        log.warning("- media process %d took over after tick %d (%d ticks)", event.pid, event.last_tick, gap)
        old, self._active = self._active, child
        if self._spare is child:
            self._spare = None
        if old is not None and old is not child:
            self._unwatch(old)
            old.process.kill()
            old.process.wait(1.0)
        # Closing lanes that the dead process never confirmed: ask again. It left their files valid, but short.
        for lane in list(self.lanes.values()):
            if lane.recording is None:
                lane.recording_pending = False
            if lane.closing:
                self._send_to(child, [CloseLane(lane.ref.row, lane.ref.generation)])
                self._release_if_done(lane)
        self._replace_spare()

    def _lost(self, child: _Child) -> None:
        self._unwatch(child)
        try:
            status = child.process.wait(0.2)
        except subprocess.TimeoutExpired:
            child.process.kill()
            status = child.process.wait(1.0)
        if self._closing:
            return
        log.warning("- media process %d ended with status %d", child.process.pid, status)
        if self._spare is child:
            self._spare = None
        if self._active is not None and self._active.gone and self._spare is None:
            log.error("- the media plane died without a spare; starting another")
            # One that could not even start is not tried again at once.
            assert self._loop is not None
            pause = 0.0 if self._active.ready.is_set() else self._next_pause()
            self._loop.call_later(pause, self._start_successor, self._active)
        elif self._active is not child:
            self._replace_spare()

    def _replace_spare(self) -> None:
        if self._closing or not self._want_spare or self._loop is None or self._spare is not None:
            return
        self._loop.call_later(self._next_pause(), self._start_spare)

    def _next_pause(self) -> float:
        pause, self._restart_pause = self._restart_pause, min(self._restart_pause * 2, 10.0)
        return pause

    def _start_spare(self) -> None:
        if self._closing or self._spare is not None or self._active is None:
            return
        self._spare = self._start_child(predecessor=self._active)
        self._watch(self._spare)

    def _start_successor(self, dead: _Child) -> None:
        if self._closing or self._active is not dead:
            return
        self._active = self._start_child(predecessor=dead)
        self._watch(self._active)

    # --- feeding --------------------------------------------------------------------------------------

    def _attend(self) -> None:
        """Once per tick, right after it: external and tapped lanes."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return
        for row, lane in list(self._attended.items()):
            try:
                lane.attend()
            except Exception:  # a fault in one call must not starve the others
                log.exception("lane %d could not be attended to; nothing is handed over any more", row)
                self._attended.pop(row, None)

    def _feed(self) -> None:
        """Every tick, a fifth of the lanes: top up playback, hand over received audio."""
        if self._closing or self._loop is None:
            return
        self._feed_timer = self._loop.call_later(TICK_SECONDS, self._feed)
        self._feed_phase = (self._feed_phase + 1) % _FEED_PHASES
        if self.table.get("ticks"):
            self._slack_ms += (self.table.get("slack_ns") / 1e6 - self._slack_ms) / 25
        for row, lane in list(self.lanes.items()):
            if row % _FEED_PHASES == self._feed_phase:
                try:
                    if lane.waiting:
                        lane.top_up()
                    if lane.listening:
                        lane.drain()
                except Exception:  # a fault in one call must not starve the others
                    log.exception("lane %d could not be fed; it is heard no more", row)
                    lane.listen(None)


def _send_with_fds(pipe: socket.socket, data: bytes, fds: tuple[int, ...]) -> None:
    if fds:
        rights = array.array("i", fds)
        pipe.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    else:
        pipe.send(data)
