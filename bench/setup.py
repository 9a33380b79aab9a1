"""How fast calls are set up: INVITE sent to 200 received."""

import asyncio
import secrets
import socket
import time

from active_call.sdp.negotiate import LocalMedia, make_offer
from active_call.sip.events import Answered, Rejected, SipEvent
from active_call.testing.caller import Telephones
from bench.figures import Figure, one, spread
from bench.measure import HOST, Options, Tell, gateway_with_phones, playbook

CALLS = 300
AT_ONCE = 20
HOLD_SECONDS = 0.2


async def run(options: Options, tell: Tell) -> list[Figure]:
    """`CALLS` calls, `AT_ONCE` of them being set up at any time; each is hung up after a moment."""
    count = options.times(CALLS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind((HOST, 0))  # takes the audio of all calls; nobody listens
        local = LocalMedia(HOST, sink.getsockname()[1], ("pcmu",), dtmf=False, session_id=1, version=1)
        async with gateway_with_phones(playbook(greeting="hello")) as (gateway, phones):
            room = asyncio.Semaphore(AT_ONCE)
            began = time.perf_counter()
            found = await asyncio.gather(
                *(_one_call(phones, gateway.uri, make_offer(local), room) for _ in range(count))
            )
            ended = max(finished for _, finished in found)
            await asyncio.sleep(HOLD_SECONDS + 0.5)
    milliseconds = [taken * 1000 for taken, _ in found if taken is not None]
    refused = sum(taken is None for taken, _ in found)
    rate = len(milliseconds) / (ended - began)
    tell(f"{count} calls, {rate:.0f} per second")
    return [
        spread("INVITE to 200", milliseconds, "ms", (50, 95)),
        one(f"calls set up, {AT_ONCE} at a time", rate, "1/s", stat="mean"),
        one("calls refused", refused, "", limit=0, note=f"of {count}"),
    ]


async def _one_call(
    phones: Telephones, target: str, offer: bytes, room: asyncio.Semaphore
) -> tuple[float | None, float]:
    """Seconds until the answer, None if it was a refusal; and when that was."""
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def on_sip(event: SipEvent) -> None:
        if isinstance(event, Answered | Rejected) and not answer.done():
            answer.set_result(isinstance(event, Answered))

    async with room:
        sent = time.perf_counter()
        sip = phones.agent.invite(
            target,
            caller=f"sip:caller@{HOST}",
            sdp=offer,
            listener=on_sip,
            headers={},
            credentials=None,
            call_id=secrets.token_hex(12),
        )
        accepted = await asyncio.wait_for(answer, 30.0)
        now = time.perf_counter()
    await asyncio.sleep(HOLD_SECONDS)
    sip.hangup()
    return now - sent if accepted else None, now
