import asyncio

import pytest
from pydantic import SecretStr

from active_call.speech import openai_client as module
from active_call.speech.openai_client import openai_client


def test_clients_are_shared_and_not_kept_for_ever() -> None:
    async def scene() -> None:
        endpoint = "http://127.0.0.1:1/v1"
        clients = [openai_client(endpoint, SecretStr(f"key {n}")) for n in range(module.MAX_CLIENTS + 10)]
        assert openai_client(endpoint, SecretStr(f"key {module.MAX_CLIENTS + 9}")) is clients[-1]
        assert openai_client(endpoint, SecretStr("key 0")) is not clients[0]
        assert len(module._clients[asyncio.get_running_loop()]) == module.MAX_CLIENTS

    asyncio.run(scene())


def test_the_key_of_the_environment_is_for_no_other_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ours")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://ours.example/v1")

    async def scene() -> None:
        assert openai_client(None, None).api_key == "sk-ours"
        assert openai_client("https://ours.example/v1", None).api_key == "sk-ours"
        assert openai_client("https://theirs.example/v1", None).api_key == "none"

    asyncio.run(scene())
