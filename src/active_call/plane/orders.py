"""What the tick wants done with the sockets of lanes, in order."""

from dataclasses import dataclass, field
from typing import TypeAlias

from active_call.lanes.messages import SrtpKeys
from active_call.plane.peers import Address, Connect


@dataclass(frozen=True, slots=True)
class SendRtcp:
    """Send `data` from the lane's RTCP socket, or from the RTP socket if `muxed`."""

    row: int
    address: Address
    data: bytes
    muxed: bool = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Send an empty datagram from the RTP socket, so that NATs on the way don't forget it (RFC 6263 §4.1)."""

    row: int
    address: Address


@dataclass(frozen=True, slots=True)
class Secure:
    """Encrypt what the lane sends as `ssrc`, and decrypt what it receives; no `keys`: it is plain."""

    row: int
    ssrc: int
    keys: SrtpKeys | None


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the lane's sockets."""

    row: int


Order: TypeAlias = Connect | Secure | SendRtcp | KeepAlive | Drop
