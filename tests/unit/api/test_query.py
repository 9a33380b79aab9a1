import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.api.query import Query, QueryError, parse_query


def test_nothing_given_means_the_defaults() -> None:
    assert parse_query("") == Query(None, True, 20, "serverSideTrack", False, "frame")


@pytest.mark.parametrize(
    ("raw", "call_id"),
    [
        ("id=session123", "session123"),
        ("id=a84b4c76e66710%40pc33-8u2x-1928", "a84b4c76e66710@pc33-8u2x-1928"),
        ("id=a84b@pc33:5060-x+y/z~1", "a84b@pc33:5060-x+y/z~1"),
        ("id=100%2525", "100%25"),
        ("id=a=b", "a=b"),
        ("id=one&id=two", "one"),
        ("id=", None),
    ],
)
def test_ids_are_read_as_clients_write_them(raw: str, call_id: str | None) -> None:
    assert parse_query(raw).id == call_id


@pytest.mark.parametrize("raw", ["dump=false", "dump_events=0", "dumpEvents=False"])
def test_dump_has_aliases(raw: str) -> None:
    assert parse_query(raw).dump is False


@pytest.mark.parametrize("raw", ["ping=5", "pingInterval=5", "ping_interval=5"])
def test_ping_has_aliases(raw: str) -> None:
    assert parse_query(raw).ping_seconds == 5


@pytest.mark.parametrize("raw", ["serverSideTrack=agent", "server_side_track=agent"])
def test_the_track_has_aliases(raw: str) -> None:
    assert parse_query(raw).server_side_track == "agent"


def test_older_event_names_and_audio_as_json_are_chosen() -> None:
    query = parse_query("events=canonical&binary=base64")
    assert query.canonical
    assert query.binary == "base64"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("dump=perhaps", "dump"),
        ("ping=-1", "pingInterval"),
        ("ping=2.5", "pingInterval"),
        ("pingInterval=soon", "pingInterval"),
        ("events=all_of_them", "events"),
        ("binary=hex", "binary"),
        ("id=a%00b", "id"),
        (f"id={'x' * 2000}", "id"),
    ],
)
def test_a_wrong_value_is_named(raw: str, name: str) -> None:
    with pytest.raises(QueryError, match=f"^{name}: "):
        parse_query(raw)


@given(st.text())
def test_any_text_is_read_or_refused(raw: str) -> None:
    try:
        query = parse_query(raw)
    except QueryError:
        return
    assert query.ping_seconds >= 0
