"""STUN at the SIP port, by which peers keep a NAT open (RFC 5626 §3.5.2, RFC 8489), without I/O."""

import ipaddress
import struct

_HEADER = struct.Struct("!HHI12s")
_BINDING_REQUEST, _BINDING_SUCCESS = 0x0001, 0x0101
_XOR_MAPPED_ADDRESS = 0x0020
_COOKIE = 0x2112A442
_MAX_BYTES = 548


def is_stun(data: bytes) -> bool:
    """Whether a datagram is STUN; SIP begins with a letter."""
    return len(data) >= _HEADER.size and data[0] < 2 and data[4:8] == b"\x21\x12\xa4\x42"


def binding_response(request: bytes, source: tuple[str, int]) -> bytes | None:
    """The answer to a Binding request from `source` (address, port); None for everything else.

    Attributes are not looked at: there is nothing that a client could ask for here.
    """
    if not is_stun(request) or len(request) > _MAX_BYTES:
        return None
    kind, length, _, transaction = _HEADER.unpack_from(request)
    if kind != _BINDING_REQUEST or length != len(request) - _HEADER.size:
        return None
    address = ipaddress.ip_address(source[0])
    mask = struct.pack("!I", _COOKIE) + transaction
    hidden = bytes(a ^ b for a, b in zip(address.packed, mask, strict=False))
    family = 1 if address.version == 4 else 2
    value = struct.pack("!BBH", 0, family, source[1] ^ (_COOKIE >> 16)) + hidden
    attribute = struct.pack("!HH", _XOR_MAPPED_ADDRESS, len(value)) + value
    return _HEADER.pack(_BINDING_SUCCESS, len(attribute), _COOKIE, transaction) + attribute
