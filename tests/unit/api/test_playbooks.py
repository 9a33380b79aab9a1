import asyncio
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.api.fakes import FakeGateway, client_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config" / "playbook"


def ask(method: str, path: str, gateway: FakeGateway | None = None, **content: Any) -> httpx.Response:
    async def whole() -> httpx.Response:
        async with client_of(gateway or FakeGateway()) as client:
            return await client.request(method, path, **content)

    return asyncio.run(whole())


def test_without_a_folder_there_are_none() -> None:
    assert ask("GET", "/api/playbooks").json() == []


def test_what_is_written_is_listed_and_read(folder: Path) -> None:
    for name in ("b.md", "a.md"):
        assert ask("POST", f"/api/playbooks/{name}", content=f"---\n{name} ü").status_code == 200
    (folder / "notes.txt").write_text("x")
    (folder / "folder.md").mkdir()
    os.utime(folder / "a.md", (1_700_000_000, 1_700_000_000))
    listed = ask("GET", "/api/playbooks").json()
    assert [each["name"] for each in listed] == ["a.md", "b.md"]
    assert listed[0]["updated"] == "2023-11-14T22:13:20Z"
    response = ask("GET", "/api/playbooks/b.md")
    assert response.text == "---\nb.md ü"
    assert response.headers["content-type"].startswith("text/plain")
    assert {path.name for path in folder.iterdir()} == {"a.md", "b.md", "notes.txt", "folder.md"}


def test_writing_replaces_and_leaves_no_rest(folder: Path) -> None:
    for text in ("long text", "short"):
        ask("POST", "/api/playbooks/a.md", content=text)
    assert [path.name for path in folder.iterdir()] == ["a.md"]
    assert (folder / "a.md").read_text() == "short"


def test_what_is_not_there_is_404(folder: Path) -> None:
    (folder / "folder.md").mkdir(parents=True)
    for name in ("none.md", "folder.md"):
        response = ask("GET", f"/api/playbooks/{name}")
        assert (response.status_code, response.json()["error"]) == (404, "Playbook not found")


@pytest.mark.parametrize(
    "name",
    [
        "%2e%2e%2fsecret.md",
        "..%2f..%2fsecret.md",
        "a/b.md",
        "a%2Fb.md",
        "%2Fetc%2Fpasswd.md",
        "a%5Cb.md",
        "a%00.md",
        ".hidden.md",
        "a.txt",
        "x" * 250 + ".md",
    ],
)
def test_names_never_leave_the_folder(folder: Path, name: str) -> None:
    folder.mkdir(parents=True)
    (folder.parent / "secret.md").write_text("secret")
    for method in ("GET", "POST"):
        response = ask(method, f"/api/playbooks/{name}", content="x")
        assert response.status_code == 400
        assert response.json()["error"].startswith("Invalid filename")
    assert list(folder.iterdir()) == []
    assert (folder.parent / "secret.md").read_text() == "secret"


def test_a_playbook_is_text_of_limited_size(folder: Path) -> None:
    assert ask("POST", "/api/playbooks/a.md", content=b"\xff").status_code == 400
    assert ask("POST", "/api/playbooks/a.md", content=b"x" * (1 << 20)).status_code == 200
    assert ask("POST", "/api/playbooks/a.md", content=b"x" * ((1 << 20) + 1)).status_code == 413


def test_a_folder_that_can_not_be_written_is_500(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("in the way")
    response = ask("POST", "/api/playbooks/a.md", content="x")
    assert response.status_code == 500
    assert "can't be written" in response.json()["error"]


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        ({"playbook": "hello.md"}, "hello.md"),
        ({"playbook": "config/playbook/hello.md", "content": "---\n---"}, "config/playbook/hello.md"),
        ({"content": "---\nllm: {}\n---\nHi", "type": "sip", "to": "bob"}, "---\nllm: {}\n---\nHi"),
    ],
)
def test_a_playbook_waits_for_a_client(asked: dict[str, str], waits: str) -> None:
    gateway = FakeGateway()
    response = ask("POST", "/api/playbook/run", gateway, json=asked)
    assert response.json() == {"session_id": "s.1"}
    assert gateway.calls.pending_playbooks.waiting == [waits]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "playbook: is missing"),
        ({"playbook": "../secret.md"}, "playbook: Invalid filename"),
        ({"content": "Hi"}, "content: a playbook begins with"),
        ({"playbook": 5}, "playbook: must be text"),
    ],
)
def test_what_can_not_be_run_says_why(asked: dict[str, Any], words: str) -> None:
    gateway = FakeGateway()
    response = ask("POST", "/api/playbook/run", gateway, json=asked)
    assert response.status_code == 400
    assert words in response.json()["error"]
    assert gateway.calls.pending_playbooks.waiting == []
