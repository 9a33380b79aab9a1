"""The whole gateway: media plane, SIP agent and calls, put together from a configuration."""

import asyncio
import logging
import os
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic.alias_generators import to_camel

from active_call import __version__
from active_call.call.audio.voice import Precached, precache
from active_call.call.call import Call
from active_call.call.dialing.trunks import Trunks, accounts_of
from active_call.call.leg import MediaPolicy
from active_call.call.manager import CallManager, ManagerSettings
from active_call.call.reasons import SHUTDOWN
from active_call.call.recording import RecordingPolicy, below
from active_call.call.refusals import Refused, refused_playbook
from active_call.call.services import Announce, CallServices, Lead
from active_call.call.webhook import Webhook
from active_call.config import Config, PlaybookHandler
from active_call.config.handler import WebhookHandler
from active_call.core.clock import Clock, SystemClock
from active_call.core.errors import PlaybookError, ProviderError
from active_call.media.cache import MediaCache
from active_call.media.files import MediaSource
from active_call.media.ports import PortRange
from active_call.media.supervisor import MediaPlane
from active_call.outbound import Guard, GuardError, Origin, Outbound, OutboundPolicy
from active_call.playbook.document import Playbook, load_playbook
from active_call.playbook.library import PlaybookLibrary
from active_call.playbook.runner import PlaybookDialogue
from active_call.sip.agent import SipAgent, SipConfig
from active_call.sip.hop import Judge
from active_call.sip.messages.uri import bracketed
from active_call.speech.providers import load_llm
from active_call.wire.commands import Tts
from active_call.wire.options import CallOption, RecorderOption

log = logging.getLogger(__name__)

_PLAYBOOKS = Path("config/playbook")
_GOODBYE_SECONDS = 3.0
_UNREGISTER_SECONDS = 2.0
_COUNTERS = ("ticks", "late_ticks", "skipped_ticks", "events_dropped", "vad_windows", "vad_gated")


