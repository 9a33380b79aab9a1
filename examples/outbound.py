"""Telephone somebody and speak: `.venv/bin/python examples/outbound.py sip:bob@example.com "Hello!" [ws://host:port]`."""

import asyncio
import sys

from active_call.client import connect
from active_call.wire import events
from active_call.wire.options import CallOption, TtsOption


async def main(callee: str, text: str, url: str = "ws://localhost:8080") -> None:
    async with connect(url, "sip") as call:
        await call.invite(CallOption(callee=callee, tts=TtsOption(provider="espeak")))
        await call.until(events.Answer, timeout=60)
        await call.tts(text, auto_hangup=True)
        hangup = await call.until(events.Hangup, timeout=600)
        print(hangup.detail)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
