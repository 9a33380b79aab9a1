"""Why a call ended, in the three vocabularies that need it: the event, the record, and plain words."""

from dataclasses import dataclass

from active_call.wire.commands import Hangup

_BY_INITIATOR = {"caller": "byCaller", "callee": "byCallee", "system": "autohangup"}
_BY_REASON = {
    "caller": "byCaller",
    "callee": "byCallee",
    "refer": "byRefer",
    "system": "bySystem",
    "autohangup": "autohangup",
    "inactivitytimeout": "inactivityTimeout",
    "noanswer": "noAnswer",
    "nobalance": "noBalance",
    "answermachine": "answerMachine",
    "serverunavailable": "serverUnavailable",
    "canceled": "canceled",
    "rejected": "rejected",
    "failed": "failed",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended: `reason` and `initiator` as the `hangup` event says them, `record` as the CDR does.

    `status` is the SIP status of the whole call, `detail` one sentence for people.
    """

    reason: str
    initiator: str
    record: str
    status: int = 200
    detail: str = ""


def ending_of_command(command: Hangup) -> Ending:
    """The ending that a `hangup` command asks for; its own words are echoed in the event."""
    reason, initiator = command.reason or "", command.initiator or ""
    record = _BY_INITIATOR.get(initiator.lower()) or (
        _BY_REASON.get(reason.lower(), reason) if reason else "bySystem"
    )
    return Ending(reason or "system", initiator or "system", record, detail=reason or "hung up by command")


def ending_by_peer(*, inbound: bool) -> Ending:
    """The other side sent BYE."""
    side = "caller" if inbound else "callee"
    return Ending(side, side, "byCaller" if inbound else "byCallee", detail=f"the {side} hung up")


AUTO_HANGUP = Ending("system", "system", "autohangup", detail="hung up after the last playback")
CANCELED = Ending("canceled", "caller", "canceled", 487, "the caller gave up before the answer")
SHUTDOWN = Ending("system", "system", "bySystem", detail="the gateway is shutting down")
NO_ACK = Ending("failed", "system", "failed", 408, "the caller never confirmed the answer (no ACK)")
CRASHED = Ending("failed", "system", "failed", 500, "an error inside the gateway ended the call")
CLIENT_GONE = Ending("system", "system", "bySystem", detail="the client that led the call has gone")
KILLED = Ending("system", "system", "bySystem", detail="killed by request")
NOT_ACCEPTED = Ending("noAnswer", "system", "noAnswer", 408, "nobody accepted the call in time")
NOT_ANSWERED = Ending("noAnswer", "system", "noAnswer", 408, "handshakeTimeout passed without an answer")
NO_PENDING_CALL = Ending("rejected", "system", "rejected", 486, "there was no pending call to accept")


def failed(detail: str) -> Ending:
    """We could not make or lead the call."""
    return Ending("failed", "system", "failed", 500, detail)


def inactive(seconds: float) -> Ending:
    """No RTP arrived for so long."""
    detail = f"no RTP arrived for {seconds:g} s"
    return Ending("inactivityTimeout", "system", "inactivityTimeout", detail=detail)


def refused(status: int, reason: str) -> Ending:
    """We refused an inbound call, or could not lead it."""
    record = {408: "noAnswer", 503: "serverUnavailable"}.get(status, "rejected")
    return Ending(record, "system", record, status, f"refused with {status} {reason}".rstrip())


def rejected(status: int, reason: str) -> Ending:
    """An outbound call was refused."""
    record = {408: "noAnswer", 480: "noAnswer", 487: "canceled", 503: "serverUnavailable"}.get(
        status, "rejected"
    )
    return Ending(record, "callee", record, status, f"the callee answered {status} {reason}")


def reason_header(status: int, text: str) -> dict[str, str]:
    """The headers of a response that repeat its reason in words (RFC 3326)."""
    if not text:
        return {}
    quoted = text.replace("\\", r"\\").replace('"', r"\"")
    return {"Reason": f'SIP;cause={status};text="{quoted}"'}
