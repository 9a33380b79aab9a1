import numpy as np

from active_call.dsp.rtp import PacketMatrix, Packets, SendMatrix, packet

PAYLOAD = bytes(range(160))


def parse(*datagrams: bytes) -> tuple[Packets, PacketMatrix]:
    matrix = PacketMatrix(8)
    for view, data in zip(matrix.views, datagrams, strict=False):
        view[: len(data)] = data
    return matrix.parse(np.array([len(data) for data in datagrams])), matrix


def test_header_fields() -> None:
    fields, matrix = parse(packet(101, 65_535, 2**32 - 1, 0xDEADBEEF, PAYLOAD, marker=True))
    assert fields.valid[0]
    assert not fields.rtcp[0]
    assert (fields.payload_type[0], fields.sequence[0]) == (101, 65_535)
    assert (fields.timestamp[0], fields.ssrc[0], fields.length[0]) == (2**32 - 1, 0xDEADBEEF, 160)
    assert matrix.payload[0, :160].tobytes() == PAYLOAD
    assert matrix.frames[0].tobytes() == PAYLOAD


def header(first: int) -> bytes:
    return bytes((first,)) + packet(0, 1, 2, 3, b"")[1:]


def test_sources_extension_and_padding_are_skipped() -> None:
    csrcs, extension = bytes(8), b"\xbe\xde\x00\x02" + bytes(8)
    fields, matrix = parse(
        header(0x82) + csrcs + PAYLOAD,
        header(0x90) + extension + PAYLOAD,
        header(0xA0) + PAYLOAD + b"\0\0\0\x04",
        header(0xB2) + csrcs + extension + PAYLOAD + b"\0\x02",
    )
    assert fields.valid.all()
    assert fields.length.tolist() == [160] * 4
    assert all(matrix.payload[i, :160].tobytes() == PAYLOAD for i in range(4))


def test_what_is_no_rtp_is_invalid() -> None:
    fields, _ = parse(
        b"", b"\x80" * 11, header(0x40) + PAYLOAD, header(0x8F) + bytes(8), header(0x90) + b"\0\0\xff\xff"
    )
    assert not fields.valid.any()


def test_too_long_a_packet_is_invalid() -> None:
    fields, _ = parse(packet(0, 1, 2, 3, bytes(1281)))
    assert not fields.valid[0]


def test_padding_longer_than_the_packet_is_invalid() -> None:
    fields, _ = parse(header(0xA0) + b"\0\xff")
    assert not fields.valid[0]


def test_rtcp_on_the_same_port_is_told_apart() -> None:
    fields, _ = parse(bytes((0x80, 200)) + bytes(26))
    assert fields.rtcp[0]
    assert not fields.valid[0]


def test_sent_packets() -> None:
    matrix, rows = SendMatrix(4), np.array([1, 3])
    matrix.set_stream(1, 11, 0)
    matrix.set_stream(3, 33, 8)
    matrix.set_frames(rows, np.stack([np.full(160, 1, np.uint8), np.full(160, 3, np.uint8)]))
    matrix.set_numbers(rows, np.array([65_536, 7]), np.array([2**32 + 5, 9]), np.array([True, False]))
    assert bytes(matrix.views[1]) == packet(0, 0, 5, 11, b"\x01" * 160, marker=True)
    assert bytes(matrix.views[3]) == packet(8, 7, 9, 33, b"\x03" * 160)
