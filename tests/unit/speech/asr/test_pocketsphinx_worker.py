import io

import pytest

from active_call.speech.asr.pocketsphinx_worker import Answer, read_message, words_of, write_message


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        ("Opening hours, please!", "opening hours please"),
        ("I\u2019d like", "i'd like"),
        ("press 12", "press one two"),
        ("\u4f60\u597d", ""),
    ],
)
def test_words_as_the_dictionary_writes_them(phrase: str, words: str) -> None:
    assert " ".join(words_of(phrase)) == words


def test_messages_come_back() -> None:
    pipe = io.BytesIO()
    write_message(pipe, Answer(2, "two"))
    write_message(pipe, Answer(3, "three"))
    pipe.seek(0)
    assert b"two" in read_message(pipe)
    assert b"three" in read_message(pipe)
    with pytest.raises(EOFError):
        read_message(pipe)


def test_a_broken_message_is_an_end() -> None:
    pipe = io.BytesIO()
    write_message(pipe, Answer(2, "two"))
    with pytest.raises(EOFError):
        read_message(io.BytesIO(pipe.getvalue()[:-1]))
