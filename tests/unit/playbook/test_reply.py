import pytest

from active_call.playbook.reply import Conversation, Reply, Segment, join
from active_call.speech.providers import ChatMessage
from active_call.wire.events import Interruption


def cut(current: int, total: int, subtitle: str | None = None, position: int | None = None) -> Interruption:
    return Interruption(
        track_id="s", timestamp=0, current=current, total_duration=total, subtitle=subtitle, position=position
    )


def interrupted(*pieces: str, at: Interruption) -> Reply:
    return Reply("t", " ".join(pieces), [Segment("t", list(pieces), started=True, cut=at)], interrupted=True)


def test_pieces_are_joined_as_their_script_is_written() -> None:
    assert join(["One.", "Two."]) == "One. Two."
    assert join(["你好。", "再见。"]) == "你好。再见。"


@pytest.mark.parametrize(
    ("at", "heard"),
    [
        (cut(0, 0), ""),
        (cut(500, 1000), "One two."),
        (cut(1000, 1000), "One two. Three four."),
        (cut(900, 1000, "Three four.", 1), "One two. Three"),
        (cut(900, 1000, "Three four.", 0), "One two."),
        (cut(500, 1000, "not said", 1), "One two."),
    ],
)
def test_what_was_heard_ends_at_a_word(at: Interruption, heard: str) -> None:
    assert interrupted("One two.", "Three four.", at=at).heard() == heard


def test_of_equal_sentences_the_nearest_counts() -> None:
    at = cut(90, 100, "Yes I do.", 1)
    assert interrupted("Yes I do.", "Well now.", "Yes I do.", at=at).heard() == "Yes I do. Well now. Yes"


def test_scripts_without_spaces_are_cut_at_a_character() -> None:
    assert interrupted("你好请问几位", at=cut(500, 1000)).heard() == "你好请"
    assert interrupted("你好。", "请问几位？", at=cut(9, 10, "请问几位？", 2)).heard() == "你好。请问"


def test_what_was_sent_but_never_began_was_not_heard() -> None:
    reply = Reply("t", "One.", [Segment("t", ["One."])], interrupted=True)
    assert reply.heard() == ""
    reply.interrupted = False
    assert reply.heard() == "One."


def test_the_model_sees_its_own_tags_and_what_was_cut() -> None:
    conversation = Conversation()
    conversation.add(Reply("1", "Bye. <hangup/>"))
    conversation.hear("wait", continued=False)
    conversation.add(interrupted("One two.", "Three.", at=cut(500, 900)))
    assert conversation.messages("S") == [
        ChatMessage("system", "S"),
        ChatMessage("assistant", "Bye. <hangup/>"),
        ChatMessage("user", "wait"),
        ChatMessage("assistant", "One two. [interrupted by the caller]"),
    ]


@pytest.mark.parametrize(
    ("at", "continued", "merged"),
    [(cut(0, 1000), False, True), (cut(350, 1000), True, True), (cut(350, 1000), False, False)],
)
def test_a_caller_who_goes_on_says_one_thing(at: Interruption, continued: bool, merged: bool) -> None:
    conversation = Conversation()
    conversation.hear("a table", continued=False)
    conversation.add(interrupted("Gladly, for how many people?", at=at))
    conversation.hear("for four", continued=continued)
    users = [message.content for message in conversation.messages("S") if message.role == "user"]
    assert users == (["a table for four"] if merged else ["a table", "for four"])


def test_a_short_answer_that_was_heard_stays() -> None:
    conversation = Conversation()
    conversation.hear("a table", continued=False)
    conversation.add(Reply("1", "Yes.", [Segment("1", ["Yes."], started=True, ended=True)]))
    conversation.hear("for four", continued=True)
    assert len(conversation.messages("S")) == 4
