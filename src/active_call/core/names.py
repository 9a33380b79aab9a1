"""File names from ids that strangers chose (Call-IDs, `?id=` of a client)."""

import hashlib
import string

_KEPT = frozenset((string.ascii_letters + string.digits + "._-").encode())
_LONGEST = 150


def safe_name(identifier: str) -> str:
    """A file name for `identifier`: never a path, never hidden, at most 150 characters, one per id.

    Letters, digits, ".", "_" and "-" stay; every other byte of the UTF-8 text (and a leading ".") becomes %XX.
    A longer name is cut and ends in "~" and a hash of the whole id; "~" occurs in no other name.
    """
    data = identifier.encode("utf-8", "surrogatepass")
    name = "".join(chr(byte) if byte in _KEPT else f"%{byte:02X}" for byte in data) or "%"
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _LONGEST:
        name = name[: _LONGEST - 33] + "~" + hashlib.sha256(data).hexdigest()[:32]
    return name