class Gateway:
    """An async context manager: entered, it takes and makes calls."""

    def __init__(self, config: Config, *, clock: Clock | None = None, lanes: int = 1024) -> None:
        self._config = config
        self._clock: Clock = clock or SystemClock()
        bind_ip = config.rtp_bind_ip or config.addr
        ports = PortRange(config.rtp_start_port, config.rtp_end_port, bind_ip)
        self.plane = MediaPlane(capacity=lanes, ports=ports, cname=f"active-call@{bind_ip}")
        sip = sip_config(config)
        self.outbound = Outbound(config.outbound.policy)
        cache = MediaCache(Path(config.media_cache_path))
        self.sounds = MediaSource(cache=cache, outbound=self.outbound)
        settings = ManagerSettings(dump_root=Path(config.recording.path), cdr_root=config.records_root)
        self.calls = CallManager(self._services(), self._route, settings)
        calls = self.calls
        self.agent = SipAgent(
            sip,
            on_call=calls.on_call,
            on_declined=calls.on_declined,
            on_message=calls.on_sip_message,
            judge=redirection_judge(config.outbound.policy),
        )
        self._playbooks = PlaybookLibrary(os.environ)
        self._webhook: Webhook | None = None
        if isinstance(config.handler, WebhookHandler):
            self._webhook = Webhook(config.handler, self.outbound)
        self._started = self._clock.monotonic()
        self._ready = False
        self._draining = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Gateway":
        self.plane.spawn()
        try:
            await self.agent.start()
            # Loads its libraries while the media plane starts up.
            await self._stack.enter_async_context(self.outbound)
            await self.plane.start()
            self._stack.push_async_callback(self.plane.aclose)
            self._stack.push_async_callback(self.agent.aclose)
            await self._stack.enter_async_context(self.calls)
        except BaseException:
            await self.plane.aclose()
            raise
        self._ready = True
        self.agent.register(accounts_of(self._config.register_users))
        self.check_playbooks()
        log.info("- ready: SIP on %s, RTP ports %d-%d", self._sip_listeners, *self._rtp_range)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ready = False
        await self._stack.__aexit__(kind, error, trace)

    # --- calls ----------------------------------------------------------------------------------------

    def _services(self) -> CallServices:
        config = self._config
        recording = config.recording
        return CallServices(
            plane=self.plane,
            agent=lambda: self.agent,
            clock=self._clock,
            find_playbook=self.lead_for_client,
            media=MediaPolicy(
                codecs=config.audio_codecs,
                dtmf=config.telephone_event,
                latching=config.enable_rtp_latching,
                jitter_ms=config.rtp_jitter_ms,
                srtp=config.enable_srtp,
            ),
            recording=RecordingPolicy(
                Path(recording.path),
                recording.every_call,
                RecorderOption(
                    recorder_file=recording.filename_pattern or "",
                    samplerate=recording.samplerate,
                    ptime=recording.ptime,
                ),
            ),
            inactivity_seconds=config.inactivity_timeout,
            accept_seconds=config.accept_timeout,
            ambiance=config.ambiance,
            trunks=Trunks.of(config),
            sounds=self.sounds,
            outbound=self.outbound,
        )

    def _route(self, caller: str, callee: str, variables: dict[str, Any]) -> Lead | Announce:
        handler = self._config.handler
        if handler is None:
            detail = "No invite handler configured: [handler] says who is to lead calls that come in"
            raise Refused(503, "No invite handler configured", detail=detail)
        if isinstance(handler, WebhookHandler):
            assert self._webhook is not None
            return Announce(self._webhook.announce)
        name = handler.route(caller, callee)
        if name is None:
            raise Refused(
                503,
                f"Failed to process invite: no matching playbook found for caller {caller} and callee {callee}",
            )
        try:
            return self.lead(name, variables)
        except (PlaybookError, OSError, ProviderError) as error:
            log.warning("- playbook %s: %s", name, error)
            raise refused_playbook(error) from error

    def lead(self, playbook: str, variables: dict[str, Any]) -> Lead:
        """The dialogue of a playbook file of the operator's. Raises PlaybookError, OSError, ProviderError."""
        return _led_by(self._playbooks.read(playbook_path(playbook), variables))

    def lead_for_client(self, playbook: str, variables: dict[str, Any]) -> Lead:
        """The dialogue of a playbook that a client names, below config/playbook/, or that is given as text.

        Raises PlaybookError, LocalProtocolError for a name that leaves the folder, OSError, ProviderError.
        """
        text = playbook.lstrip()
        if text.startswith("---"):
            # The environment is the operator's, and a client could have it spoken.
            return _led_by(load_playbook(text, source="playbook", environment={}, variables=variables))
        name = playbook.removeprefix(f"{_PLAYBOOKS}/")
        return _led_by(self._playbooks.read(below(_PLAYBOOKS, name, what="playbook"), variables))

    def check_playbooks(self) -> None:
        """Warn about playbooks of the handler that can't be used as they are: calls to them may get 503."""
        handler = self._config.handler
        if not isinstance(handler, PlaybookHandler):
            return
        names = {rule.playbook for rule in handler.rules} | ({handler.default} if handler.default else set())
        for name in sorted(names):
            try:
                self.lead(name, {})
            except FileNotFoundError:
                log.warning(
                    "- playbook %s is missing, here and below %s: its calls will be refused with 503",
                    name,
                    _PLAYBOOKS,
                )
            except (PlaybookError, ProviderError, OSError) as error:
                log.warning("- playbook %s can't be used without a call's variables: %s", name, error)

    async def call(self, callee: str, playbook: str) -> Call:
        """Dial out, led by a playbook. Raises PlaybookError, OSError, LocalProtocolError, ProviderError."""
        return self.calls.dial(
            CallOption(callee=callee), find_lead=lambda variables: self.lead(playbook, variables)
        )

    async def precache(self, command: Tts) -> Precached:
        """Synthesise into the media cache what `command` would say. Raises ActiveCallError."""
        return await precache(command, None, self.sounds.cache)

    # --- state ----------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether calls are taken."""
        return self._ready and not self._draining

    @property
    def _rtp_range(self) -> tuple[int, int]:
        return self._config.rtp_start_port, self._config.rtp_end_port

    @property
    def _sip_listeners(self) -> str:
        host, port = self.agent.address
        where = f"{bracketed(host)}:{port} (UDP{' and TCP' if self._config.tcp else ''})"
        tls = self._config.tls_port
        return where if tls is None else f"{where} and {bracketed(host)}:{tls or 'any port'} (TLS)"

    def counts(self) -> tuple[int, int]:
        """How many calls live, and how many have ended."""
        live = len(self.calls.calls)
        return live, self.calls.total - live

    def status(self) -> dict[str, Any]:
        """What `/health` tells."""
        reasons = []
        if not self._ready:
            reasons.append("starting")
        if self._draining:
            reasons.append("draining")
        if self._ready and self.plane.overloaded:
            reasons.append("out of media capacity")
        active, spare = self.plane.pids
        table = self.plane.table
        return {
            "status": "running" if not reasons else "unavailable",
            "reasons": reasons,
            "version": __version__,
            "uptime": round(self._clock.monotonic() - self._started, 1),
            "calls": {
                "active": len(self.calls.calls),
                "total": self.calls.total,
                "failed": self.calls.failed,
                "refused": self.calls.refused,
            },
            "registrations": [
                {to_camel(name): value for name, value in asdict(one).items()}
                for one in self.agent.registrations
            ],
            "tasks": len(asyncio.all_tasks()),
            "media": {
                "pid": active,
                "spare": spare if self.plane.spare_ready else None,
                "lanes": len(self.plane.lanes),
                "slackMs": round(self.plane.slack_ms, 2),
                "promotions": self.plane.promotions,
                **({to_camel(word): table.get(word) for word in _COUNTERS} if self._ready else {}),
            },
        }

    async def drain(self, timeout: float) -> bool:
        """Take no new calls and unregister at once; wait for the live calls, then hang up.

        False if some had to be hung up on.
        """
        self._draining = True
        self.calls.accepting = False
        self.agent.accepting = False
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.agent.unregister(_UNREGISTER_SECONDS))
            if await self.calls.drain(timeout):
                return True
            self.calls.end_all(SHUTDOWN)
            await self.calls.drain(_GOODBYE_SECONDS)
        return False


