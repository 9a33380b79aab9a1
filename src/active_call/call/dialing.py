"""Who is called, as whom, and over which way: what an outbound INVITE is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from active_call.call.parties import callee_uri, caller_uri, host_of
from active_call.sip.agent import Credentials, SipAgent
from active_call.wire.options import CallOption, SipOption


@dataclass(frozen=True, slots=True)
class DialPlan:
    """Everything that an INVITE of ours needs besides its description."""

    target: str
    """Request-URI and To."""
    caller: str
    """From."""
    address: str
    """Ours, as the callee sees it: for the description."""
    headers: Mapping[str, str] = field(default_factory=dict)
    credentials: Credentials | None = None
    contact: str | None = None
    """Ours, if it is another one than the agent's."""
    next_hop: str | None = None
    """A URI or host:port that the request is sent to instead of `target`."""
    ring_timeout: float | None = None
    """Seconds that the callee may ring; None: as long as SIP allows."""


def plan_call(option: CallOption, agent: SipAgent, registrars: Sequence[str]) -> DialPlan:
    """What `option` asks for. Raises LocalProtocolError if it names nobody who can be called."""
    callee = callee_uri(option, registrars)
    address = agent.advertised_host(host_of(callee))
    sip = option.sip or SipOption()
    credentials = None
    if sip.username and sip.password is not None:
        credentials = Credentials(sip.username, sip.password.get_secret_value(), sip.realm)
    return DialPlan(
        callee, caller_uri(option, address), address, headers=sip.headers or {}, credentials=credentials
    )
