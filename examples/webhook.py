"""Answer telephone calls: `.venv/bin/python examples/webhook.py [ws://host:port] [port]`.

The gateway is told where to ask, with `--handler http://localhost:8090/webhook`.
"""

import asyncio
import sys
from typing import Any

import uvicorn
from fastapi import BackgroundTasks, FastAPI

from active_call.client import connect
from active_call.wire.options import CallOption, TtsOption

app = FastAPI()


@app.post("/webhook")
async def incoming(call: dict[str, Any], tasks: BackgroundTasks) -> None:
    """The call waits for whoever connects with its dialog id."""
    tasks.add_task(answer, call["dialogId"], call["caller"])


async def answer(dialog_id: str, caller: str) -> None:
    async with connect(app.state.gateway, "sip", id=dialog_id) as call:
        await call.ringing()
        await asyncio.sleep(1)
        await call.accept(CallOption(tts=TtsOption(provider="espeak")))
        await call.tts(f"You are calling from {caller}. Goodbye!", auto_hangup=True)
        async for event in call:
            print(event.dump_json(), flush=True)


if __name__ == "__main__":
    app.state.gateway = sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8080"
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[2]) if len(sys.argv) > 2 else 8090, log_level="warning"
    )
