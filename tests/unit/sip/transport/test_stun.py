import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.sip.transport.stun import binding_response, is_stun


def request(*, kind: int = 1, length: int = 0, body: bytes = b"") -> bytes:
    return (
        struct.pack("!HHI12s", kind, length, 0x2112A442, b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae")
        + body
    )


def test_the_ipv4_address_of_rfc_5769() -> None:
    answer = binding_response(request(), ("192.0.2.1", 32853))
    assert answer is not None
    assert answer[:2] == b"\x01\x01"
    assert answer[20:] == bytes.fromhex("0020000800 01a147e112a643".replace(" ", ""))


def test_the_ipv6_address_of_rfc_5769() -> None:
    answer = binding_response(request(), ("2001:db8:1234:5678:11:2233:4455:6677", 32853))
    assert answer is not None
    assert answer[20:] == bytes.fromhex("002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9")


def asking(*attributes: tuple[int, bytes]) -> bytes:
    """A request with attributes (type, value)."""
    padded = [(kind, len(value), value + bytes(-len(value) % 4)) for kind, value in attributes]
    body = b"".join(struct.pack("!HH", kind, length) + value for kind, length, value in padded)
    return request(length=len(body), body=body)


def test_attributes_that_may_be_ignored_are() -> None:
    software, fingerprint = (0x8022, b"a client"), (0x8028, bytes(4))
    plain = binding_response(request(), ("192.0.2.1", 32853))
    assert binding_response(asking(software, (0x0006, b"bob"), fingerprint), ("192.0.2.1", 32853)) == plain


def test_what_a_client_insists_on_and_we_cannot_do_is_refused_by_name() -> None:
    """RFC 8489 §6.3.1; for example CHANGE-REQUEST, by which a client learns what kind of NAT it has."""
    answer = binding_response(
        asking((0x8022, b"abc"), (0x0003, bytes(4)), (0x0027, bytes(4))), ("192.0.2.1", 1)
    )
    assert answer is not None
    assert answer[:4] == bytes.fromhex("0111 0010")
    assert answer[4:20] == request()[4:20]
    assert answer[20:] == bytes.fromhex("0009 0004 00000414  000a 0004 0003 0027")


def test_three_unknown_attributes_are_padded() -> None:
    answer = binding_response(asking(*((kind, b"") for kind in (0x24, 0x25, 0x26))), ("192.0.2.1", 1))
    assert answer is not None
    assert answer[2:4] == b"\x00\x14"
    assert answer[28:] == bytes.fromhex("000a 0006 0024 0025 0026 0000")


@pytest.mark.parametrize(
    "data",
    [
        request(length=8, body=struct.pack("!HHI", 0x8022, 5, 0)),
        request(length=6, body=struct.pack("!HHH", 0x8022, 2, 0)),
        b"",
        b"OPTIONS sip:x SIP/2.0\r\n\r\n",
        request()[:-1],
        request(kind=0x0101),
        request(length=4),
        request(length=600, body=b"\x00" * 600),
    ],
)
def test_everything_else_gets_no_answer(data: bytes) -> None:
    assert binding_response(data, ("192.0.2.1", 1)) is None


def test_sip_is_not_taken_for_stun() -> None:
    assert not is_stun(b"OPTIONS sip:x SIP/2.0\r\n\r\n")


@given(st.binary(max_size=600))
def test_an_answer_is_hardly_larger_than_the_question(data: bytes) -> None:
    answer = binding_response(data, ("192.0.2.1", 1))
    assert answer is None or len(answer) <= len(data) + 24
