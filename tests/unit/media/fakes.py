"""A media plane that only takes notes, over a real lane table."""

from collections.abc import Callable
from socket import socket
from typing import TypeVar, cast

from active_call.core.errors import MediaError
from active_call.lanes.external import ExternalCodec
from active_call.lanes.messages import CloseLane, ControlMessage, OpenExternal, OpenLane
from active_call.lanes.table import LaneRef, Table
from active_call.media.lane import Lane
from active_call.media.ports import MediaSockets
from active_call.media.supervisor import MediaPlane

M = TypeVar("M", bound=ControlMessage)


class NotingPlane:
    """Stands in for MediaPlane: keeps what lanes send."""

    def __init__(self) -> None:
        self.table = Table.create(4, epoch_ns=0, wall_ns=1_000_000_000_000_000_000)
        self.sent: list[ControlMessage] = []
        self.lanes: list[Lane] = []
        self.attended: set[Lane] = set()
        self.answers = True
        """Whether it confirms that it has let go of a lane."""
        self.overloaded = False
        self.slack_ms = 15.0

    def send(self, message: ControlMessage, fds: tuple[int, ...] = ()) -> None:
        self.sent.append(message)

    def attend(self, lane: Lane) -> None:
        (self.attended.add if lane.attended else self.attended.discard)(lane)

    def release(self, lane: Lane, message: CloseLane) -> None:
        self.sent.append(message)
        if self.answers:
            lane.statistics = lane.snapshot()
            if lane.recording_pending:
                lane.closed.set()  # the test tells when the file is finished
            else:
                lane.let_go()

    def lane(self, row: int = 1) -> Lane:
        """An open lane without sockets."""
        self.table.opened_tick[row] = 0
        opened = OpenLane(row, 7, ssrc=99, first_sequence=1, first_timestamp=1, cname="test")
        sockets = MediaSockets(cast("socket", None), cast("socket", None), 4000)
        return Lane(cast("MediaPlane", self), LaneRef(row, 7), sockets, opened)

    def external_lane(self, codec: ExternalCodec = "pcm", rate_hz: int = 16_000, row: int = 1) -> Lane:
        """An open lane whose audio is fed."""
        self.table.opened_tick[row] = 0
        return Lane(cast("MediaPlane", self), LaneRef(row, 7), None, OpenExternal(row, 7, codec, rate_hz))

    def open_lane(self, *, ipv6: bool = False) -> Lane:
        """The next free row's lane. Raises MediaError when all are taken."""
        return self._opened(self.lane)

    def open_external_lane(self, codec: ExternalCodec, rate_hz: int) -> Lane:
        """The same for an external lane."""
        return self._opened(lambda row: self.external_lane(codec, rate_hz, row))

    def _opened(self, make: Callable[[int], Lane]) -> Lane:
        if len(self.lanes) == self.table.capacity:
            raise MediaError("all lanes are in use")
        lane = make(len(self.lanes))
        self.lanes.append(lane)
        return lane

    def told(self, kind: type[M]) -> list[M]:
        """The messages of one kind so far."""
        return [message for message in self.sent if isinstance(message, kind)]