def playbook_path(name: str) -> Path:
    """Where a playbook named by the operator is: as given, else below config/playbook/."""
    given = Path(name)
    below = _PLAYBOOKS / given
    return below if not given.is_file() and below.is_file() else given


def sip_config(config: Config) -> SipConfig:
    """What the configuration says of SIP."""
    return SipConfig(
        config.addr,
        config.udp_port,
        config.external_ip,
        config.useragent,
        tcp=config.tcp,
        tls_port=config.tls_port,
        tls_cert_file=config.tls_cert_file,
        tls_key_file=config.tls_key_file,
        tls_verify=config.tls_verify,
        tls_ca_file=config.tls_ca_file,
        answer_options=config.enable_options_response,
        callid_suffix=config.callid_suffix,
        learn_public_address=config.auto_learn_public_address,
    )


def redirection_judge(policy: OutboundPolicy) -> Judge:
    """Where a peer may redirect our calls to, by the rules for hosts that a call names."""
    guard = Guard(policy)

    def judge(host: str, address: str) -> str:
        try:
            guard.check_address(host, address, Origin.CALL)
        except GuardError as error:
            return str(error)
        return ""

    return judge


def _led_by(playbook: Playbook) -> Lead:
    return Lead(PlaybookDialogue(playbook, llm=load_llm(playbook.llm.provider)), playbook.option)
