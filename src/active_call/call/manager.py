"""All calls: admission, routing of inbound calls, dialling, records, draining."""

import asyncio
import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from active_call.call.call import Call
from active_call.call.dialing.plan import plan_call
from active_call.call.goodbye import rfc3339
from active_call.call.leg import SipLeg
from active_call.call.pending import PendingPlaybooks
from active_call.call.reasons import CRASHED, SHUTDOWN, Ending
from active_call.call.record import record_of
from active_call.call.refusals import EarlyMessage, Refused, RefusedCalls
from active_call.call.services import Announce, CallServices, FindLead, Lead
from active_call.call.succession import take_place
from active_call.call.webhook import webhook_body
from active_call.core.errors import LocalProtocolError, MediaError, RemoteProtocolError
from active_call.core.names import safe_name
from active_call.records.cdr import save_local
from active_call.records.dump import Dump
from active_call.sip.agent import Direction, SipCall
from active_call.sip.events import Declined
from active_call.sip.hop import Hop
from active_call.sip.messages.uri import bracketed
from active_call.wire.commands import Invite
from active_call.wire.dialogue import CallType
from active_call.wire.options import CallOption

log = logging.getLogger(__name__)

_EARLY_DIALOGS, _EARLY_MESSAGES = 64, 16
_FURTHER_DIALOGS = 100


class Router(Protocol):
    """Finds who leads an inbound call."""

    def __call__(self, caller: str, callee: str, variables: dict[str, Any]) -> Lead | Announce:
        """Raises Refused to answer with a status instead."""
        ...


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """What the configuration says about all calls."""

    dump_root: Path = Path("./config/recorders")
    cdr_root: Path | None = None
    dump: bool = True


