"""What can go wrong between a client and its gateway."""

import json

from active_call.core.errors import ActiveCallError

_REASON_KEYS = ("detail", "error", "reason", "message", "reasons")


class ClientError(ActiveCallError):
    """The gateway could not be reached, or something it sent is no answer to what was asked."""


class Refused(ClientError):
    """The gateway answered with an HTTP error: 400 bad parameter, 404 unknown, 409 in use, 503 full."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"HTTP {status}: {reason}" if reason else f"HTTP {status}")
        self.status = status
        self.reason = reason


class ConnectionLost(ClientError):
    """The connection ended before what was waited for."""


def reason_of(body: bytes | str) -> str:
    """The words in the body of a refusal: its JSON `detail` (or a like key), else the text itself."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    try:
        found = json.loads(text)
    except ValueError:
        return text.strip()
    if isinstance(found, dict):
        found = next((found[key] for key in _REASON_KEYS if found.get(key)), found)
    if isinstance(found, list) and all(isinstance(item, str) for item in found):
        found = "; ".join(found)
    return found if isinstance(found, str) else json.dumps(found)
