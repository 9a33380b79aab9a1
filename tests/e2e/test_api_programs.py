"""The programs in examples/, as their readers run them."""

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from active_call.speech.providers import load_tts
from active_call.testing.caller import Telephones
from active_call.testing.process import GatewayProcess, free_port
from active_call.wire.options import TtsOption
from tests.e2e.api import run, until

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("needs_local_speech")]

EXAMPLES = Path(__file__).parents[2] / "examples"
HOOK_PORT = free_port()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    arguments = ("--handler", f"http://127.0.0.1:{HOOK_PORT}/webhook")
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), arguments=arguments) as process:
        yield process


@asynccontextmanager
async def example(name: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of the programs, running."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / f"{name}.py"), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


async def output(process: asyncio.subprocess.Process) -> str:
    """What a program printed that ended without complaint."""
    out, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    return out.decode()


def listening(port: int) -> bool:
    """Whether a program has come so far."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"echo", "outbound", "dialogue", "webhook"}


def test_echo(gateway: GatewayProcess) -> None:
    async def scene() -> str:
        async with example("echo", gateway.ws_url) as program:
            return await output(program)

    printed = run(scene())
    names = re.findall(r'"event":"(\w+)"', printed)
    assert names[-1] == "hangup"
    assert "error" not in names
    assert names.index("answer") < names.index("trackEnd")


def test_outbound(gateway: GatewayProcess) -> None:
    async def scene() -> str:
        async with Telephones(capacity=2) as phones:
            uri = f"sip:bob@127.0.0.1:{phones.agent.address[1]}"
            async with example("outbound", uri, "Good morning!", gateway.ws_url) as program:
                printed = await output(program)
            assert phones.phones[0].heard
            return printed

    assert run(scene()) == "hung up after the last playback\n"


def test_dialogue(gateway: GatewayProcess) -> None:
    async def scene() -> str:
        async def words() -> AsyncIterator[str]:
            yield "goodbye"

        chunks = [chunk.pcm async for chunk in load_tts("espeak").synthesize(words(), TtsOption())]
        async with Telephones(capacity=2) as phones:
            uri = f"sip:bob@127.0.0.1:{phones.agent.address[1]}"
            async with example("dialogue", uri, gateway.ws_url) as program:
                await until(lambda: bool(phones.phones))
                (phone,) = phones.phones
                await phone.wait_heard()
                await phone.wait_quiet()
                printed = asyncio.ensure_future(output(program))
                while not printed.done():
                    for chunk in chunks:
                        await phone.say(chunk)
                    await asyncio.wait([printed], timeout=8)  # as people do who were not understood
                return await printed

    assert set(run(scene()).splitlines()) == {"caller: goodbye"}


def test_webhook(gateway: GatewayProcess) -> None:
    async def scene() -> None:
        async with (
            example("webhook", gateway.ws_url, str(HOOK_PORT)) as program,
            Telephones(capacity=2) as phones,
        ):
            await until(lambda: listening(HOOK_PORT))
            phone = phones.dial(gateway.uri, caller="sip:5551234@127.0.0.1")
            await phone.wait_answered()
            await phone.wait_heard()
            await phone.wait_ended(20)
            assert program.stdout is not None
            while b'"event":"incoming"' not in (line := await program.stdout.readline()):
                assert line

    run(scene())
