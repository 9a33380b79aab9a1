"""Inbound calls that are refused before they come about: counted, and most of them recorded.

Whoever finds our SIP port can send INVITEs for ever. So each refusal is counted and gets its line in the log,
but a record and a dump only as long as the allowance lasts: for `BURST` at once, and then for one per second.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from active_call.call import goodbye
from active_call.call.reasons import Ending, reason_header, refused
from active_call.call.record import record
from active_call.call.state import CallTimes
from active_call.core.clock import Clock
from active_call.core.errors import ActiveCallError
from active_call.core.names import safe_name
from active_call.records.cdr import CallRecord, save_local
from active_call.records.dump import Dump
from active_call.sip.agent import Direction
from active_call.sip.events import Declined

log = logging.getLogger(__name__)

BURST = 60
PER_SECOND = 1.0
_RETRY_SECONDS = 5
_ACK_SECONDS = 1.0
"""How long a dump waits for the caller's ACK."""

EarlyMessage = tuple[Direction, bytes, str]
"""A SIP message that came before there was a call: its direction, the message, the peer."""


class Refused(ActiveCallError):
    """A call is answered with `status` and a reason in words; `retry`: later may be better.

    `detail` says why in a sentence, if `reason` doesn't.
    """

    def __init__(self, status: int, reason: str, *, detail: str = "", retry: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.detail = detail or reason
        self.retry = retry

    @property
    def headers(self) -> dict[str, str]:
        """Of the response: why (RFC 3326), and when to retry."""
        headers = reason_header(self.status, refused(self.status, self.detail).detail)
        return headers | {"Retry-After": str(_RETRY_SECONDS)} if self.retry else headers


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """One that is recorded."""

    sip: Declined
    ending: Ending
    times: CallTimes
    dump: Dump
    dump_path: Path | None
    leg = None

    @property
    def caller(self) -> str:
        """As the INVITE says."""
        return self.sip.caller

    @property
    def callee(self) -> str:
        """As the INVITE says."""
        return self.sip.callee


class RefusedCalls:
    """All of them."""

    def __init__(self, clock: Clock, *, dump_root: Path | None, cdr_root: Path | None) -> None:
        """Either root may be None: then there are no dumps, or no records."""
        self.count = 0
        self._clock = clock
        self._dump_root = dump_root
        self._cdr_root = cdr_root
        self._dumps: dict[str, Dump] = {}
        self._allowance = float(BURST)
        self._since: float | None = None
        self._leaving = asyncio.Event()

    def note(self, sip: Declined, early: Iterable[EarlyMessage]) -> RefusedCall | None:
        """Count a call that is about to be refused; `keep` what is returned.

        `early` are its messages so far; later ones are for `dump_of`. None: it is not to be recorded.
        """
        self.count += 1
        ending = refused(sip.status, sip.reason)
        who = f"{sip.caller} -> {sip.callee}"
        log.info("[%s] - refused %s: %d, %s", sip.dialog_id, who, ending.status, ending.detail)
        if sip.call_id in self._dumps or not self._allowed():
            return None
        moment, path = self._clock.wall(), None
        dump = Dump.null()
        if self._dump_root is not None:
            path = self._dump_root / f"{safe_name(sip.dialog_id)}.events.jsonl"
            dump = Dump.open(path, self._clock)
        for direction, data, peer in early:
            dump.sip(direction, data, peer)
        call = RefusedCall(sip, ending, CallTimes(moment, end=moment), dump, path)
        self._dumps[sip.call_id] = dump
        dump.event(goodbye.hangup(call, sip.dialog_id, round(moment * 1000)))
        return call

    def dump_of(self, sip_call_id: str) -> Dump | None:
        """Where further messages of a refused call belong."""
        return self._dumps.get(sip_call_id)

    async def keep(self, call: RefusedCall) -> None:
        """Wait a moment for the ACK, and write dump and record."""
        try:
            await asyncio.wait_for(self._leaving.wait(), _ACK_SECONDS)
        except TimeoutError:
            pass
        self._dumps.pop(call.sip.call_id, None)
        await asyncio.to_thread(call.dump.close)
        if self._cdr_root is None:
            return
        try:
            await asyncio.to_thread(save_local, _record_of(call), self._cdr_root)
        except OSError as error:
            where = self._cdr_root
            log.error("[%s] the record can't be written below %s: %s", call.sip.dialog_id, where, error)

    def leave(self) -> None:
        """Wait for nothing any more."""
        self._leaving.set()

    def _allowed(self) -> bool:
        now = self._clock.monotonic()
        passed = now - self._since if self._since is not None else 0.0
        self._since = now
        self._allowance = min(float(BURST), self._allowance + passed * PER_SECOND)
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True


def _record_of(call: RefusedCall) -> CallRecord:
    return record(call, call.sip.dialog_id, "sip", dump=call.dump_path)


def refused_playbook(error: ActiveCallError | OSError) -> Refused:
    """A playbook that can't be read or used refuses the call."""
    if isinstance(error, FileNotFoundError):
        name = Path(error.filename or "").name
        return Refused(503, "Playbook Not Found", detail=f"Playbook Not Found: there is no file {name}")
    return Refused(503, f"Failed to process invite: {error}")
