from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.sip.transport.framing import (
    MAX_HEAD_BYTES,
    MAX_MESSAGE_BYTES,
    PING,
    PONG,
    BrokenStream,
    StreamFramer,
)


def message(body: bytes = b"", *, length: str | None = None, extra: str = "") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if length is None else length
    return f"OPTIONS sip:x SIP/2.0\r\n{extra}{length}\r\n".encode() + body


def cut(data: bytes, points: list[int]) -> list[bytes]:
    edges = [0, *sorted(point % (len(data) + 1) for point in points), len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False)]


@given(
    items=st.lists(st.one_of(st.binary(max_size=60).map(message), st.just(PING)), max_size=6),
    points=st.lists(st.integers(0, 1000), max_size=8),
)
def test_messages_and_pings_come_out_however_the_stream_was_cut(items: list[bytes], points: list[int]) -> None:
    framer = StreamFramer()
    out = [item for chunk in cut(b"".join(items), points) for item in framer.receive(chunk)]
    # A ping that arrives in halves is announced by a pong, which does no harm.
    pongs = sum(item == PONG for item in out)
    assert [item for item in out if item != PONG] == items
    assert pongs <= sum(item == PING for item in items)
    assert not framer.partial


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_nothing_else_than_a_broken_stream_comes_of_garbage(chunks: list[bytes]) -> None:
    framer = StreamFramer()
    with suppress(BrokenStream):
        for chunk in chunks:
            assert all(framer.receive(chunk))


@pytest.mark.parametrize(
    "chunk", [b"a", b"OPTIONS sip:x SIP/2.0\r\nA: b\r\n", b"OPTIONS sip:x SIP/2.0\r\nA: " + b"x" * 99]
)
def test_memory_is_bounded(chunk: bytes) -> None:
    framer = StreamFramer()

    def feed() -> None:
        for _ in range(MAX_MESSAGE_BYTES):
            framer.receive(chunk)
            assert len(framer._buffer) <= MAX_HEAD_BYTES + len(chunk)

    with pytest.raises(BrokenStream):
        feed()


@pytest.mark.parametrize(
    "length",
    [
        "Content-Length: x\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999\r\n",
        f"Content-Length: {MAX_MESSAGE_BYTES}\r\n",
        "Content-Length: 1\r\nl: 2\r\n",
    ],
)
def test_lengths_that_leave_the_end_unknown(length: str) -> None:
    with pytest.raises(BrokenStream):
        StreamFramer().receive(message(b"xyz", length=length))


@pytest.mark.parametrize(
    "length", ["l:3\r\n", "L : 3\r\n", "CONTENT-LENGTH: 3\r\n", "Content-Length: 3\r\nl: 3\r\n"]
)
def test_lengths_in_every_spelling(length: str) -> None:
    data = message(b"xyz", length=length)
    assert StreamFramer().receive(data + PING) == [data, PING]


def test_without_a_length_there_is_no_body() -> None:
    assert StreamFramer().receive(message(length="") * 2) == [message(length="")] * 2


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"x" * 5000, b"\x16\x03\x01\x02\x00", b"SIP/2.0 abc\r\n"]
)
def test_what_is_no_sip_is_recognised_early(data: bytes) -> None:
    with pytest.raises(BrokenStream, match="no SIP"):
        StreamFramer().receive(data)


def test_a_message_that_has_begun_is_known() -> None:
    framer = StreamFramer()
    framer.receive(b"OPTIONS sip:x SIP/2.0\r\n")
    assert framer.partial
