"""The operator's rules for outbound calls: accounts, trunk rules, rewrites of the destination."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from active_call.config.schema import Config
from active_call.config.trunks import PartyPattern, PartyRewrite, RegisteredUser, Rewrite, TrunkRule
from active_call.core.errors import RemoteProtocolError
from active_call.sip.messages.address import Address
from active_call.sip.messages.uri import SipUri
from active_call.sip.registration import Account

_USER_CHARACTERS = "-_.!~*'()&=+$,;?/"
"""What needs no escape in the user of a URI (RFC 3261 §25.1), besides letters and digits."""


@dataclass(frozen=True, slots=True)
class Trunks:
    """What the configuration says about calls that we make."""

    users: Sequence[RegisteredUser] = ()
    """Accounts that are not disabled."""
    rules: Sequence[TrunkRule] = ()
    rewrites: Sequence[Rewrite] = ()
    callid_suffix: str | None = None

    @classmethod
    def of(cls, config: Config) -> "Trunks":
        """As the file has them."""
        users = tuple(user for user in config.register_users if not user.disabled)
        return cls(users, tuple(config.trunk_rules), tuple(config.rewrites), config.callid_suffix)

    def sip_call_id(self, call_id: str) -> str:
        """The Call-ID that our call `call_id` has on the wire."""
        return f"{call_id}@{self.callid_suffix}" if self.callid_suffix and "@" not in call_id else call_id

    @property
    def registrars(self) -> tuple[str, ...]:
        """The servers that we are registered at, each once."""
        return tuple(dict.fromkeys(user.server for user in self.users))

    def account(self, target: str, user: str | None = None) -> RegisteredUser | None:
        """The account for a call to `target`: at the same host, if possible at the same port and for `user`.

        Host names are compared as text, so an account at an IP address serves calls to that address.
        """
        uri = parse_uri(target)
        if uri is None:
            return None
        host = _bare(uri.target.host)  # of `maddr`, if there is one: a password goes to nobody else
        here = [account for account in self.users if bare_host(account.registrar) == host]
        if user:
            here.sort(key=lambda account: user not in (account.username, account.user))
        here.sort(key=lambda account: account.registrar.port != uri.port)
        return here[0] if here else None

    def rule(self, caller: str, callee: str) -> TrunkRule | None:
        """The first rule that matches both parties; what a rule leaves out matches anybody."""
        for rule in self.rules:
            match = rule.match
            if match is None or (_fits(match.from_, caller) and _fits(match.to, callee)):
                return rule
        return None

    def next_hop(self, target: str) -> str | None:
        """Where to send `target`, if the rewrites change that: each works on what the one before made."""
        destination = target
        for rule in self.rewrites:
            destination = rule.apply(destination)
        return destination if destination != target else None


def accounts_of(users: Iterable[RegisteredUser]) -> list[Account]:
    """What is to be registered: accounts that are not disabled."""
    return [
        Account(
            user.registrar,
            quote(user.user, safe=_USER_CHARACTERS),
            quote(user.username, safe=_USER_CHARACTERS),
            user.display_name or "",
            user.credentials,
            user.expires,
        )
        for user in users
        if not user.disabled
    ]


def rewritten(party: str, rewrite: PartyRewrite | None) -> str:
    """`party` (a URI, or one with a name) with another user or host; a host without a port keeps the port.

    Raises RemoteProtocolError if `party` is neither.
    """
    if rewrite is None or (rewrite.user is None and rewrite.host is None):
        return party
    address = Address.parse(party) if "<" in party else Address(party)
    uri = SipUri.parse(address.uri)
    if rewrite.user is not None:
        uri = replace(uri, user=rewrite.user)
    if rewrite.host is not None:
        other = SipUri.parse(f"sip:{rewrite.host}")
        uri = replace(uri, host=other.host, port=other.port or uri.port)
    return str(Address(str(uri), address.name, address.params)) if "<" in party else str(uri)


def parse_uri(party: str) -> SipUri | None:
    """The SIP URI in an address as people write it, with or without name, brackets and scheme; else None."""
    try:
        text = Address.parse(party).uri if "<" in party else party.strip()
        if text.lower().startswith("tel:"):
            return None
        return SipUri.parse(text if text.lower().startswith(("sip:", "sips:")) else f"sip:{text}")
    except RemoteProtocolError:
        return None


def bare_host(uri: SipUri) -> str:
    """The host of `uri` for comparison."""
    return _bare(uri.host)


def _bare(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _fits(pattern: PartyPattern | None, party: str) -> bool:
    if pattern is None:
        return True
    uri = parse_uri(party)
    return uri is not None and pattern.fits(uri.user or "", uri.host)
