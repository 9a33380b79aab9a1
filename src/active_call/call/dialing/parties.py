"""Who calls whom: addresses as clients write them, and as events tell them."""

import re
from collections.abc import Sequence
from dataclasses import replace

from active_call.config.trunks import RegisteredUser, server_uri
from active_call.core.errors import LocalProtocolError
from active_call.sip.messages.address import Address
from active_call.sip.messages.uri import bracketed
from active_call.wire.events import Attendee
from active_call.wire.options import CallOption

_SCHEMES = ("sip:", "sips:")
_PORT = re.compile(r":\d*$")
_NUMBER = re.compile(r"(?:tel:)?(\+?[\d*#][\d\-.()*#]*)", re.IGNORECASE)


def callee_uri(option: CallOption, registrars: Sequence[str]) -> str:
    """Whom to call. A bare number is called at `sip.realm`, else at the only server we are registered at.

    Raises LocalProtocolError if nobody is named, or for a number without a server.
    """
    callee = (option.callee or "").strip()
    if not callee:
        raise LocalProtocolError(
            'option.callee is missing; name whom to call, for example "sip:bob@example.com"'
        )
    number = _NUMBER.fullmatch(callee)
    if number is None:
        return callee
    realm = option.sip.realm if option.sip is not None else None
    if not realm and len(registrars) == 1:
        realm = registrars[0]
    if not realm:
        raise LocalProtocolError(
            f'callee "{callee}" is a bare number: set option.sip.realm, register at exactly one server, '
            f'or write "sip:{number[1]}@server"'
        )
    try:
        return str(replace(server_uri(realm), user=number[1]))
    except ValueError as error:
        raise LocalProtocolError(f"option.sip.realm: {error}") from None


def caller_uri(option: CallOption, address: str, account: RegisteredUser | None = None) -> str:
    """As whom we call: the caller of the option, the user of `option.sip`, the account's, else "active-call".

    A bare user stands at `sip.realm`, at the account's server, else at our own `address`.
    """
    caller, address = (option.caller or "").strip(), bracketed(address)
    sip = option.sip
    realm = sip.realm if sip is not None else None
    if not realm:
        realm = account.registrar.host if account is not None else address
    if not caller:
        if sip is not None and sip.username:
            return f"sip:{sip.username}@{realm}"
        if account is not None:
            uri = f"sip:{account.user}@{realm}"
            return str(Address(uri, account.display_name)) if account.display_name else uri
        return f"sip:active-call@{address}"
    if "<" in caller or caller.lower().startswith(_SCHEMES):
        return caller
    return f"sip:{caller}" if "@" in caller else f"sip:{caller}@{realm}"


def host_of(uri: str) -> str:
    """Host and port of a SIP address, with or without a name before it."""
    rest = uri.split("<")[-1].split("@")[-1]
    if rest.lower().startswith(_SCHEMES):
        rest = rest.partition(":")[2]
    return rest.split(";")[0].split(">")[0]


def attendee(uri: str) -> Attendee:
    """One party, as events tell it: user, host, and the address as given; empty where there is none."""
    bare = uri.split("<", 1)[-1].split(">", 1)[0]
    scheme, _, rest = bare.partition(":")
    user, _, host = rest.rpartition("@")
    host = host.split(";")[0]
    if scheme.lower() == "tel":
        return Attendee(username=host, realm="", source=uri)
    return Attendee(username=user, realm=_PORT.sub("", host), source=uri)
