import asyncio
import socket

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from active_call.api.llm_proxy import llm_proxy
from active_call.outbound import Outbound

pytestmark = pytest.mark.e2e

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(text: str) -> bytes:
    return f"{len(text):x}\r\n{text}\r\n".encode()


def test_words_reach_the_client_as_the_model_says_them() -> None:
    asked: list[bytes] = []

    async def scenario() -> None:
        go_on, left = asyncio.Event(), asyncio.Event()

        async def model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b'"hello"}'))
            writer.write(HEAD + chunk("data: first\n\n"))
            await go_on.wait()
            writer.write(chunk("data: second\n\n"))
            await reader.read()  # until the proxy hangs up: this model never ends
            writer.close()
            left.set()

        async with await asyncio.start_server(model, "127.0.0.1", 0) as upstream, Outbound() as outbound:
            target = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}/v1"
            app = FastAPI()
            app.include_router(llm_proxy(target, outbound, environment={"OPENAI_API_KEY": "key"}))
            server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
            listener = socket.create_server(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(server.serve([listener]))
                url = f"http://127.0.0.1:{port}/llm/v1/chat/completions"
                body = {"prompt": "hello"}
                async with httpx.AsyncClient() as client, client.stream("POST", url, json=body) as response:
                    pieces = response.aiter_text()
                    assert await anext(pieces) == "data: first\n\n"
                    go_on.set()
                    assert await anext(pieces) == "data: second\n\n"
                await left.wait()
                server.should_exit = True
                await serving

    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert asked[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"authorization: bearer key" in asked[0].lower()
