import asyncio

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
