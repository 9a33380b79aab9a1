"""Calls share a playbook that their variables do not change."""

import os
from pathlib import Path

import pytest

from active_call.core.errors import PlaybookError
from active_call.playbook.library import PlaybookLibrary

SHARED = "---\nllm: {provider: scripted}\n---\nYou help {{ caller }}.\n"
OWN = "---\nllm: {provider: scripted}\ntts: {speaker: '{{ voice }}'}\n---\nYou help.\n"


def written(path: Path, text: str, *, mtime_ns: int = 1) -> Path:
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def test_two_calls_share_one_playbook(tmp_path: Path) -> None:
    library = PlaybookLibrary({})
    path = written(tmp_path / "a.md", SHARED)
    assert library.read(path, {"caller": "a"}) is library.read(path, {"caller": "b"})


def test_settings_with_templates_are_filled_for_each_call(tmp_path: Path) -> None:
    library = PlaybookLibrary({})
    path = written(tmp_path / "a.md", OWN)
    voices = [library.read(path, {"voice": voice}).option.tts for voice in ("low", "high")]
    assert [voice.speaker for voice in voices if voice] == ["low", "high"]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    library = PlaybookLibrary({})
    path = written(tmp_path / "a.md", SHARED)
    library.read(path, {})
    written(path, SHARED.replace("You help", "You sell"), mtime_ns=2)
    assert "You sell" in library.read(path, {}).scenes[0].prompt


def test_a_file_that_is_gone_is_missed(tmp_path: Path) -> None:
    library = PlaybookLibrary({})
    path = written(tmp_path / "a.md", SHARED)
    library.read(path, {})
    path.unlink()
    with pytest.raises(FileNotFoundError):
        library.read(path, {})


def test_what_is_said_is_checked_for_each_call(tmp_path: Path) -> None:
    library = PlaybookLibrary({})
    path = written(tmp_path / "a.md", SHARED.replace("{{ caller }}", "{{ caller }} {{ missing.name }}"))
    library.read(path, {"caller": "a", "missing": {"name": "x"}})
    with pytest.raises(PlaybookError):
        library.read(path, {"caller": "a"})
