"""A conversation whose words are yours: `.venv/bin/python examples/dialogue.py sip:bob@example.com [ws://host:port]`."""

import asyncio
import sys

from active_call.client import connect
from active_call.wire import events
from active_call.wire.options import AsrOption, CallOption, TtsOption, VadOption

OPTION = CallOption(
    vad=VadOption(type="silero"),
    asr=AsrOption(provider="pocketsphinx", phrases=["yes", "no", "goodbye"]),
    tts=TtsOption(provider="espeak"),
)


async def main(callee: str, url: str = "ws://localhost:8080") -> None:
    over = False
    async with connect(url, "sip") as call:
        await call.invite(OPTION.model_copy(update={"callee": callee}))
        async for event in call:
            match event:
                case events.Answer():
                    await call.tts("Shall we go on? Say yes, no, or goodbye.", play_id="greeting")
                case events.Speaking() if not over:
                    await call.interrupt(graceful=True)
                case events.AsrFinal(text=text, index=index):
                    print(f"caller: {text}")
                    over = text != "yes"
                    await call.tts(
                        "Goodbye!" if over else "Yes? And now?", play_id=f"{index}", auto_hangup=over
                    )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
