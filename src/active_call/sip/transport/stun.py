"""STUN at the SIP port, by which peers keep a NAT open (RFC 5626 §3.5.2, RFC 8489), without I/O."""

import ipaddress
import struct

_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_BINDING_REQUEST, _BINDING_SUCCESS, _BINDING_ERROR = 0x0001, 0x0101, 0x0111
_XOR_MAPPED_ADDRESS, _ERROR_CODE, _UNKNOWN_ATTRIBUTES = 0x0020, 0x0009, 0x000A
_UNKNOWN_ATTRIBUTE = bytes((0, 0, 4, 20))
"""420, as ERROR-CODE has it."""
_HARMLESS = frozenset((0x0001, 0x0006, 0x0008, 0x0014, 0x0015, 0x001C, 0x001D, 0x001E, 0x0020))
"""Of those that must be understood, what needs no answer: addresses, and credentials that we didn't ask for."""
_OPTIONAL = 0x8000
"""Attributes from here on may be ignored (§14)."""
_COOKIE = 0x2112A442
_MAX_BYTES = 548


def is_stun(data: bytes) -> bool:
    """Whether a datagram is STUN; SIP begins with a letter."""
    return len(data) >= _HEADER.size and data[0] < 2 and data[4:8] == b"\x21\x12\xa4\x42"


def binding_response(request: bytes, source: tuple[str, int]) -> bytes | None:
    """The answer to a Binding request from `source` (address, port); None for everything else.

    What a client insists on that we can't do is refused (420, RFC 8489 §6.3.1).
    """
    if not is_stun(request) or len(request) > _MAX_BYTES:
        return None
    kind, length, _, transaction = _HEADER.unpack_from(request)
    if kind != _BINDING_REQUEST or length != len(request) - _HEADER.size:
        return None
    asked = _attributes_of(request)
    if asked is None:
        return None
    unknown = [one for one in asked if one < _OPTIONAL and one not in _HARMLESS]
    if unknown:
        names = struct.pack(f"!{len(unknown)}H", *unknown)
        refusal = _attribute(_ERROR_CODE, _UNKNOWN_ATTRIBUTE) + _attribute(_UNKNOWN_ATTRIBUTES, names)
        return _HEADER.pack(_BINDING_ERROR, len(refusal), _COOKIE, transaction) + refusal
    address = ipaddress.ip_address(source[0])
    mask = struct.pack("!I", _COOKIE) + transaction
    hidden = bytes(a ^ b for a, b in zip(address.packed, mask, strict=False))
    family = 1 if address.version == 4 else 2
    value = struct.pack("!BBH", 0, family, source[1] ^ (_COOKIE >> 16)) + hidden
    attribute = _attribute(_XOR_MAPPED_ADDRESS, value)
    return _HEADER.pack(_BINDING_SUCCESS, len(attribute), _COOKIE, transaction) + attribute


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def _attributes_of(message: bytes) -> list[int] | None:
    """The types, in their order; None if they don't fill the message."""
    kinds = []
    at = _HEADER.size
    while at + _ATTRIBUTE.size <= len(message):
        kind, length = _ATTRIBUTE.unpack_from(message, at)
        kinds.append(kind)
        at += _ATTRIBUTE.size + length + -length % 4
    return kinds if at == len(message) else None
