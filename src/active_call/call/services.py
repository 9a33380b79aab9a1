"""What the configuration and the gateway give to every call."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from active_call.call.dialing.trunks import Trunks
from active_call.call.leg import MediaPolicy
from active_call.call.recording import RecordingPolicy
from active_call.core.clock import Clock
from active_call.core.errors import PlaybookError
from active_call.media.files import MediaSource
from active_call.media.supervisor import MediaPlane
from active_call.outbound import Outbound
from active_call.sip.agent import SipAgent
from active_call.wire.dialogue import Dialogue
from active_call.wire.options import AmbianceOption, CallOption


@dataclass(frozen=True, slots=True)
class Lead:
    """A playbook leads the call, with these options."""

    dialogue: Dialogue
    option: CallOption


@dataclass(frozen=True, slots=True)
class Announce:
    """A webhook is told of the call; then it waits for a client to accept it.

    `tell` gets the body; what it raises (ActiveCallError) refuses the call.
    """

    tell: Callable[[dict[str, Any]], Awaitable[None]]


FindLead: TypeAlias = Callable[[dict[str, Any]], Lead]
"""Finds who leads a call with these variables. Raises PlaybookError, ProviderError, OSError."""


def no_playbooks(name: str, variables: dict[str, Any]) -> Lead:
    """A gateway without playbooks."""
    raise PlaybookError("there are no playbooks here", source=name)


@dataclass(frozen=True, slots=True)
class CallServices:
    """Shared by all calls."""

    plane: MediaPlane
    agent: Callable[[], SipAgent]
    clock: Clock
    find_playbook: Callable[[str, dict[str, Any]], Lead] = no_playbooks
    """The playbook a client named (or wrote), for a call with these variables. Raises as FindLead does."""
    media: MediaPolicy = field(default_factory=MediaPolicy)
    recording: RecordingPolicy = field(default_factory=RecordingPolicy)
    inactivity_seconds: float = 50.0
    """For calls that no client leads."""
    accept_seconds: float = 60.0
    """How long an inbound call waits for a client to accept it."""
    ambiance: AmbianceOption | None = None
    trunks: Trunks = field(default_factory=Trunks)
    """Accounts and rules for the calls that we make."""
    sounds: MediaSource = field(default_factory=MediaSource)
    outbound: Outbound = field(default_factory=Outbound)
