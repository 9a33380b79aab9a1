from hypothesis import given
from hypothesis import strategies as st

from active_call.core.names import safe_name


def test_plain_ids_stay_as_they_are() -> None:
    assert safe_name("s.0a1-B_2.x") == "s.0a1-B_2.x"


def test_a_path_becomes_one_name() -> None:
    assert safe_name("../../etc/passwd") == "%2E.%2F..%2Fetc%2Fpasswd"


def test_call_ids_with_hosts_stay_readable() -> None:
    assert safe_name("abc@10.0.0.1") == "abc%4010.0.0.1"


def test_dots_and_nothing_are_no_names() -> None:
    assert [safe_name(name) for name in (".", "..", "")] == ["%2E", "%2E.", "%"]


def test_long_ids_differ_in_their_hash() -> None:
    first, second = safe_name("x" * 300), safe_name("x" * 301)
    assert first != second
    assert len(first) == len(second) == 150


@given(st.text(max_size=400))
def test_every_name_is_safe(identifier: str) -> None:
    name = safe_name(identifier)
    assert 0 < len(name) <= 150
    assert not name.startswith(".")
    assert not set(name) & set("/\\\0 \n")


@given(st.lists(st.text(max_size=60), min_size=2, max_size=2, unique=True))
def test_different_ids_have_different_names(identifiers: list[str]) -> None:
    assert safe_name(identifiers[0]) != safe_name(identifiers[1])
