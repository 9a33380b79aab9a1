"""What we understand, and what a peer says that it does (RFC 3261 §20.5, §20.32, §20.37)."""

from active_call.core.errors import RemoteProtocolError
from active_call.sip.messages.body import SDP
from active_call.sip.messages.message import Headers, Request, Response

METHODS = (
    "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "UPDATE", "PRACK", "REFER", "NOTIFY", "MESSAGE",
)  # fmt: skip
EXTENSIONS = ("100rel", "timer", "replaces", "norefersub")
"""RFC 3262, 4028, 3891, 4488."""

MIN_SE = 90
"""The briefest session that anybody may ask for, in seconds (RFC 4028 §4)."""

ALLOW = ("Allow", ", ".join(METHODS))
ACCEPT = ("Accept", SDP)
SUPPORTED = ("Supported", ", ".join(EXTENSIONS))


def refusal_headers(status: int) -> tuple[tuple[str, str], ...]:
    """The header fields that a refusal must have to be of use to the peer."""
    match status:
        case 405 | 501:
            return (ALLOW,)
        case 415:
            return (ACCEPT,)
        case 422:
            return (("Min-SE", str(MIN_SE)),)
        case _:
            return ()


def unsupported(request: Request) -> list[str]:
    """The extensions that `request` requires and we don't have. Raises RemoteProtocolError."""
    return [tag for tag in request.headers.items("require") if tag.lower() not in EXTENSIONS]


def supports(message: Request | Response, extension: str) -> bool:
    """Whether the sender knows `extension`."""
    return extension in _items(message.headers, "supported") or requires(message, extension)


def requires(message: Request | Response, extension: str) -> bool:
    """Whether the sender insists on `extension`."""
    return extension in _items(message.headers, "require")


def allows(message: Request | Response, method: str) -> bool:
    """Whether the sender says that it takes `method`."""
    return method.lower() in _items(message.headers, "allow")


def _items(headers: Headers, key: str) -> set[str]:
    try:
        return {item.lower() for item in headers.items(key)}
    except RemoteProtocolError:
        return set()
