"""A negotiated session as its lane needs it, and as people read it."""

import ipaddress

from active_call.lanes.messages import ConfigureLane
from active_call.lanes.table import LaneRef
from active_call.sdp.negotiate import Negotiated


def configuration(
    ref: LaneRef, session: Negotiated, *, latching: bool, jitter_ms: int, peer_host: str
) -> ConfigureLane:
    """What the lane is told; `peer_host` is where the peer's SIP comes from."""
    return ConfigureLane(
        ref.row,
        ref.generation,
        sends=session.sends,
        receives=session.receives,
        sends_events=session.sends_events,
        remote=session.remote,
        remote_rtcp=session.remote_rtcp,
        ptime_ms=session.ptime_ms,
        sending=session.sending,
        # What a peer sends to who is held is music: no speech, and nothing to be recorded.
        receiving=session.receiving and not session.held,
        latching=latching,
        jitter_ms=jitter_ms,
        rtcp_mux=session.rtcp_mux,
        srtp=session.srtp,
        peer_host=peer_host,
        inband_digits=session.sends_events is None,
    )


def describe(session: Negotiated, *, private: bool = False) -> str:
    """One line for logs; `private`: the peer's address can't be reached from here."""
    parts = [f"{session.codec} as {session.sends.payload_type}, {session.ptime_ms} ms"]
    if session.remote is not None:
        host, port = session.remote
        parts.append(f"to {f'[{host}]' if ':' in host else host}:{port}" + (" (private)" if private else ""))
    events = session.sends_events
    parts.append(f"keys as {events.payload_type}" if events is not None else "no telephone-event")
    parts.append(f"encrypted by {session.srtp.suite}" if session.srtp is not None else "not encrypted")
    if session.rtcp_mux:
        parts.append("rtcp-mux")
    if not (session.sending and session.receiving):
        parts.append("sends" if session.sending else "sends nothing")
        parts.append("receives" if session.receiving else "receives nothing")
    return ", ".join(parts)


def is_loopback(host: str) -> bool:
    """Whether it is an address of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
