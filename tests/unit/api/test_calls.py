import asyncio
from typing import Any

import httpx
import pytest

from active_call.call.reasons import KILLED
from active_call.call.refusals import Refused
from active_call.core.errors import ActiveCallError, PlaybookError, ProviderError
from active_call.wire.commands import Tts
from active_call.wire.options import CallOption
from tests.unit.api.fakes import FakeCall, FakeCalls, FakeGateway, Times, client_of

SECRETS = CallOption.model_validate(
    {
        "callee": "sip:bob@example.com",
        "tts": {"provider": "openai", "apiKey": "hunter2"},
        "sip": {"username": "alice", "password": "hunter2", "headers": {"X-Api-Key": "hunter2"}},
        "mediaPass": {"url": "wss://user:hunter2@media.example.com/x?token=hunter2"},
        "extra": {"crm_token": "hunter2", "customer": "17"},
    }
)


def ask(gateway: FakeGateway, method: str, path: str, **content: Any) -> httpx.Response:
    async def whole() -> httpx.Response:
        async with client_of(gateway) as client:
            return await client.request(method, path, **content)

    return asyncio.run(whole())


def gateway_with(*calls: FakeCall, refusal: ActiveCallError | None = None) -> FakeGateway:
    return FakeGateway(FakeCalls({call.id: call for call in calls}, refusal=refusal))


TALKING = Times(start=1_700_000_000, ring=1_700_000_001, answer=1_700_000_090)


def test_live_calls_are_listed_under_both_names() -> None:
    response = ask(gateway_with(FakeCall("a", "sip", times=TALKING), FakeCall("b")), "GET", "/call/lists")
    body = response.json()
    assert body["total"] == 2
    assert body["calls"][0] == {
        "id": "a",
        "call_type": "sip",
        "callType": "sip",
        "created_at": "2023-11-14T22:13:20.000Z",
        "startTime": "2023-11-14T22:13:20.000Z",
        "ringTime": "2023-11-14T22:13:21.000Z",
        "answerTime": "2023-11-14T22:14:50.000Z",
        "duration": 10,
        "caller": "sip:alice@example.com",
        "callee": "sip:bob@example.com",
        "option": {},
    }
    assert body["calls"][1]["duration"] is None


def test_older_clients_see_their_own_list() -> None:
    response = ask(gateway_with(FakeCall("a", "sip", times=TALKING)), "GET", "/list")
    assert response.json() == {
        "active_calls": [
            {
                "id": "a",
                "callType": "sip",
                "cs.option": {},
                "ringTime": "2023-11-14T22:13:21.000Z",
                "startTime": "2023-11-14T22:14:50.000Z",
            }
        ]
    }


@pytest.mark.parametrize("path", ["/call/lists", "/list"])
def test_lists_hold_no_secrets(path: str) -> None:
    response = ask(gateway_with(FakeCall("a", option=SECRETS)), "GET", path)
    assert response.status_code == 200
    assert "hunter2" not in response.text
    assert "media.example.com" in response.text
    assert '"customer":"17"' in response.text


@pytest.mark.parametrize("call_id", ["a", "1@192.0.2.1:5060-x~y", "with/slash"])
def test_killing_a_call_ends_it(call_id: str) -> None:
    for method, path, answer in (
        ("POST", "/call/kill/", True),
        ("GET", "/kill/", {"status": "killed", "id": call_id}),
    ):
        call = FakeCall(call_id)
        response = ask(gateway_with(call), method, path + call_id)
        assert (response.status_code, response.json()) == (200, answer)
        assert call.ending is KILLED


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/call/kill/x"), ("GET", "/kill/x"), ("GET", "/events/x")],
)
def test_an_unknown_id_is_404(method: str, path: str) -> None:
    response = ask(gateway_with(), method, path)
    assert (response.status_code, response.json()) == (404, {"status": "not_found", "id": "x"})


def test_a_call_is_made_without_a_socket() -> None:
    gateway = gateway_with()
    response = ask(gateway, "POST", "/call", json={"callee": "sip:bob@h", "playbook": "hello.md"})
    assert (response.status_code, response.json()) == (200, {"session_id": "s.dialled"})
    assert gateway.calls.calls["s.dialled"].option.playbook == "hello.md"


@pytest.mark.parametrize(
    ("refusal", "status", "words"),
    [
        (Refused(503, "out of media capacity", retry=True), 503, "out of media capacity"),
        (PlaybookError("no llm", source="hello.md", line=3), 400, "hello.md:3: no llm"),
        (ProviderError("openai", "OPENAI_API_KEY is not set"), 503, "OPENAI_API_KEY is not set"),
    ],
)
def test_a_call_that_can_not_be_made_says_why(refusal: ActiveCallError, status: int, words: str) -> None:
    response = ask(gateway_with(refusal=refusal), "POST", "/call", json={"callee": "sip:bob@h"})
    assert (response.status_code, response.json()["error"]) == (status, words)


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        ({"json": {}}, 400, "callee: is missing"),
        ({"json": {"callee": "sip:a@b", "asr": {"samplerate": "x"}}}, 400, "asr.samplerate: must be a whole"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "not JSON"),
        ({"content": b'{"callee": "sip:a@b"}'}, 415, "content-type: application/json"),
        ({"json": []}, 400, "must be an object"),
    ],
)
def test_a_wrong_body_names_the_field(content: dict[str, Any], status: int, words: str) -> None:
    response = ask(gateway_with(), "POST", "/call", **content)
    assert response.status_code == status
    assert words in response.json()["error"]


def test_a_command_reaches_its_call() -> None:
    call = FakeCall("a")
    command = {"command": "tts", "text": "hello", "play_id": "1"}
    response = ask(gateway_with(call), "POST", "/command/a", json=command)
    assert (response.status_code, response.json()) == (200, {"status": "sent", "id": "a"})
    assert call.commands == [Tts(text="hello", play_id="1")]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ({"command": "tts"}, "tts.text: is missing"),
        ({"command": "nope"}, 'command: there is no command "nope"'),
        ({}, "command: is missing"),
    ],
)
def test_a_wrong_command_is_400(command: dict[str, Any], words: str) -> None:
    call = FakeCall("a")
    response = ask(gateway_with(call), "POST", "/command/a", json=command)
    assert response.status_code == 400
    assert words in response.json()["error"]
    assert call.commands == []


PRECACHE = {"command": "tts", "text": "hello", "option": {"provider": "openai"}}


def test_a_text_is_cached() -> None:
    response = ask(gateway_with(), "POST", "/precache", json=PRECACHE)
    assert response.json() == {"status": "cached", "cacheKey": "0a1b", "bytes": 32_000}


def test_a_voice_that_fails_is_500_and_no_voice_400() -> None:
    gateway = gateway_with()
    gateway.failure = ProviderError("openai", "no credit")
    response = ask(gateway, "POST", "/precache", json=PRECACHE)
    assert (response.status_code, response.json()["error"]) == (500, "no credit")
    response = ask(gateway, "POST", "/precache", json={"command": "tts", "text": "hello"})
    assert response.status_code == 400
    response = ask(gateway, "POST", "/precache", json={"command": "pause"})
    assert response.status_code == 400
