"""Keys of encrypted audio in SDP: `a=crypto` (RFC 4568; RFC 7714 for AEAD)."""

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import get_args

from active_call.core.digits import is_number
from active_call.lanes.messages import SrtpSuite

_KEY_BYTES: dict[SrtpSuite, int] = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AEAD_AES_256_GCM": 44,
    "AEAD_AES_128_GCM": 28,
    "AES_CM_128_HMAC_SHA1_32": 30,
}
"""Master key and salt together, in the order of our offers: first what every peer has."""

_LIFETIME = re.compile(r"2\^\d{1,2}|\d{1,15}")
_MKI = re.compile(r"\d{1,40}:(\d{1,3})")
_HARMLESS = re.compile(r"-.*|WSH=\d+|KDR=0", re.IGNORECASE)
_PARAMETER = re.compile(r"[A-Z_]{1,30}(=[A-Z_0-9]{1,20})?", re.IGNORECASE)
_INLINE = re.compile(r"(inline:)[A-Za-z0-9+/=]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CryptoLine:
    """One usable `a=crypto` of a peer."""

    tag: str
    suite: SrtpSuite
    key: bytes = field(repr=False)
    """Master key and salt."""
    mki_bytes: int = 0
    """Length of the master key identifier that the peer puts into its packets."""


class UnusableCrypto(ValueError):
    """An `a=crypto` that can't be taken; the text says why, and never what key it has."""


def fresh_keys(token: Callable[[int], bytes] = secrets.token_bytes) -> dict[SrtpSuite, bytes]:
    """A key and salt for each suite, in the order of our offers."""
    return {suite: token(count) for suite, count in _KEY_BYTES.items()}


def crypto_value(tag: str, suite: SrtpSuite, key: bytes) -> str:
    """What follows `a=crypto:`."""
    return f"{tag} {suite} inline:{base64.b64encode(key).decode()}"


def parse_crypto(value: str) -> CryptoLine:
    """What a peer's `a=crypto:` says. Raises UnusableCrypto."""
    fields = value.split()
    if len(fields) < 3 or not is_number(fields[0], 9):
        raise UnusableCrypto("a crypto line needs a tag, a suite and a key")
    suite = next((one for one in get_args(SrtpSuite) if one == fields[1].upper()), None)
    if suite is None:
        raise UnusableCrypto(f"suite {fields[1][:40]} is not known")
    for parameter in fields[3:]:
        if not _HARMLESS.fullmatch(parameter):
            name = parameter if _PARAMETER.fullmatch(parameter) else "of an unknown kind"
            raise UnusableCrypto(f"session parameter {name} can't be had")
    if ";" in fields[2]:
        raise UnusableCrypto("several keys in one line can't be had")
    method, _, rest = fields[2].partition(":")
    if method.lower() != "inline":
        raise UnusableCrypto("the key is not inline")
    encoded, *more = rest.split("|")
    key = _decoded(encoded)
    if len(key) != _KEY_BYTES[suite]:
        raise UnusableCrypto(f"the key of {suite} has {len(key)} bytes, not {_KEY_BYTES[suite]}")
    return CryptoLine(fields[0], suite, key, _mki_bytes(more))


def usable_lines(values: Iterable[str]) -> tuple[list[CryptoLine], list[str]]:
    """The lines that can be taken, in their order, and why the others can't."""
    lines: list[CryptoLine] = []
    problems: list[str] = []
    for value in values:
        try:
            lines.append(parse_crypto(value))
        except UnusableCrypto as error:
            problems.append(str(error))
    return lines, problems


def without_keys(sdp: str) -> str:
    """A description fit to be shown: the same text, its keys replaced."""
    return _INLINE.sub(r"\1***", sdp)


def attributes(keys: dict[SrtpSuite, bytes], first: SrtpSuite | None) -> Iterator[str]:
    """The values of our `a=crypto` lines; `first` is the suite that the session has already."""
    order = sorted(keys, key=lambda suite: suite != first)
    for number, suite in enumerate(order, 1):
        yield crypto_value(str(number), suite, keys[suite])


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise UnusableCrypto("the key is not base64") from None


def _mki_bytes(parameters: list[str]) -> int:
    """Of `|lifetime|MKI:length`, each of which may be missing (RFC 4568 §6.1)."""
    count = 0
    for parameter in parameters:
        found = _MKI.fullmatch(parameter)
        if found is not None and 1 <= int(found[1]) <= 128:
            count = int(found[1])
        elif not _LIFETIME.fullmatch(parameter):
            raise UnusableCrypto("what follows the key is neither lifetime nor MKI")
    return count
