"""A call over a WebSocket whose client sends back what it hears: `.venv/bin/python examples/echo.py [ws://host:port]`."""

import asyncio
import sys

from active_call.client import Session, connect
from active_call.wire.options import CallOption, TtsOption


async def main(url: str = "ws://localhost:8080") -> None:
    async with connect(url, "webSocket") as call:
        await call.start(CallOption(codec="pcm", sample_rate=16_000, tts=TtsOption(provider="espeak")))
        await call.tts("This comes back to the gateway.", auto_hangup=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(show_events(call))
            async for frame in call.audio():
                await call.send_audio(frame)


async def show_events(call: Session) -> None:
    async for event in call:
        print(event.dump_json())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
