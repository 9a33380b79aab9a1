"""Why a call ended, in the three vocabularies that need it: the event, the record, and plain words."""

from collections.abc import Mapping
from dataclasses import dataclass

from active_call.call.why import refusal, sentence
from active_call.sip.events import Ended
from active_call.sip.messages.message import REASONS
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

    `status` is the SIP status of the whole call, `detail` one sentence for people, and `cause` the status with
    which we tell the peer that sentence when we end the call; 0 if there is nothing to tell it.
    """

    reason: str
    initiator: str
    record: str
    status: int = 200
    detail: str = ""
    cause: int = 0

    @property
    def failure(self) -> bool:
        """Whether the call ended by an error, ours or the network's, and not by what somebody wanted."""
        return self.record in _FAILURES


_FAILURES = ("failed", "inactivityTimeout", "serverUnavailable")


def ending_of_command(command: Hangup) -> Ending:
    """The ending that a `hangup` command asks for; its own words are echoed in the event."""
    reason, initiator = command.reason or "", command.initiator or ""
    record = _BY_INITIATOR.get(initiator.lower()) or (
        _BY_REASON.get(reason.lower(), reason) if reason else "bySystem"
    )
    return Ending(reason or "system", initiator or "system", record, detail=reason or "hung up by command")


def ending_by_peer(*, inbound: bool, words: str = "") -> Ending:
    """The other side sent BYE; `words` say more if there is more to say."""
    side = "caller" if inbound else "callee"
    detail = f"the {side} hung up" + (f": {words}" if words not in ("", "BYE") else "")
    return Ending(side, side, "byCaller" if inbound else "byCallee", detail=sentence(detail))


def ending_of_dialog(event: Ended, *, inbound: bool, answered: bool) -> Ending:
    """The dialog with the other side is over: it hung up, or signalling could not go on."""
    if event.by == "timeout" or (event.by == "local" and not answered):
        return broken_off(event.reason)
    return ending_by_peer(inbound=inbound, words=event.reason)


AUTO_HANGUP = Ending("system", "system", "autohangup", detail="hung up after the last playback")
SHUTDOWN = Ending("system", "system", "bySystem", detail="the gateway is shutting down", cause=503)
CRASHED = Ending(
    "failed",
    "system",
    "failed",
    500,
    "an error inside the gateway ended the call; its log says more",
    cause=500,
)
CLIENT_GONE = Ending("system", "system", "bySystem", detail="the client that led the call has gone", cause=500)
KILLED = Ending("system", "system", "bySystem", detail="killed by request")
NO_PENDING_CALL = Ending("rejected", "system", "rejected", 486, "there was no pending call to accept")


def canceled(seconds: float, words: str) -> Ending:
    """The caller sent CANCEL `seconds` after its INVITE; `words` say so."""
    words = words or "the caller gave up before the answer"
    return Ending("canceled", "caller", "canceled", 487, sentence(f"{words}, after {seconds:.1f} s"))


def not_answered(detail: str) -> Ending:
    """Nobody took the call in the time that was set."""
    return Ending("noAnswer", "system", "noAnswer", 408, sentence(detail), cause=408)


def failed(detail: str) -> Ending:
    """We could not make or lead the call."""
    return Ending("failed", "system", "failed", 500, sentence(detail), cause=500)


def broken_off(detail: str) -> Ending:
    """Signalling could not go on: no ACK, no refresh, no PRACK. The peer has been told already."""
    return Ending("failed", "system", "failed", 408, sentence(detail))


def inactive(detail: str) -> Ending:
    """No RTP arrived for too long."""
    return Ending("inactivityTimeout", "system", "inactivityTimeout", detail=detail, cause=408)


def refused(status: int, reason: str) -> Ending:
    """We refused an inbound call, or could not lead it; `reason` is why."""
    record = {408: "noAnswer", 503: "serverUnavailable"}.get(status, "rejected")
    words = reason or f"we answered {status} {REASONS.get(status, '')}".rstrip()
    return Ending(record, "system", record, status, sentence(words))


def rejected(
    status: int,
    reason: str,
    headers: Mapping[str, str] | None = None,
    *,
    ours: bool = False,
    offered: str = "",
) -> Ending:
    """An outbound call was refused, or never reached the callee.

    `ours`: `reason` is a sentence of ours. `headers` are those of the answer; `offered` is what we could speak.
    """
    record = {408: "noAnswer", 480: "noAnswer", 487: "canceled", 503: "serverUnavailable"}.get(
        status, "rejected"
    )
    detail = sentence(reason) if ours and reason else refusal(status, reason, headers or {}, offered=offered)
    never_answered = ours and status in (408, 502, 503)
    return Ending(record, "system" if never_answered else "callee", record, status, detail)


def unusable_answer(status: int, why: str) -> Ending:
    """The callee took our call, but in a way that makes no call; it gets `status` as cause."""
    detail = sentence(f"the callee's answer can't be used: {why}")
    return Ending("rejected", "callee", "rejected", status, detail, cause=status)


def reason_header(status: int, text: str) -> dict[str, str]:
    """The headers of a response that repeat its reason in words (RFC 3326)."""
    if not text:
        return {}
    quoted = text.replace("\\", r"\\").replace('"', r"\"")
    return {"Reason": f'SIP;cause={status};text="{quoted}"'}
