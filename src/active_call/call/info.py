"""Keys pressed on telephones that send them as SIP INFO (a convention, not a standard; RFC 6086 §1)."""

import re

_KEYS = "0123456789*#ABCD"
_SIGNAL = re.compile(r"^\s*signal\s*=\s*(\S+)", re.IGNORECASE | re.MULTILINE)


def digit_of_info(content_type: str, body: bytes) -> str | None:
    """The key that `application/dtmf-relay` (`Signal=5`) or `application/dtmf` (`5`) tells; None for all else.

    A key is one of 0-9 * # A-D in either case, or an event number of RFC 4733 from 10 to 15.
    """
    kind = content_type.partition(";")[0].strip().lower()
    text = body.decode("ascii", "replace")
    found = _SIGNAL.search(text)
    if found is not None and kind in ("application/dtmf-relay", "application/dtmf", ""):
        text = found[1]
    elif kind != "application/dtmf":
        return None
    key = text.strip().upper()
    if key in ("10", "11", "12", "13", "14", "15"):
        return _KEYS[int(key)]
    return key if len(key) == 1 and key in _KEYS else None
