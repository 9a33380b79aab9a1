"""URLs without their secrets, for errors, logs and records."""

import re

MASK = "**********"

_USER_INFO = re.compile(r"(://(?:[^/?#\s:@]*:)?)[^/?#\s@]+(?=@)")
_QUERY_SECRET = re.compile(
    r"([?&][^=&#\s]*(?:secret|passw|key|token|signature|credential|auth)[^=&#\s]*=)[^&#\s\"'>]+", re.IGNORECASE
)


def mask_urls(text: str) -> str:
    """`text` with what looks like a password or a key in its URLs replaced by MASK."""
    if "://" not in text:
        return text
    return _QUERY_SECRET.sub(rf"\1{MASK}", _USER_INFO.sub(rf"\1{MASK}", text))
