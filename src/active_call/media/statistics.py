"""What the table counts of a lane."""

from dataclasses import dataclass

from active_call.lanes.table import Table


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """Counters of one lane, at one moment."""

    packets_received: int
    packets_sent: int
    octets_received: int
    octets_sent: int
    lost: int
    late: int
    duplicate: int
    invalid: int
    stranger: int
    concealed: int
    jitter_ms: float
    delay_ms: int
    rtt_ms: float
    remote_lost: int
    """Our packets that the peer reports missing."""
    remote_jitter_ms: float
    srtp_rejected: int
    """Packets of an encrypted lane that did not authenticate, or came again."""
    dropped: int = 0
    """20 ms frames of an external lane that came faster than time goes by."""
    missed: int = 0
    """20 ms frames for the peer of an external lane that were fetched too late."""

    @classmethod
    def read(cls, table: Table, row: int, missed: int | None) -> "LaneStatistics":
        """Those of the lane in `row` now; `missed` is of an external lane, None of any other."""
        return cls(
            packets_received=int(table.rx_packets[row]),
            packets_sent=int(table.tx_packets[row]),
            octets_received=int(table.rx_octets[row]),
            octets_sent=int(table.tx_octets[row]),
            lost=int(table.rx_lost[row]),
            late=int(table.rx_late[row]),
            duplicate=int(table.rx_duplicate[row]),
            invalid=int(table.rx_invalid[row]),
            stranger=int(table.rx_stranger[row]),
            concealed=int(table.concealed[row]),
            jitter_ms=round(float(table.jitter_ms[row]), 2),
            delay_ms=int(table.delay_ms[row]),
            rtt_ms=round(float(table.rtt_ms[row]), 2),
            remote_lost=int(table.remote_lost[row]),
            remote_jitter_ms=round(float(table.remote_jitter_ms[row]), 2),
            srtp_rejected=int(table.srtp_rejected[row]),
            dropped=int(table.external_dropped[row]) if missed is not None else 0,
            missed=missed or 0,
        )
