import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.config.lines import KeyPath, key_lines


def leaves(value: Any, path: KeyPath = ()) -> list[KeyPath]:
    """The paths of all values of a parsed document, list items included."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, (*path, index))]
    return [path]


def test_top_level_keys() -> None:
    assert key_lines('a = 1\n\n# b = 2\nc = "x"\n') == {("a",): 1, ("c",): 4}


def test_keys_of_a_table_and_the_table_itself() -> None:
    assert key_lines("[t]\na = 1\n[t.u]\nb = 2\n") == {
        ("t",): 1,
        ("t", "a"): 2,
        ("t", "u"): 3,
        ("t", "u", "b"): 4,
    }


def test_tables_in_a_list_are_told_apart_by_index() -> None:
    lines = key_lines(
        "[[user]]\nname = 1\n[user.secret]\nkey = 2\n[[user]]\nname = 3\n[user.secret]\nkey = 4\n"
    )
    assert lines["user", 0, "secret", "key"] == 4
    assert lines["user", 1] == 5
    assert lines["user", 1, "secret", "key"] == 8


def test_nested_lists_of_tables_begin_anew_in_each_outer_item() -> None:
    lines = key_lines("[[a]]\n[[a.b]]\nx = 1\n[[a.b]]\nx = 2\n[[a]]\n[[a.b]]\nx = 3\n")
    assert [lines["a", 0, "b", 1, "x"], lines["a", 1, "b", 0, "x"]] == [5, 8]


def test_items_of_a_list_over_several_lines() -> None:
    lines = key_lines('a = [\n  "x", # ], not the end\n  [1,\n   2],\n]\nb = 1\n')
    assert [lines["a", 0], lines["a", 1, 1], lines["b",]] == [2, 4, 6]


def test_inline_tables_and_dotted_and_quoted_keys() -> None:
    lines = key_lines("a = { x = 1, \"y z\" = { w = 2 } }\nb . c.'d' = 3\n")
    assert lines["a", "y z", "w"] == 1
    assert lines["b", "c", "d"] == 2


@pytest.mark.parametrize(
    "value",
    [
        '"a \\" = [ # "',
        "'\\'",
        '"""\nx = 1\n[t]\n"""',
        "'''\n'' x = 1\n'''",
        '"""ends with a quote""""',
        '""',
        "[]",
        "{}",
        "1979-05-27 07:32:00Z # a date",
        "[ [ ], { } ]",
    ],
)
def test_the_key_after_a_value_is_found(value: str) -> None:
    text = f"first = {value}\nafter = 1\n"
    assert key_lines(text)["after",] == value.count("\n") + 2
    assert set(leaves(tomllib.loads(text))) <= set(key_lines(text))


def test_windows_line_ends() -> None:
    assert key_lines('a = """\r\n"""\r\n[t]\r\nb = 1\r\n')["t", "b"] == 4


names = st.sampled_from(["a", "b", "'c d'", '"e.f"'])
scalars = st.sampled_from(["1", '"x # y"', "'z'", "true", '"""\nq\n"""', "1.5"])
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[\n" + ",\n".join(items) + "]"),
        st.dictionaries(names, inner, max_size=2).map(
            lambda table: "{" + ", ".join(f"{key} = {item}" for key, item in table.items()) + "}"
        ),
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(names, values, max_size=3), st.lists(st.dictionaries(names, values, max_size=3), max_size=3)
)
def test_every_value_of_any_document_has_a_line(top: dict[str, str], items: list[dict[str, str]]) -> None:
    text = "".join(f"{key} = {value}\n" for key, value in top.items())
    for item in items:
        text += "[[list]]\n" + "".join(f"{key} = {value}\n" for key, value in item.items())
    assert set(leaves(tomllib.loads(text))) <= set(key_lines(text))
