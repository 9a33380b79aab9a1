import pytest

from active_call.core.errors import PlaybookError
from active_call.playbook.options import Goto, HangUp, Transfer
from active_call.playbook.scene import Scene, parse_scenes


def scenes(body: str) -> list[Scene]:
    return parse_scenes(body, source="p.md", first_line=10)[0]


def test_text_before_the_first_header_is_the_default_scene() -> None:
    found = scenes("Hi\n\n# Scene: my menu \nOne\n## Not a scene\n# Scene: end\n")
    assert [(scene.id, scene.prompt) for scene in found] == [
        ("default", "Hi"),
        ("my menu", "One\n## Not a scene"),
        ("end", ""),
    ]


def test_without_such_text_the_first_header_is_the_first_scene() -> None:
    assert [scene.id for scene in scenes("\n# Scene: a\nA\n# Scene: b\nB")] == ["a", "b"]
    assert scenes("  \n") == []


def test_headers_in_code_are_text() -> None:
    assert [scene.id for scene in scenes("Write\n```\n# Scene: x\n```\n# Scene: y\n")] == ["default", "y"]


def test_of_two_scenes_with_one_name_the_last_counts() -> None:
    found, warnings = parse_scenes("# Scene: a\nOne\n# Scene: a\nTwo", source="p.md", first_line=1)
    assert [scene.prompt for scene in found] == ["Two"]
    assert warnings == ['p.md:3: there are two scenes "a"; this one counts']


def test_tags_in_any_order_and_quotes_are_taken_out() -> None:
    (scene,) = scenes(
        "Ask.\n<dtmf scene='menu' digit=\"1\" action=goto/>\n<DTMF action='hangup' digit='#' />"
        '<dtmf digit="0" target="sip:desk@a.b" action="transfer"></dtmf>\n'
        '<play file="a.wav"/><play file="b.wav"/>'
        "<followup max='2' timeout='5000'/>\n<expect>yes | no\nmy order</expect>\nSay <hangup/> at the end."
    )
    assert scene.dtmf == {
        "1": Goto(action="goto", scene="menu"),
        "#": HangUp(action="hangup"),
        "0": Transfer(action="transfer", target="sip:desk@a.b"),
    }
    assert scene.play == "a.wav"
    assert scene.follow_up is not None
    assert (scene.follow_up.timeout, scene.follow_up.max_count) == (5000, 2)
    assert scene.expect == ("yes", "no", "my order")
    assert scene.prompt.split() == ["Ask.", "Say", "<hangup/>", "at", "the", "end."]


def test_lines_keep_their_numbers() -> None:
    assert scenes("\n\nText")[0].line == 12
    (_, second) = scenes("Text\n# Scene: b\n<expect>a\nb</expect>\nText")
    assert second.line == 14


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("\n<dtmf action='hangup'/>", 'p.md:11: <dtmf> needs digit="…"'),
        ("<dtmf digit='1' action='goto'/>", "p.md:10: <dtmf> goto.scene: is missing"),
        (
            "<dtmf digit='1' action='jump'/>",
            'p.md:10: <dtmf> action: there is no action "jump"; known are goto, transfer, hangup',
        ),
        ("<followup/>", "p.md:10: <followup> timeout: is missing"),
        ("<expect>yes", "p.md:10: <expect> is not closed"),
        ("a\n# Scene:\nb", "p.md:11: a scene needs a name"),
    ],
)
def test_tags_that_can_not_be_used_are_named(body: str, text: str) -> None:
    with pytest.raises(PlaybookError) as caught:
        scenes(body)
    assert str(caught.value).startswith(text)


def test_a_code_block_that_is_never_closed_is_told() -> None:
    _, warnings = parse_scenes("Write\n```{}```\n# Scene: x\n", source="p.md", first_line=1)
    assert warnings == ["p.md:2: this code block is not closed: scenes below it are not seen"]
