"""Dialogs against SIPp, whose scenarios want everything that a call may bring."""

import asyncio
import socket
from pathlib import Path

import pytest

from active_call.sip.agent import Credentials, SipAgent, SipCall, SipConfig
from active_call.sip.events import (
    Acknowledged,
    Answered,
    Ended,
    MessageReceived,
    OfferAnswered,
    ReferProgress,
    ReferReceived,
    Ringing,
    SipEvent,
)
from tests.e2e.sipp import SippResult, run_sipp

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("needs_sipp")]

DATA = Path(__file__).parent / "data" / "sipp"
SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
CALLS = 20


def test_a_demanding_caller(tmp_path: Path) -> None:
    asyncio.run(take_calls(tmp_path))


async def take_calls(folder: Path) -> None:
    heard: dict[str, list[SipEvent]] = {}

    def take(call: SipCall) -> None:
        def listener(event: SipEvent) -> None:
            heard.setdefault(call.call_id, []).append(event)
            if isinstance(event, ReferReceived):
                call.notify_refer(486, "Busy Here", final=True)

        call.listener = listener
        call.progress(SDP)
        call.accept(SDP)

    agent = SipAgent(SipConfig("127.0.0.1", 0), on_call=take)
    await agent.start()
    try:
        result = await asyncio.to_thread(
            run_sipp, folder, "-sf", str(DATA / "uac_dialog.xml"), f"127.0.0.1:{agent.address[1]}",
            "-m", str(CALLS), "-r", "50",
        )  # fmt: skip
    finally:
        await agent.aclose()
    assert (result.successful, result.failed) == (CALLS, 0), result.output
    assert len(heard) == CALLS
    for events in heard.values():
        assert [type(event) for event in events] == [Acknowledged, MessageReceived, ReferReceived, Ended]


def test_a_demanding_callee(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    asyncio.run(make_a_call(tmp_path, port))


async def make_a_call(folder: Path, port: int) -> None:
    agent = SipAgent(SipConfig("127.0.0.1", 0), on_call=lambda call: call.reject(486, ""))
    await agent.start()
    events: list[SipEvent] = []
    over = asyncio.Event()

    def listener(event: SipEvent) -> None:
        events.append(event)
        match event:
            case Answered():
                call.offer(SDP.replace(b"o=- 1 1", b"o=- 1 2") + b"a=sendonly\r\n")
            case OfferAnswered():
                call.refer("sip:carol@example.com", referred_by="sip:agent@example.com")
            case ReferProgress(final=True):
                call.hangup()
            case Ended():
                over.set()

    async def sipp() -> SippResult:
        scenario = str(DATA / "uas_dialog.xml")
        return await asyncio.to_thread(run_sipp, folder, "-sf", scenario, "-p", str(port), "-m", "1")

    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(sipp())
            await asyncio.sleep(0.5)
            call = agent.invite(
                f"sip:sipp@127.0.0.1:{port}",
                caller="sip:agent@example.com",
                sdp=SDP,
                listener=listener,
                credentials=Credentials("agent", "secret"),
            )
            async with asyncio.timeout(20):
                await over.wait()
    finally:
        await agent.aclose()
    result = running.result()
    assert (result.successful, result.failed) == (1, 0), result.output
    assert [type(event).__name__ for event in events] == [
        "Ringing",
        "Answered",
        "OfferAnswered",
        "ReferProgress",
        "ReferProgress",
        "Ended",
    ]
    assert events[-2] == ReferProgress(603, "Decline", True)
    ringing, answered = events[:2]
    assert isinstance(ringing, Ringing)
    assert ringing.sdp is not None
    assert answered == Answered(ringing.sdp)
