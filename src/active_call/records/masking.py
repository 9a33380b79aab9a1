"""Keeping secrets out of records and dumps."""

import re
from typing import Any

from active_call.core.urls import MASK, mask_urls

_SECRET = re.compile(
    r"secret|passw|(?:api|access|private)[-_]?key|token|credential|authorization|cookie", re.IGNORECASE
)
_COUNTS = re.compile(r"tokens$", re.IGNORECASE)
"""Keys that count tokens rather than hold one (`max_tokens`)."""
_INLINE_KEY = re.compile(r"(inline:)[A-Za-z0-9+/=_-]+")
_INFO = re.compile(r"INFO\s", re.I)
_KEY_TYPE = re.compile(r"^(?:content-type|c)\s*:\s*application/dtmf", re.I | re.M)
_KEY = re.compile(r"(?<=[=:])[ \t]*[^\s=:]+|^\s*[^\s=:]+\s*$", re.M)
_AUTHORIZATION = re.compile(r"^((?:proxy-)?authorization\s*:\s*)[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*", re.I | re.M)


def mask(value: Any, key: str = "") -> Any:
    """`value` (plain JSON types) without what telling keys hold, SRTP keys in SDP, playbook texts."""
    if key == "playbook" and isinstance(value, str) and value.lstrip().startswith("---"):
        return MASK  # a whole playbook, with whatever keys its author wrote into it
    if isinstance(value, dict):
        return {name: mask(item, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [mask(item, key) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if key and _SECRET.search(key) and not (isinstance(value, int | float) and _COUNTS.search(key)):
        return MASK
    return mask_text(value) if isinstance(value, str) else value


def mask_text(text: str) -> str:
    """`text` without SRTP keys (RFC 4568 inline:), credentials of SIP headers, and secrets in URLs."""
    if "inline:" in text:
        text = _INLINE_KEY.sub(rf"\1{MASK}", text)
    text = mask_urls(text)
    return _AUTHORIZATION.sub(rf"\1{MASK}", text) if "uthorization" in text.lower() else text


def mask_info(message: str) -> str:
    """A SIP message without the key that it tells, if it is an INFO that tells one."""
    if not _INFO.match(message) or not _KEY_TYPE.search(message):
        return message
    head, blank, body = message.partition("\r\n\r\n")
    return f"{head}{blank}{_KEY.sub('*', body, count=1)}"
