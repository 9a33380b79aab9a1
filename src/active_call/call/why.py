"""Why a call failed: from the evidence to one sentence for people.

The same sentence stands in the log, in the call record (`hangupDetail`), in the `hangup` event (`detail`) and
in the Reason header (RFC 3326) of what we send. Nothing here looks anything up.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from active_call.core.urls import mask_urls
from active_call.sip.messages.grammar import unquote
from active_call.sip.messages.message import REASONS

LONGEST = 300
"""Characters of a sentence; it travels in datagrams."""
_WORDS = 120
"""Characters of what a peer says about its refusal."""
_MANY = 25
"""Packets: fewer than these don't explain a silence that came later."""
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_Q850 = {
    1: "unallocated number",
    3: "no route to the destination",
    17: "user busy",
    18: "no user responding",
    19: "no answer",
    20: "subscriber absent",
    21: "call rejected",
    22: "number changed",
    27: "destination out of order",
    28: "invalid number format",
    34: "no circuit available",
    38: "network out of order",
    41: "temporary failure",
    42: "switching equipment congestion",
    57: "bearer capability not authorized",
    58: "bearer capability not available",
    88: "incompatible destination",
    102: "recovery on timer expiry",
}
"""What carriers' cause values mean (ITU-T Q.850), as far as they tell more than the status does."""


def sentence(text: str) -> str:
    """`text` on one line, without secrets in URLs, and not longer than LONGEST."""
    return _clipped(mask_urls(" ".join(text.split())), LONGEST)


def _clipped(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


# --- what the other side answered -------------------------------------------------------------------------


def refusal(status: int, reason: str, headers: Mapping[str, str], *, offered: str = "") -> str:
    """The callee refused our INVITE: its status, and what it says in Reason and Warning.

    `offered` is what its audio could have been.
    """
    reason = _clipped(" ".join(reason.split()), _WORDS) or REASONS.get(status, "")
    text = f"the callee answered {status} {reason}".rstrip()
    said = words_of(headers)
    if said and said.lower() != reason.lower():
        text += f" ({said})"
    if status in (415, 488, 606) and offered:
        text += f"; we offered {offered}"
    return sentence(text)


def words_of(headers: Mapping[str, str]) -> str:
    """What Reason (RFC 3326) or Warning (RFC 3261 §20.43) say in words, whatever a peer may have sent there."""
    by_name = {name.lower(): value for name, value in headers.items()}
    reason = by_name.get("reason", "")
    text = _text(reason)
    if not text and (found := re.search(r"Q\.850\s*;\s*cause\s*=\s*(\d{1,3})(?!\d)", reason, re.IGNORECASE)):
        number = int(found[1])
        text = f"Q.850 cause {number}" + (f", {_Q850[number]}" if number in _Q850 else "")
    return text or _text(by_name.get("warning", ""))


def _text(value: str) -> str:
    found = _QUOTED.search(value)
    return _clipped(" ".join(unquote(found[0]).split()), _WORDS) if found is not None else ""


# --- silence ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Silence:
    """What is known of a peer that no RTP comes from."""

    seconds: float
    received: int
    """Packets that came before."""
    ours: str
    """Where we expect RTP, host:port."""
    theirs: str = ""
    """Where its SDP asked for RTP, host:port; empty if nowhere that we reach."""
    private: bool = False
    """`theirs` is a private address, and not the one that its SIP comes from."""
    latching: bool = True
    """RTP may come from another address than `theirs`."""
    stranger: int = 0
    """Packets from other addresses than the peer's."""
    rejected: int = 0
    """Packets that could not be decrypted."""
    invalid: int = 0
    """Packets that were no RTP, or of a payload type that was not agreed on."""


def silence(found: Silence) -> str:
    """No RTP arrived for so long: with what came instead, or where it was to go."""
    text = f"no RTP arrived for {found.seconds:g} s"
    if found.received:
        text += f", after {_packets(found.received)}"
    least = _MANY if found.received else 1
    theirs = found.theirs or "no address that we reach"
    if found.rejected >= least:
        text += f"; {_packets(found.rejected)} could not be decrypted: the SRTP keys don't fit"
    elif found.stranger >= least:
        text += f"; {_packets(found.stranger)} came from elsewhere, not from {theirs} as in their SDP"
        text += "" if found.latching else " (enable_rtp_latching is off)"
    elif found.invalid >= least:
        text += f"; {_packets(found.invalid)} came with no payload type that we agreed on"
    elif found.received:
        text += f" to our {found.ours}; there was no BYE either"
    elif found.private:
        text += f"; their SDP asked for audio at {theirs} (private): is a NAT or firewall in the way"
        text += "?" if found.latching else ", with enable_rtp_latching off?"
    else:
        text += f"; their SDP asked for audio at {theirs}, ours at {found.ours}: "
        text += "does a firewall drop UDP, is external_ip right?"
    return sentence(text)


def _packets(count: int) -> str:
    return "1 packet" if count == 1 else f"{count} packets"