class CallManager:
    """Creates calls, runs them, and writes down what became of them."""

    def __init__(
        self,
        services: CallServices,
        router: Router,
        settings: ManagerSettings,
    ) -> None:
        self.calls: dict[str, Call] = {}
        self.total = 0
        self.failed = 0
        """Calls that an error ended, ours or the network's."""
        self.accepting = True
        """If False, no new call is taken or made."""
        self.pending_playbooks = PendingPlaybooks(services.clock)
        self.on_start: Callable[[Call], object] | None = None
        self.on_record: Callable[[Call, Path | None], None] | None = None
        self._services = services
        self._router = router
        self._settings = settings
        self._stack = AsyncExitStack()
        self._tasks: asyncio.TaskGroup | None = None
        self._by_sip_id: dict[str, Call] = {}
        self._further: dict[str, deque[str]] = {}
        """Call-IDs of the further SIP dialogs of each call, of many the latest."""
        self._early: OrderedDict[str, deque[EarlyMessage]] = OrderedDict()
        self._refused = RefusedCalls(
            services.clock,
            dump_root=settings.dump_root if settings.dump else None,
            cdr_root=settings.cdr_root,
        )
        self._idle = asyncio.Event()
        self._idle.set()

    async def __aenter__(self) -> "CallManager":
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_all()
        self._refused.leave()
        await self._stack.__aexit__(kind, error, trace)

    # --- inbound --------------------------------------------------------------------------------------

    def on_call(self, sip: SipCall) -> None:
        """A new INVITE: refuse it with a reason, let its playbook answer, or announce it and let it wait."""
        try:
            if sip.replaces is not None:
                self._take_over(sip, sip.replaces)
                return
            call, begin = self._inbound(sip)
        except Refused as refusal:
            self._refuse(sip, refusal)
            return
        self._start(call, begin, sip.call_id)

    def on_declined(self, declined: Declined) -> None:
        """An INVITE has been refused: it gets its line in the log, and a record."""
        kept = self._refused.note(declined, self._early.pop(declined.call_id, ()))
        if kept is not None and self._tasks is not None:
            self._tasks.create_task(self._refused.keep(kept), name=f"refused {declined.dialog_id}")

    def _refuse(self, sip: SipCall, refusal: Refused) -> None:
        status, why = refusal.status, refusal.detail
        self.on_declined(Declined(status, why, sip.call_id, sip.dialog_id, sip.caller, sip.callee))
        sip.reject(status, str(refusal), headers=refusal.headers)

    @property
    def refused(self) -> int:
        """How many inbound calls were refused before they came about."""
        return self._refused.count

    def on_sip_message(
        self, direction: Direction, data: bytes, now: float, sip_call_id: str, peer: Hop
    ) -> None:
        """Put a SIP message into the dump of its call; an INVITE comes before there is one."""
        call = self._by_sip_id.get(sip_call_id)
        dump = call.news.dump if call is not None else self._refused.dump_of(sip_call_id)
        shown = f"{peer.transport} {bracketed(peer.host)}:{peer.port}"
        if dump is not None:
            dump.sip(direction, data, shown)
        elif self._settings.dump:
            # Most are of no call at all (OPTIONS, scanners), under an id that may come back for ever.
            early = self._early.setdefault(sip_call_id, deque(maxlen=_EARLY_MESSAGES))
            early.append((direction, data, shown))
            if len(self._early) > _EARLY_DIALOGS:
                self._early.popitem(last=False)

    def _inbound(self, sip: SipCall) -> tuple[Call, Callable[[], None]]:
        self._admit()
        variables: dict[str, Any] = {**sip.headers}
        variables |= self._built_ins(sip.dialog_id, "sip", sip.caller, sip.callee)
        lead = self._router(sip.caller, sip.callee, variables)
        with self._negotiated(sip) as leg:
            call = self._call(
                sip.dialog_id, "sip", variables, leg=leg, caller=sip.caller, callee=sip.callee, dump=True
            )
            if isinstance(lead, Lead):
                call.setup.lead(lead)
                return call, call.setup.pick_up
            body = webhook_body(sip, created_at=rfc3339(self._services.clock.wall()))
            return call, lambda: call.setup.wait_for_client(lambda: lead.tell(body))

    def _take_over(self, sip: SipCall, replaced: SipCall) -> None:
        """Somebody takes the place of a call's peer, or of its transferred party (RFC 3891)."""
        call = self._by_sip_id.get(replaced.call_id)
        if call is None or call.over:
            raise Refused(481, "the call to be replaced is over")
        with self._negotiated(sip) as leg:
            call.on_dialog(sip.call_id)
            if not take_place(call, replaced, leg):
                raise Refused(481, "the call to be replaced is no party of a call that is answered")
            log.info("- %s takes over the call %s", sip.caller, call.id)

    @contextmanager
    def _negotiated(self, sip: SipCall) -> Iterator[SipLeg]:
        """A leg that has agreed with the caller on a session; given back if its use fails. Raises Refused."""
        services = self._services
        try:
            leg = SipLeg.of_invite(services.plane, services.agent(), sip, services.media)
        except MediaError as error:
            raise Refused(503, f"out of media capacity: {error}", retry=True) from error
        with _given_back_unless_used(leg):
            try:
                leg.negotiate(sip)
            except RemoteProtocolError as error:
                raise Refused(error.status, str(error)) from error
            yield leg

    # --- outbound, and calls of clients ---------------------------------------------------------------

    def open(
        self,
        call_type: CallType,
        call_id: str | None = None,
        *,
        dump: bool = True,
        server_side_track: str = "serverSideTrack",
    ) -> Call:
        """A call for a client that has connected: a fresh one, or the inbound call that waits under this id.

        The client's followers must be added before the next `await`. Raises LocalProtocolError if the id is
        taken, and Refused when no calls are taken.
        """
        if call_id and call_id in self.calls:
            waiting = self.calls[call_id]
            if call_type == waiting.call_type and waiting.claim(server_side_track):
                return waiting
            raise LocalProtocolError(f'there is a call "{call_id}" already')
        self._admit()
        call = self._fresh(call_type, call_id, dump=dump, server_side_track=server_side_track)
        call.led_by_client = True
        call.setup.playbook = self.pending_playbooks.take(call.id)
        self._start(call, _nothing, self._services.trunks.sip_call_id(call.id))
        return call

    def dial(
        self, option: CallOption, *, call_id: str | None = None, find_lead: FindLead | None = None
    ) -> Call:
        """An outbound SIP call without a client, led by whom `find_lead` names, or by `option.playbook`.

        Raises LocalProtocolError if the id is taken or the callee is missing, Refused when no calls are taken,
        and what finding the playbook raises (PlaybookError, ProviderError, OSError).
        """
        services = self._services
        if call_id and call_id in self.calls:
            raise LocalProtocolError(f'there is a call "{call_id}" already')
        self._admit()
        plan = plan_call(option, services.agent(), services.trunks)
        call = self._fresh("sip", call_id, caller=plan.caller, callee=plan.target)
        call.setup.add_extra(option)
        if find_lead is not None:
            call.setup.lead(find_lead(call.variables))
        elif option.playbook is not None:
            call.setup.lead_by_name(option.playbook)
        self._start(call, _nothing, self._services.trunks.sip_call_id(call.id))
        call.send(Invite(option=option))
        return call

    def _admit(self) -> None:
        """Raises Refused when no calls are taken."""
        if not self.accepting:
            raise Refused(503, "the gateway is shutting down", retry=True)
        plane = self._services.plane
        if plane.overloaded:
            load = f"{len(plane.lanes)} of {plane.table.capacity} lanes are in use"
            slack = f"the media plane has {plane.slack_ms:.1f} ms left of each 20 ms"
            detail = f"out of media capacity: {load}, {slack}"
            raise Refused(503, "out of media capacity", detail=detail, retry=True)

    def _fresh(
        self,
        call_type: CallType,
        call_id: str | None,
        *,
        caller: str = "",
        callee: str = "",
        dump: bool = True,
        server_side_track: str = "serverSideTrack",
    ) -> Call:
        call_id = call_id or f"s.{secrets.token_hex(16)}"
        variables = self._built_ins(call_id, call_type, caller, callee)
        return self._call(
            call_id,
            call_type,
            variables,
            caller=caller,
            callee=callee,
            dump=dump,
            server_side_track=server_side_track,
        )

    def _built_ins(self, call_id: str, call_type: CallType, caller: str, callee: str) -> dict[str, Any]:
        built_ins = {
            "session_id": call_id,
            "call_type": call_type.lower(),
            "start_time": rfc3339(self._services.clock.wall()),
        }
        return {**built_ins, "caller": caller, "callee": callee} if caller else built_ins

    # --- both -----------------------------------------------------------------------------------------

    def _call(
        self,
        call_id: str,
        call_type: CallType,
        variables: dict[str, Any],
        *,
        caller: str,
        callee: str,
        dump: bool,
        leg: SipLeg | None = None,
        server_side_track: str = "serverSideTrack",
    ) -> Call:
        settings = self._settings
        lines = Dump.null()
        if settings.dump and dump:
            path = settings.dump_root / f"{safe_name(call_id)}.events.jsonl"
            lines = Dump.open(path, self._services.clock)
        return Call(
            call_id,
            self._services,
            call_type=call_type,
            dump=lines,
            variables=variables,
            leg=leg,
            caller=caller,
            callee=callee,
            server_side_track=server_side_track,
            find_call=self.calls.get,
        )

    def _start(self, call: Call, begin: Callable[[], None], sip_call_id: str) -> None:
        assert self._tasks is not None, "the manager is entered before calls come"
        self.calls[call.id] = call
        self._by_sip_id[sip_call_id] = call
        call.on_dialog = partial(self._follow_dialog, call.id)
        for early in self._early.pop(sip_call_id, ()):
            call.news.dump.sip(*early)
        self.total += 1
        self._idle.clear()
        self._tasks.create_task(self._run(call, begin, sip_call_id), name=f"call {call.id}")

    def _follow_dialog(self, call_id: str, sip_call_id: str) -> None:
        """A call has one more SIP dialog, whose messages are for its dump."""
        call = self.calls.get(call_id)
        if call is not None and self._by_sip_id.setdefault(sip_call_id, call) is call:
            further = self._further.setdefault(call.id, deque())
            further.append(sip_call_id)
            if len(further) > _FURTHER_DIALOGS:
                self._forget_dialog(call, further.popleft())
            for early in self._early.pop(sip_call_id, ()):
                call.news.dump.sip(*early)

    def _forget_dialog(self, call: Call, sip_call_id: str) -> None:
        if self._by_sip_id.get(sip_call_id) is call:  # a call that came back to us has the same Call-ID
            del self._by_sip_id[sip_call_id]

    async def _run(self, call: Call, begin: Callable[[], None], sip_call_id: str) -> None:
        """Lead a call from its first moment to its record. One call's defect never touches another."""
        path: Path | None = None
        try:
            try:
                if self.on_start is not None:
                    self.on_start(call)
                await call.run(begin)
            except Exception:
                log.exception("[%s] the call crashed", call.id)
                call.ending, call.times.end = CRASHED, self._services.clock.wall()
                if call.leg is not None:
                    call.leg.hang_up({})
                    call.leg.lane.close()
            self.failed += call.ending is not None and call.ending.failure
            path = await self._write_record(call)
        finally:
            del self.calls[call.id]
            for each in (sip_call_id, *self._further.pop(call.id, ())):
                self._forget_dialog(call, each)
            if not self.calls:
                self._idle.set()
        if self.on_record is not None:
            try:
                self.on_record(call, path)
            except Exception:
                log.exception("[%s] the observer of records failed", call.id)

    async def _write_record(self, call: Call) -> Path | None:
        await asyncio.to_thread(call.news.dump.close)
        root = self._settings.cdr_root
        if root is None:
            return None
        try:
            return await asyncio.to_thread(save_local, record_of(call), root)
        except OSError as error:
            log.error("[%s] the record can't be written below %s: %s", call.id, root, error)
        except Exception:
            log.exception("[%s] there can't be a record", call.id)
        return None

    # --- the end --------------------------------------------------------------------------------------

    def end_all(self, ending: Ending = SHUTDOWN) -> None:
        """Hang up every call."""
        for call in list(self.calls.values()):
            call.end(ending)

    async def drain(self, timeout: float) -> bool:
        """Wait until no call is left; False if some still live after `timeout` seconds."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout)
        except TimeoutError:
            return False
        return True


@contextmanager
def _given_back_unless_used(leg: SipLeg) -> Iterator[None]:
    try:
        yield
    except BaseException:
        leg.lane.close()
        raise


def _nothing() -> None:
    """The call begins with its first command."""
