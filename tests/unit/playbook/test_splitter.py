import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.playbook.splitter import Item, Say, Splitter, clean
from active_call.playbook.tags import Tag


def split(*chunks: str) -> list[Item]:
    splitter = Splitter()
    items = [item for chunk in chunks for item in splitter.feed(chunk)]
    return items + splitter.finish()


def says(text: str) -> list[str]:
    return [item.text for item in split(text) if isinstance(item, Say)]


TAGGED = {
    'Let me see. <refer to="sip:1@10.0.0.1"/> Done.': [
        Say("Let me see."),
        Tag("refer", {"to": "sip:1@10.0.0.1"}),
        Say("Done."),
    ],
    "<play file='a.wav'/>After it.": [Tag("play", {"file": "a.wav"}), Say("After it.")],
    "Bye! <HANGUP />": [Say("Bye!"), Tag("hangup")],
    "Bye. <hangup></hangup>": [Say("Bye."), Tag("hangup")],
    '<goto scene="menu"/>': [Tag("goto", {"scene": "menu"})],
    """<http body='{"a": "b > c"}' method=POST url="https://a.b/c?d=e."/>""": [
        Tag("http", {"body": '{"a": "b > c"}', "method": "POST", "url": "https://a.b/c?d=e."})
    ],
    "<set_var key=a value=''/>": [Tag("set_var", {"key": "a", "value": ""})],
    "<set_var key='a' value='it's />'/>x": [Tag("set_var", {"key": "a", "value": "it's />"}), Say("x")],
    '<set_var value="a &amp; b" key="k"/>': [Tag("set_var", {"value": "a & b", "key": "k"})],
    '好的。<collect type="t" prompt="号码？"/>谢谢！': [
        Say("好的。"),
        Tag("collect", {"type": "t", "prompt": "号码？"}),
        Say("谢谢！"),
    ],
}


@pytest.mark.parametrize("text", TAGGED)
def test_tags_are_found_wherever_the_text_is_cut(text: str) -> None:
    for at in range(len(text) + 1):
        assert split(text[:at], text[at:]) == TAGGED[text], f"cut at {at}"
    assert split(*text) == TAGGED[text]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("It costs 3.14 at example.com. Fine.", ["It costs 3.14 at example.com.", "Fine."]),
        ("Write to a@b.com, version v1.2.", ["Write to a@b.com, version v1.2."]),
        ("Well... I see. What?! Really", ["Well...", "I see.", "What?!", "Really"]),
        ("Mr. Lee met Dr. Who at 9 a.m. sharp. Yes!", ["Mr. Lee met Dr. Who at 9 a.m. sharp.", "Yes!"]),
        ("1. Book a table\n2. Hang up", ["1. Book a table", "2. Hang up"]),
        ("No. I mean yes.", ["No. I mean yes."]),
        ('He said "stop." Then left.', ['He said "stop."', "Then left."]),
        ("你好！请问几位？三位，谢谢。", ["你好！", "请问几位？", "三位，谢谢。"]),
        ("真的？！好吧。", ["真的？", "好吧。"]),
        ("One\n\n\nTwo", ["One", "Two"]),
        ("... !!! 😀 . -- ", []),
        ("5 < 6 and a <b> c <3.", ["5 < 6 and a <b> c <3."]),
        ("Is it < ", ["Is it <"]),
    ],
)
def test_sentences(text: str, pieces: list[str]) -> None:
    assert says(text) == pieces
    assert [item.text for item in split(*text) if isinstance(item, Say)] == pieces


def test_a_sentence_is_told_as_soon_as_it_is_certain() -> None:
    splitter = Splitter()
    assert splitter.feed("Hello there. ") == [Say("Hello there.")]
    assert splitter.feed("How are") == []
    assert splitter.feed(" you。") == [Say("How are you。")]


@pytest.mark.parametrize("text", ["Yes. <hangup", 'Yes. <refer to="sip:1', "Yes. <play file="])
def test_an_unclosed_tag_is_never_spoken(text: str) -> None:
    assert split(text) == [Say("Yes.")]
    assert split(*text) == [Say("Yes.")]


def test_what_only_looks_like_a_tag_is_text() -> None:
    assert split("<play the game> now") == [Say("<play the game> now")]
    assert split("a <players> b") == [Say("a <players> b")]
    assert split("a <pl") == [Say("a <pl")]


def test_a_tag_without_end_does_not_hold_speech_back_for_ever() -> None:
    assert split('<play file="' + "x" * 5000, "Hello.") == [Say("Hello.")]


def test_long_sentences_are_cut_at_a_comma_or_else_at_a_space() -> None:
    assert says("word " * 20 + "end, and more.") == [("word " * 20 + "end,"), "and more."]
    pieces = says("word " * 200)
    assert " ".join(pieces) == ("word " * 200).strip()
    assert max(len(piece) for piece in pieces) <= 250
    assert max(len(piece) for piece in says("字" * 1000)) <= 250


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("**Very** _good_ `code`", "Very good code"),
        ("## Title", "Title"),
        ("- first", "first"),
        ("2 * 3 = 6, 2*3", "2 * 3 = 6, 2*3"),
        ("call set_var now", "call set_var now"),
        ("[our site](https://a.b/c)", "our site"),
        ("Great 👍🏽 ❤️!", "Great !"),
        ("”好", "好"),
    ],
)
def test_markup_is_not_spoken(text: str, spoken: str) -> None:
    assert clean(text) == spoken


def test_whole_text_is_cut_only_at_tags() -> None:
    splitter = Splitter(sentences=False)
    assert splitter.feed("Hello. How are you? <hangup/>") == [Say("Hello. How are you?"), Tag("hangup")]


_TEXT = st.text(alphabet="ab1 .!?,\"'<>/=\n。！*_" + "好") | st.sampled_from(list(TAGGED))


@given(st.lists(_TEXT, max_size=6), st.data())
def test_any_cut_gives_the_same_items(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    at = data.draw(st.integers(0, len(text)))
    assert split(text[:at], text[at:]) == split(*text) == split(text)


def test_text_without_spaces_is_cut_all_the_same() -> None:
    pieces = says("a." * 1000)
    assert max(map(len, pieces)) <= 500
    assert "".join(pieces).count("a") == 1000
