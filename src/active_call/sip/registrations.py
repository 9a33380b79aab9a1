"""All accounts of an agent: started one after another, kept alive through NATs, unregistered together."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from active_call.sip.hop import Hop
from active_call.sip.registration import Account, Registration, RegistrationState
from active_call.sip.transactions.alarms import Alarms
from active_call.sip.transactions.layer import TransactionLayer

log = logging.getLogger(__name__)

AT_ONCE = 10
"""So many accounts register at once."""
PER_SECOND = 20
"""The others follow at this rate: a registrar takes many at once for an attack."""
KEEP_ALIVE_SECONDS = 25.0
"""Often enough for NATs that forget UDP after 30 seconds."""
KEEP_ALIVE = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class RegistrationStatus:
    """How one account stands."""

    account: str
    server: str
    state: str
    expires: int
    """Seconds that are left."""
    last_error: str


class Registrations:
    """Belongs to a stack."""

    def __init__(self, layer: TransactionLayer, callid_suffix: str = "") -> None:
        self._layer = layer
        self._callid_suffix = callid_suffix
        self._all: list[Registration] = []
        self._alarms = Alarms(layer.timers)

    def start(self, accounts: Iterable[Account], now: float) -> None:
        """Keep these registered."""
        for number, account in enumerate(accounts, len(self._all)):
            registration = Registration(self._layer, account, _tell, callid_suffix=self._callid_suffix)
            self._all.append(registration)
            registration.start(now, max(0, number - AT_ONCE + 1) / PER_SECOND)
        if self._all:
            self._alarms.set("keep alive", now + KEEP_ALIVE_SECONDS, self._keep_alive)

    def stop(self, now: float) -> None:
        """Unregister all; `ended` tells when that is done."""
        self._alarms.clear_all()
        for registration in self._all:
            registration.stop(now)

    def give_up(self) -> None:
        """Wait no longer for registrars that don't answer."""
        for registration in self._all:
            registration.give_up()

    @property
    def ended(self) -> bool:
        """Whether nothing is registered any more, as far as we know."""
        return all(registration.state is RegistrationState.ENDED for registration in self._all)

    def check_addresses(self, now: float) -> None:
        """Peers may reach us at another address now."""
        for registration in self._all:
            registration.check_address(now)

    def connection_lost(self, peer: Hop, now: float) -> None:
        """A connection has closed: registrations over it are made anew."""
        for registration in self._all:
            registration.connection_lost(peer, now)

    def statuses(self, now: float) -> list[RegistrationStatus]:
        """All accounts, in their order."""
        return [
            RegistrationStatus(
                one.account.address,
                str(one.account.registrar),
                one.state,
                one.seconds_left(now),
                one.last_error,
            )
            for one in self._all
        ]

    @property
    def flows(self) -> set[Hop]:
        """Where the registrars are that have accepted us."""
        return {
            one.flow.peer
            for one in self._all
            if one.state is RegistrationState.REGISTERED and one.flow is not None
        }

    def _keep_alive(self, now: float) -> None:
        for flow in sorted(flow for flow in self.flows if not flow.reliable):
            self._layer.send(KEEP_ALIVE, flow)
        self._alarms.set("keep alive", now + KEEP_ALIVE_SECONDS, self._keep_alive)


def _tell(registration: Registration) -> None:
    """One line for each change that an operator wants to know of."""
    who, where = registration.account.address, registration.account.registrar
    match registration.state:
        case RegistrationState.REGISTERED if registration.last_error:
            log.warning("- %s: refreshing at %s failed: %s", who, where, registration.last_error)
        case RegistrationState.REGISTERED:
            log.info("- %s is registered at %s for %d s", who, where, registration.granted)
        case RegistrationState.FAILED:
            log.warning("- %s is not registered at %s: %s", who, where, registration.last_error)
        case RegistrationState.ENDED:
            log.info("- %s is no longer registered at %s", who, where)
        case _:
            pass
