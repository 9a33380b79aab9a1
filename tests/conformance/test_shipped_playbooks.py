"""The playbooks that come with the product: they load without a complaint, and lead their dialogues."""

import asyncio
from pathlib import Path

import pytest

from active_call.playbook.document import Playbook, read_playbook
from active_call.playbook.prompt import context_of, render
from active_call.playbook.runner import PlaybookDialogue
from active_call.speech.llm.scripted import ScriptedLlm
from active_call.testing.clock import run
from active_call.testing.fakecall import FakeCall

FOLDER = Path(__file__).parents[2] / "config" / "playbook"
NAMES = sorted(path.name for path in FOLDER.glob("*.md"))


def shipped(name: str) -> Playbook:
    return read_playbook(FOLDER / name, environment={}, variables={})


def talk(name: str, *said: str) -> FakeCall:
    """A call where the caller waits for the agent to finish, then says or (a digit) presses the next thing."""
    calls: list[FakeCall] = []

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            call = FakeCall(tasks, PlaybookDialogue(shipped(name), llm=ScriptedLlm()))
            calls.append(call)
            await asyncio.sleep(0)
            call.answer()
            for text in said:
                await asyncio.sleep(0.2)
                await call.quiet.wait()
                call.key(text) if text.isdigit() else call.words(text)
            await asyncio.sleep(200)
            call.end()

    run(main())
    return calls[0]


@pytest.mark.parametrize("name", NAMES)
def test_they_run_without_a_key(name: str) -> None:
    playbook = shipped(name)
    assert playbook.llm.provider == "scripted"
    assert playbook.option.tts is not None
    assert playbook.option.tts.provider == "espeak"
    warnings = [warning for warning in playbook.warnings if "only keys are heard" not in warning]
    assert warnings == []


@pytest.mark.parametrize("name", NAMES)
def test_nobody_is_left_in_silence(name: str) -> None:
    call = talk(name)
    assert call.ended_at is not None
    assert call.ended_at < 100_000
    assert call.errors() == []


def test_greeting_greets_and_hangs_up() -> None:
    call = talk("greeting.md")
    assert call.said() == ["Hello! This is a friendly greeting from active call. Have a nice day. Goodbye!"]
    assert call.ended_at == 100 + len(call.said()[0]) * 50


def test_demo_books_a_table() -> None:
    call = talk("demo.md", "I would like to book a table", "four people", "yes please", "1")
    agent = [text for speaker, text in call.history() if speaker == "assistant"]
    assert agent[1] == "Gladly. For how many people?"
    assert agent[2].startswith("I have a table by the window at eight o'clock.")
    assert agent[3:] == [
        "Your table is booked for eight o'clock. Press one to end the call.",
        "Thank you for calling the Riverside. Goodbye!",
    ]
    assert call.variables["booked"] == "yes"


def test_demo_understands_what_it_asks_for() -> None:
    playbook = shipped("demo.md")
    assert playbook.phrases(playbook.scenes[1])[1:] == ["two people", "four people", "six people"]


def test_chinese_takes_keys() -> None:
    call = talk("chinese.md", "2", "0")
    assert call.said()[1:] == [
        "我们在人民路十八号，地铁站旁边。",
        "营业时间请按一，结束通话请按零。",
        "谢谢您的来电，再见！",
    ]


def test_vip_service_greets_by_name() -> None:
    playbook = read_playbook(FOLDER / "vip_service.md", environment={}, variables={})
    context = context_of({"X-Name": "Ann"}, ["X-Name"])
    assert render(playbook.greeting or "", context).startswith("Good day, Ann. It is good")
    assert render(playbook.greeting or "", {}).startswith("Good day. It is good")
