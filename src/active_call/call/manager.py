"""All calls: admission, routing of inbound calls, dialling, records, draining."""

import asyncio
import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from active_call.call.call import Call, RecordingPlan, rfc3339
from active_call.call.leg import MediaPolicy, SipLeg
from active_call.call.reasons import SHUTDOWN, Ending
from active_call.call.record import record_of
from active_call.core.clock import Clock
from active_call.core.errors import ActiveCallError, LocalProtocolError, MediaError, RemoteProtocolError
from active_call.core.names import safe_name
from active_call.media.supervisor import MediaPlane
from active_call.records.cdr import save_local
from active_call.records.dump import Dump
from active_call.sip.agent import Credentials, Direction, SipAgent, SipCall
from active_call.wire.dialogue import Dialogue
from active_call.wire.options import CallOption, RecorderOption

log = logging.getLogger(__name__)

_EARLY_DIALOGS, _EARLY_MESSAGES = 64, 16
_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Lead:
    """Who leads a call, and with which options."""

    dialogue: Dialogue
    option: CallOption


class Router(Protocol):
    """Finds who leads an inbound call."""

    def __call__(self, caller: str, callee: str, variables: dict[str, Any]) -> Lead:
        """Raises Refused to answer with a status instead."""
        ...


class Refused(ActiveCallError):
    """An inbound call is answered with `status` and a reason in words; `retry`: later may be better."""

    def __init__(self, status: int, reason: str, *, retry: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.retry = retry

    @property
    def headers(self) -> dict[str, str]:
        """Of the response: the reason again (RFC 3326), and when to retry."""
        text = str(self).replace("\\", r"\\").replace('"', r"\"")
        headers = {"Reason": f'SIP;cause={self.status};text="{text}"'}
        return headers | {"Retry-After": str(_RETRY_SECONDS)} if self.retry else headers


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """What the configuration says about all calls."""

    media: MediaPolicy = field(default_factory=MediaPolicy)
    inactivity_seconds: float = 50.0
    record_every_call: bool = False
    recorder_root: Path = Path("./config/recorders")
    recorder: RecorderOption = field(default_factory=RecorderOption)
    cdr_root: Path | None = None
    dump: bool = True


class CallManager:
    """Creates calls, runs them, and writes down what became of them."""

    def __init__(
        self,
        plane: MediaPlane,
        agent: Callable[[], SipAgent],
        router: Router,
        settings: ManagerSettings,
        clock: Clock,
    ) -> None:
        self.calls: dict[str, Call] = {}
        self.total = 0
        self.failed = 0
        self.on_start: Callable[[Call], None] | None = None
        self.on_record: Callable[[Call, Path | None], None] | None = None
        self._plane = plane
        self._agent = agent
        self._router = router
        self._settings = settings
        self._clock = clock
        self._stack = AsyncExitStack()
        self._tasks: asyncio.TaskGroup | None = None
        self._by_sip_id: dict[str, Call] = {}
        self._early: OrderedDict[str, deque[tuple[Direction, bytes]]] = OrderedDict()
        self._idle = asyncio.Event()
        self._idle.set()

    async def __aenter__(self) -> "CallManager":
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_all()
        await self._stack.__aexit__(kind, error, trace)

    # --- inbound --------------------------------------------------------------------------------------

    def on_call(self, sip: SipCall) -> None:
        """A new INVITE: refuse it with a reason, or answer it."""
        try:
            call = self._inbound(sip)
        except Refused as refusal:
            log.info("- refused %s -> %s: %d %s", sip.caller, sip.callee, refusal.status, refusal)
            sip.reject(refusal.status, str(refusal), headers=refusal.headers)
            return
        self._start(call, call.pick_up, sip.call_id)

    def on_sip_message(self, direction: Direction, data: bytes, now: float, sip_call_id: str) -> None:
        """Put a SIP message into the dump of its call; an INVITE comes before there is one."""
        call = self._by_sip_id.get(sip_call_id)
        if call is not None:
            call.dump.sip(direction, data)
        elif self._settings.dump:
            # Most are of no call at all (OPTIONS, refused calls), under an id that may come back for ever.
            self._early.setdefault(sip_call_id, deque(maxlen=_EARLY_MESSAGES)).append((direction, data))
            if len(self._early) > _EARLY_DIALOGS:
                self._early.popitem(last=False)

    def _inbound(self, sip: SipCall) -> Call:
        if self._plane.overloaded:
            raise Refused(503, "out of media capacity", retry=True)
        variables: dict[str, Any] = {**sip.headers}
        variables |= self._built_ins(sip.dialog_id, sip.caller, sip.callee)
        lead = self._router(sip.caller, sip.callee, variables)
        try:
            leg = SipLeg.open(self._plane, self._agent().advertised_host(sip.peer[0]), self._settings.media)
        except MediaError as error:
            raise Refused(503, f"out of media capacity: {error}", retry=True) from error
        with _given_back_unless_used(leg):
            try:
                leg.negotiate(sip)
            except RemoteProtocolError as error:
                raise Refused(error.status, str(error)) from error
            return self._call(
                sip.dialog_id, leg, lead, variables, inbound=True, caller=sip.caller, callee=sip.callee
            )

    # --- outbound -------------------------------------------------------------------------------------

    def dial(
        self,
        callee: str,
        find_lead: Callable[[dict[str, Any]], Lead],
        *,
        caller: str | None = None,
        call_id: str | None = None,
    ) -> Call:
        """Start an outbound call, led by whom `find_lead` names for the call's variables.

        Raises MediaError without room, LocalProtocolError if the id is taken, and what `find_lead` raises.
        """
        agent = self._agent()
        call_id = call_id or f"s.{secrets.token_hex(16)}"
        if call_id in self.calls:
            raise LocalProtocolError(f'there is a call "{call_id}" already')
        host = callee.split("@")[-1].split(";")[0].split(">")[0]
        address = agent.advertised_host(host)
        variables = self._built_ins(call_id, caller or f"sip:active-call@{address}", callee)
        lead = find_lead(variables)
        sip = lead.option.sip
        if caller is None and sip is not None and sip.username and sip.realm:
            variables["caller"] = f"sip:{sip.username}@{sip.realm}"
        caller = str(variables["caller"])
        leg = SipLeg.open(self._plane, address, self._settings.media)
        credentials = None
        if sip is not None and sip.username and sip.password is not None:
            credentials = Credentials(sip.username, sip.password.get_secret_value(), sip.realm)
        with _given_back_unless_used(leg):
            call = self._call(call_id, leg, lead, variables, inbound=False, caller=caller, callee=callee)

        def begin() -> None:
            call.dialing()
            headers = (sip.headers or {}) if sip is not None else {}
            leg.dial(
                agent,
                callee,
                caller=caller,
                call_id=call_id,
                listener=call.on_sip,
                headers=headers,
                credentials=credentials,
            )

        self._start(call, begin, call_id)
        return call

    def _built_ins(self, call_id: str, caller: str, callee: str) -> dict[str, Any]:
        start = rfc3339(self._clock.wall())
        return {
            "session_id": call_id,
            "call_type": "sip",
            "start_time": start,
            "caller": caller,
            "callee": callee,
        }

    # --- both -----------------------------------------------------------------------------------------

    def _call(
        self,
        call_id: str,
        leg: SipLeg,
        lead: Lead,
        variables: dict[str, Any],
        *,
        inbound: bool,
        caller: str,
        callee: str,
    ) -> Call:
        settings = self._settings
        name = safe_name(call_id)
        dump = Dump.null()
        if settings.dump:
            dump = Dump.open(settings.recorder_root / f"{name}.events.jsonl", self._clock)
        return Call(
            call_id,
            leg,
            lead.dialogue,
            option=lead.option,
            inbound=inbound,
            caller=caller,
            callee=callee,
            variables=variables,
            clock=self._clock,
            dump=dump,
            recording=self._recording(lead.option, name),
            inactivity_seconds=settings.inactivity_seconds,
        )

    def _recording(self, option: CallOption, name: str) -> RecordingPlan | None:
        settings = self._settings
        recorder = option.recorder or (settings.recorder if settings.record_every_call else None)
        if recorder is None:
            return None
        file = (recorder.recorder_file or "{id}").replace("{id}", name)
        path = settings.recorder_root / (file if file.endswith(".wav") else f"{file}.wav")
        return RecordingPlan(str(path), recorder.samplerate, recorder.ptime or 200)

    def _start(self, call: Call, begin: Callable[[], None], sip_call_id: str) -> None:
        assert self._tasks is not None, "the manager is entered before calls come"
        self.calls[call.id] = call
        self._by_sip_id[sip_call_id] = call
        for direction, data in self._early.pop(sip_call_id, []):
            call.dump.sip(direction, data)
        self.total += 1
        self._idle.clear()
        self._tasks.create_task(self._run(call, begin, sip_call_id), name=f"call {call.id}")

    async def _run(self, call: Call, begin: Callable[[], None], sip_call_id: str) -> None:
        """Lead a call from its first moment to its record. One call's defect never touches another."""
        path: Path | None = None
        try:
            if self.on_start is not None:
                self.on_start(call)
            await call.run(begin)
            path = await self._write_record(call)
        except Exception:
            self.failed += 1
            log.exception("[%s] the call crashed", call.id)
            call.leg.hang_up({})
            call.lane.close()
        finally:
            del self.calls[call.id]
            if self._by_sip_id.get(sip_call_id) is call:  # a call that came back to us has the same Call-ID
                del self._by_sip_id[sip_call_id]
            if not self.calls:
                self._idle.set()
        if self.on_record is not None:
            try:
                self.on_record(call, path)
            except Exception:
                log.exception("[%s] the observer of records failed", call.id)

    async def _write_record(self, call: Call) -> Path | None:
        await asyncio.to_thread(call.dump.close)
        root = self._settings.cdr_root
        if root is None:
            return None
        try:
            return await asyncio.to_thread(save_local, record_of(call), root)
        except OSError as error:
            log.error("[%s] the record can't be written below %s: %s", call.id, root, error)
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


def refused_playbook(error: ActiveCallError | OSError) -> Refused:
    """A playbook that can't be read or used refuses the call."""
    if isinstance(error, FileNotFoundError):
        return Refused(503, "Playbook Not Found")
    return Refused(503, f"Failed to process invite: {error}")
