"""Headers that the owner of a call adds to a message, and those with which we explain a refusal."""

import logging
from collections.abc import Iterable

from active_call.core.errors import LocalProtocolError
from active_call.sip.messages.grammar import is_token, one_line, quote
from active_call.sip.messages.message import REASONS

log = logging.getLogger(__name__)

_PROTOCOL_HEADERS = """
via from to call-id cseq contact route record-route content-length content-type max-forwards authorization
proxy-authorization require supported rseq rack session-expires min-se event subscription-state
"""
_OURS = frozenset(_PROTOCOL_HEADERS.split())

_WARNINGS = {415: 305, 488: 305, 606: 305}
"""Incompatible media formats; everything else is a miscellaneous warning (RFC 3261 §20.43)."""
_MISCELLANEOUS = 399


def checked_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The owner's headers, fit to be sent; those that carry the protocol are ours alone.

    Raises LocalProtocolError naming the header.
    """
    return tuple(_checked(name, value) for name, value in headers)


def usable_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The same for the end of a call, which no header may prevent: the bad ones are left out and logged."""
    usable = []
    for name, value in headers:
        try:
            usable.append(_checked(name, value))
        except LocalProtocolError as error:
            log.warning("- left out: %s", error)
    return tuple(usable)


def _checked(name: str, value: str) -> tuple[str, str]:
    if not is_token(name):
        raise LocalProtocolError(f"{name!r} is no name for a SIP header")
    if name.lower() in _OURS:
        raise LocalProtocolError(f"the SIP header {name} can't be set")
    return (name, one_line(str(value)))


def explained(status: int, words: str, host: str, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """`headers` of a refusal of ours with Warning and Reason that carry `words`, unless they are there.

    A reason phrase is often lost on the way; these two headers are what other systems log (RFC 3261 §20.43,
    RFC 3326). Without words of its own, or with those of the standard, a status needs no explanation.
    """
    fields = list(headers)
    words = one_line(words)
    if status < 300 or not words or words == REASONS.get(status):
        return fields
    present = {name.lower() for name, _ in fields}
    if "warning" not in present:
        fields.append(("Warning", f"{_WARNINGS.get(status, _MISCELLANEOUS)} {host} {quote(words)}"))
    if "reason" not in present:
        fields.append(("Reason", f"SIP;cause={status};text={quote(words)}"))
    return fields
