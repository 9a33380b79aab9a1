"""Our 2xx to an INVITE, repeated until its ACK comes (RFC 3261 §13.3.1.4)."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from active_call.core.errors import RemoteProtocolError
from active_call.core.owner import Owner
from active_call.sip.dialogs.offers import Step
from active_call.sip.messages.body import sdp_of
from active_call.sip.messages.message import Request
from active_call.sip.transactions.timers import GIVE_UP, T1, T2
from active_call.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from active_call.sip.dialogs.usage import Usage

log = logging.getLogger(__name__)

_REPEAT, _GIVE_UP = "repeat 2xx", "no ACK"


@dataclass(slots=True)
class _Sent:
    transaction: ServerTransaction
    offered: bool
    """Whether the peer's INVITE had an offer; otherwise the ACK brings its answer."""
    initial: bool
    interval: float = T1


class PendingAck:
    """At most one 2xx waits for its ACK."""

    _usage = Owner["Usage"]()

    def __init__(self, usage: "Usage") -> None:
        self._usage = usage
        self._sent: _Sent | None = None

    @property
    def waiting(self) -> bool:
        """Whether an ACK is still to come."""
        return self._sent is not None

    def start(self, transaction: ServerTransaction, now: float, *, initial: bool) -> None:
        """A 2xx is about to be sent: repeat it until its ACK comes, and give up after 32 s."""
        self._sent = _Sent(transaction, bool(transaction.request.body.strip()), initial)
        self._usage.alarms.set(_REPEAT, now + T1, self._repeat)
        self._usage.alarms.set(_GIVE_UP, now + GIVE_UP, self._give_up)

    def receive(self, request: Request, now: float) -> None:
        """An ACK."""
        sent = self._sent
        if sent is None or sent.transaction.request.cseq[0] != request.cseq[0]:
            return
        self.forget()
        if not sent.offered:
            self._take_answer(request)
        self._usage.acknowledged(now, news=sent.initial or not sent.offered)

    def forget(self) -> None:
        """The ACK has come, or what says as much."""
        self._sent = None
        self._usage.alarms.clear(_REPEAT, _GIVE_UP)

    def _take_answer(self, request: Request) -> None:
        """The answer to our offer in the 2xx."""
        usage, sdp = self._usage, None
        try:
            sdp = sdp_of(request)
        except RemoteProtocolError as error:
            log.debug("- %s: useless body in ACK: %s", usage.call_id, error)
        if usage.dialog is not None and usage.dialog.offers.take(Step.ANSWER_RECEIVED):
            # Without an answer what was agreed on before stays; of a first INVITE that is nothing.
            usage.remote_sdp = sdp or usage.remote_sdp

    def _repeat(self, now: float) -> None:
        if self._sent is not None:
            self._sent.transaction.repeat_success()
            self._sent.interval = min(2 * self._sent.interval, T2)
            self._usage.alarms.set(_REPEAT, now + self._sent.interval, self._repeat)

    def _give_up(self, now: float) -> None:
        self.forget()
        why = f"no ACK in {GIVE_UP:.0f} s; our Contact is {self._usage.contact}: can it be reached from there?"
        self._usage.end("timeout", f"the answer was never confirmed: {why}", now)
