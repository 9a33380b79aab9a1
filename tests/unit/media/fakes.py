"""A media plane that only takes notes, over a real lane table."""

from typing import cast

from active_call.lanes.messages import CloseLane, ControlMessage, OpenLane
from active_call.lanes.table import LaneRef, Table
from active_call.media.lane import Lane
from active_call.media.ports import MediaSockets
from active_call.media.supervisor import MediaPlane


class NotingPlane:
    """Stands in for MediaPlane: keeps what lanes send."""

    def __init__(self) -> None:
        self.table = Table.create(4, epoch_ns=0, wall_ns=1_000_000_000_000_000_000)
        self.sent: list[ControlMessage] = []

    def send(self, message: ControlMessage, fds: tuple[int, ...] = ()) -> None:
        self.sent.append(message)

    def release(self, lane: Lane, message: CloseLane) -> None:
        self.sent.append(message)

    def lane(self, row: int = 1) -> Lane:
        """An open lane without sockets."""
        self.table.opened_tick[row] = 0
        opened = OpenLane(row, 7, ssrc=99, first_sequence=1, first_timestamp=1, cname="test")
        return Lane(cast("MediaPlane", self), LaneRef(row, 7), cast("MediaSockets", None), opened)
