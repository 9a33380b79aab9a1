"""Who is called, as whom, and over which way: what an outbound INVITE is made of."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from active_call.call.dialing.parties import callee_uri, caller_uri, host_of
from active_call.call.dialing.trunks import Trunks, parse_uri, rewritten
from active_call.config.trunks import PartyRewrite, RegisteredUser, TrunkRewrite
from active_call.core.errors import LocalProtocolError, RemoteProtocolError
from active_call.sip.agent import Credentials, SipAgent
from active_call.sip.messages.address import Address
from active_call.sip.messages.uri import SipUri, contact
from active_call.wire.options import CallOption, SipOption

_PRIVACY = frozenset(("header", "session", "user", "none", "critical", "id", "history"))
_UNSPECIFIED = frozenset(("0.0.0.0", "::"))
_NO_CHANGE = TrunkRewrite()


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


def plan_call(option: CallOption, agent: SipAgent, trunks: Trunks) -> DialPlan:
    """What `option` asks for, after the operator's rules.

    First a trunk rule rewrites the parties, then the account at the callee's server gives its credentials, then
    `rewrites` change where it is all sent to. Raises LocalProtocolError naming what can't be used.
    """
    sip = option.sip or SipOption()
    target = callee_uri(option, trunks.registrars)
    account = _account(sip, target, option.caller, trunks)
    caller = caller_uri(option, agent.advertised_host(host_of(target)), account)
    rule = trunks.rule(caller, target)
    rewrite = (rule.rewrite if rule is not None else None) or _NO_CHANGE
    target, caller = _rewritten("callee", target, rewrite.to), _rewritten("caller", caller, rewrite.from_)
    account = _account(sip, target, caller, trunks)
    next_hop = trunks.next_hop(target)
    if next_hop is not None and parse_uri(next_hop) is None:
        raise LocalProtocolError(f'rewrites made "{next_hop}" of "{target}", which is no address')
    address = agent.advertised_host(host_of(next_hop or target))
    own = _contact(sip)
    if rewrite.contact is not None:
        own = own or _agents_contact(caller, address, target, next_hop, agent)
        own = _rewritten("contact", own, rewrite.contact)
    return DialPlan(
        target,
        caller,
        address,
        headers=_headers(sip, caller),
        credentials=_credentials(sip, account),
        contact=own,
        next_hop=next_hop,
        ring_timeout=sip.ring_timeout,
    )


def _account(sip: SipOption, target: str, caller: str | None, trunks: Trunks) -> RegisteredUser | None:
    """The account for a call to `target`; none if the option has credentials, or names another user."""
    if sip.username and sip.password is not None:
        return None
    account = trunks.account(target, sip.username or _user_of(caller))
    if account is None or not sip.username or sip.username in (account.user, account.username):
        return account
    return None


def _credentials(sip: SipOption, account: RegisteredUser | None) -> Credentials | None:
    if sip.username and sip.password is not None:
        return Credentials(sip.username, sip.password.get_secret_value(), sip.realm)
    return account.credentials if account is not None else None


def _headers(sip: SipOption, caller: str) -> dict[str, str]:
    """Those of the option, and the caller's identity (RFC 3325) and wish for privacy (RFC 3323).

    Who asks for privacy must still be known to the carrier: without `identity` the caller is asserted.
    """
    headers = dict(sip.headers or {})
    given = {name.lower() for name in headers}
    privacy = (sip.privacy or "").strip()
    identity = (sip.identity or "").strip() or (caller if privacy and privacy != "none" else "")
    if identity and "p-asserted-identity" not in given:
        headers["P-Asserted-Identity"] = _identity(identity, caller)
    if privacy and "privacy" not in given:
        wishes = [wish.strip().lower() for wish in re.split("[;,]", privacy)]
        for wish in wishes:
            if wish not in _PRIVACY:
                known = ", ".join(sorted(_PRIVACY))
                raise LocalProtocolError(f'option.sip.privacy: "{wish}" is not known; known are {known}')
        headers["Privacy"] = ";".join(wishes)
    return headers


def _identity(text: str, caller: str) -> str:
    """`text` as the value of P-Asserted-Identity; a bare number stands at the caller's host."""
    if "<" in text or re.match("(sips?|tel):", text, re.IGNORECASE):
        address = text if "<" in text else f"<{text}>"
    else:
        address = f"<sip:{text}>" if "@" in text else f"<sip:{text}@{host_of(caller)}>"
    try:
        parsed = Address.parse(address)
        if not parsed.uri.lower().startswith("tel:"):
            SipUri.parse(parsed.uri)
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"option.sip.identity: {error}") from None
    return str(parsed)


def _contact(sip: SipOption) -> str | None:
    """What the option wants it to be."""
    if not sip.contact:
        return None
    uri = parse_uri(sip.contact)
    if uri is None:
        raise LocalProtocolError(
            f'option.sip.contact: "{sip.contact}" is not a SIP URI; write one like sip:agent@192.0.2.1:5060'
        )
    if uri.host.strip("[]") in _UNSPECIFIED:
        raise LocalProtocolError(f'option.sip.contact: nobody can reach "{uri.host}"; name our address')
    return str(uri)


def _agents_contact(caller: str, address: str, target: str, next_hop: str | None, agent: SipAgent) -> str:
    """What the agent would write in Contact, to be rewritten."""
    towards, callee = parse_uri(next_hop or target), parse_uri(target)
    transport = towards.address.transport if towards is not None else "udp"
    port = (agent.tls_port if transport == "tls" else None) or agent.address[1]
    sips = callee is not None and callee.scheme == "sips"
    return contact(_user_of(caller) or "", (address, port), transport, sips=sips)


def _rewritten(what: str, party: str, rewrite: PartyRewrite | None) -> str:
    if rewrite is None:
        return party
    try:
        return rewritten(party, rewrite)
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"{what}: {error}") from None


def _user_of(party: str | None) -> str | None:
    """The user in an address; a bare word is one."""
    if party and not re.search("[:@<]", party):
        return party.strip()
    uri = parse_uri(party) if party else None
    return uri.user if uri is not None else None
