from hypothesis import given
from hypothesis import strategies as st

from active_call.lanes.external import IN_FRAMES, OUT_FRAMES
from active_call.lanes.table import Table
from active_call.media.external import ExternalAudio


def audio() -> tuple[Table, ExternalAudio]:
    table = Table.create(2, epoch_ns=0, wall_ns=0)
    return table, ExternalAudio(table, 1, "pcmu", 8000)


def deliver(table: Table, number: int) -> None:
    """What the media plane does: frame `number`, then the count."""
    place = number % OUT_FRAMES * 160
    table.external_out[1, place : place + 160] = number % 256
    table.external_sent[1] = number + 1


@given(st.lists(st.binary(max_size=3000), max_size=20))
def test_the_ring_holds_the_last_second_of_what_was_fed(pieces: list[bytes]) -> None:
    table, external = audio()
    for piece in pieces:
        external.feed(piece, 5)
    fed, size = b"".join(pieces), IN_FRAMES * 160
    assert table.external_write[1] == len(fed)
    kept = min(len(fed), size)
    ring = table.external_in[1]
    assert bytes(int(ring[at % size]) for at in range(len(fed) - kept, len(fed))) == fed[len(fed) - kept :]


def test_how_much_comes_at_once_is_told_and_when() -> None:
    table, external = audio()
    external.feed(bytes(20_000), 77)
    assert (table.external_chunk[1], table.external_ns[1], table.external_write[1]) == (20_000, 77, 20_000)


def test_each_frame_is_fetched_once_and_in_order() -> None:
    table, external = audio()
    assert external.fetch() == []
    for number in range(30):
        deliver(table, number)
        if number % 3 == 2:
            assert external.fetch() == [bytes([n]) * 160 for n in range(number - 2, number + 1)]
    assert external.fetch() == []
    assert external.missed == 0


def test_frames_that_were_overwritten_are_counted() -> None:
    table, external = audio()
    for number in range(40):
        deliver(table, number)
    frames = external.fetch()
    assert frames[0] == bytes([40 - OUT_FRAMES + 1]) * 160  # the oldest may be being written
    assert external.missed == 40 - len(frames)
