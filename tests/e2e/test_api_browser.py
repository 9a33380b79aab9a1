"""The configuration guide's JavaScript for WebSocket and SIP calls, unmodified, in a real browser."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from active_call.testing.caller import Telephones
from active_call.testing.clouds.openai import OpenAiCloud
from active_call.testing.process import GatewayProcess
from bench.measure import speech
from tests.e2e.api import run
from tests.e2e.chromium import Page, chromium

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("needs_chromium", "needs_local_speech")]

HERE = Path(__file__).parent
PLAYBOOKS = {
    path.name: path.read_text(encoding="utf-8")
    for path in (HERE.parents[1] / "config" / "playbook").glob("*.md")
}
PBX = "127.0.53.60"
"""An address of this machine on which port 5060 is surely free."""

HEAR = """
var events = [], bytes = 0;
function handleEvent(msg) { events.push(msg.event); }
function playAudio(data) { bytes += data.size === undefined ? data.byteLength : data.size; }
"""
"""What the guide leaves to the page."""

SPEAK = """
(async () => {
  for (let at = 0; at < 100; at++) {
    const samples = new Int16Array(320);
    for (let n = 0; n < 320; n++) samples[n] = 8000 * Math.sin(2 * Math.PI * 440 * (at * 320 + n) / 16000);
    sendAudio(samples.buffer);
    await new Promise(done => setTimeout(done, 20));
  }
})()
"""


def resolver(gateway: GatewayProcess) -> str:
    return f"--host-resolver-rules=MAP localhost:8080 127.0.0.1:{gateway.http_port}"


async def shows(page: Page, look: Callable[[], bool], timeout: float = 30.0) -> None:
    """Until the page has come to something; it is asked for nothing meanwhile but to go on."""
    try:
        async with asyncio.timeout(timeout):
            while not look():
                await page.run("new Promise(done => setTimeout(done, 50))")
    except TimeoutError:
        raise AssertionError(f"the console says {page.console}") from None


def test_the_snippet_for_websocket_calls(tmp_path: Path) -> None:
    async def scene(gateway: GatewayProcess) -> None:
        async with chromium(tmp_path / "profile", resolver(gateway)) as page:
            await page.open("http://localhost:8080/health")
            await page.run(HEAR)
            await page.run((HERE / "data" / "websocket.js").read_text(encoding="utf-8"))
            await page.run("ws.readyState > 0 || new Promise(done => ws.addEventListener('open', done))")
            await page.run(SPEAK)
            assert await page.run("bytes") > 2 * 16_000 * 2 * 0.5
            seen = await page.run("events")
            assert {"answer", "trackStart", "mediaReady"} <= set(seen)
            assert "error" not in seen
            await page.run("ws.send(JSON.stringify({command: 'hangup'}))")
            await page.run("ws.readyState > 2 || new Promise(done => ws.addEventListener('close', done))")
            assert (await page.run("events"))[-2:] == ["end", "hangup"]
            assert page.console == []

    with GatewayProcess(tmp_path / "gateway", PLAYBOOKS) as gateway:
        run(scene(gateway), 90)


def test_the_snippet_for_sip_calls(tmp_path: Path) -> None:
    async def scene(gateway: GatewayProcess) -> list[str]:
        goodbye = await speech(1.5)
        async with (
            Telephones(host=PBX, sip_port=5060, capacity=4) as phones,
            chromium(tmp_path / "profile", resolver(gateway)) as page,
        ):
            await page.open("http://localhost:8080/health")
            await page.run((HERE / "data" / "sip.js").read_text(encoding="utf-8"))
            await shows(page, lambda: "Call answered" in page.console)
            (phone,) = phones.phones
            await phone.wait_heard()
            await phone.wait_quiet()
            await phone.say(goodbye)
            await shows(page, lambda: "Call ended" in page.console)
            await phone.wait_ended()
            return page.console

    with OpenAiCloud(heard="Goodbye") as cloud:
        environment = {
            "OPENAI_BASE_URL": cloud.url,
            "OPENAI_API_KEY": "sk-test",
            "TEST_HOSTS": f"pbx.example.com={PBX}",
        }
        with GatewayProcess(
            tmp_path / "gateway",
            PLAYBOOKS,
            environment=environment,
            program=(str(HERE / "named_hosts.py"),),
        ) as gateway:
            console = run(scene(gateway), 90)
    assert "User said: Goodbye" in console
    assert console.index("User said: Goodbye") < console.index("Call ended")
    assert console[-1] == "Event: hangup"
    assert {"/audio/speech", "/audio/transcriptions"} <= set(cloud.paths())
    spoken = next(request.json for request in cloud.requests if request.path.endswith("speech"))
    assert (spoken["model"], spoken["voice"]) == ("tts-1", "alloy")
