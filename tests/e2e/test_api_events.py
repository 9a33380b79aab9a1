"""Every event example of the API document against events that a gateway really emitted."""

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket

from active_call.client.encoding import to_json
from active_call.sip.agent import SipCall
from active_call.testing.caller import Telephones
from active_call.testing.process import GatewayProcess
from active_call.wire import commands
from active_call.wire.commands import Command
from active_call.wire.events import parse_event
from active_call.wire.options import AsrOption
from bench.measure import speech
from tests.conformance.test_api_examples import EVENTS
from tests.e2e.api import INSTANT, Hook, callee, option, run

pytestmark = pytest.mark.e2e

PLUGINS_ONLY = {"other"}


class Politely(Telephones):
    """Telephones that ring before they answer."""

    def _on_call(self, sip: SipCall) -> None:
        sip.ring()
        super()._on_call(sip)


class Recorder:
    """A client that keeps every event as it came."""

    def __init__(self, socket: ClientConnection) -> None:
        self.seen: list[dict[str, Any]] = []
        self._socket = socket

    async def send(self, *given: Command) -> None:
        for command in given:
            await self._socket.send(to_json(command))

    async def until(self, name: str, **fields: Any) -> dict[str, Any]:
        """The next event of a name with these fields."""
        async with asyncio.timeout(10):
            async for message in self._socket:
                if isinstance(message, str):
                    event: dict[str, Any] = json.loads(message)
                    self.seen.append(event)
                    if event["event"] == name and all(event.get(key) == value for key, value in fields.items()):
                        return event
        raise AssertionError(f"no {name} after {[event['event'] for event in self.seen]}")


async def telephone_call(gateway: GatewayProcess) -> list[dict[str, Any]]:
    """A call in which nearly everything happens."""
    pcm = await speech(1.0)
    hears = INSTANT.model_copy(update={"asr": AsrOption(provider="instant", extra={"partial": "ye"})})
    async with (
        Politely(capacity=2) as phones,
        open_websocket(f"{gateway.ws_url}/call/sip?pingInterval=1", compression=None) as socket,
    ):
        client = Recorder(socket)
        uri = f"sip:bob@127.0.0.1:{phones.agent.address[1]}"
        invite = hears.model_copy(update={"callee": uri, "caller": "sip:alice@127.0.0.1"})
        await client.send(commands.Invite(option=invite))
        await client.until("ringing")
        await client.until("answer")
        phone = phones.phones[0]
        await phone.say(pcm)
        await client.until("asrFinal")
        await client.send(commands.Tts(text="one two three", play_id="llm-001", end_of_stream=True))
        await client.until("trackEnd", playId="llm-001")
        phone.press("1")
        await client.until("dtmf")
        await client.send(commands.Tts(text="a" * 100, play_id="llm-002", end_of_stream=True))
        await client.until("trackStart", playId="llm-002")
        await asyncio.sleep(0.5)
        await client.send(commands.Interrupt())
        await client.until("interruption")
        await client.send(commands.Play(url="missing.wav"))
        await client.until("error", sender="play")
        await client.send(commands.History(speaker="user", text="hi"), commands.Custom(data=1))
        await client.until("custom")
        await client.until("ping")
        await client.send(commands.Hangup(reason="user_requested", initiator="user"))
        await client.until("hangup")
        return client.seen


async def refused_call(gateway: GatewayProcess) -> list[dict[str, Any]]:
    async with (
        callee(lambda call: call.reject(486, "Busy")) as bob,
        open_websocket(f"{gateway.ws_url}/call/sip") as socket,
    ):
        client = Recorder(socket)
        await client.send(commands.Invite(option=option(callee=bob.uri)))
        await client.until("hangup")
        return client.seen


async def inbound_call(gateway: GatewayProcess, hook: Hook) -> list[dict[str, Any]]:
    async with Telephones(capacity=2) as phones:
        phones.dial(gateway.uri)
        dialog_id = (await hook.asked())["dialogId"]
        async with open_websocket(f"{gateway.ws_url}/call/sip?id={dialog_id}") as socket:
            client = Recorder(socket)
            await client.send(commands.Reject(code=486, reason="Busy"))
            await client.until("hangup")
            return client.seen


async def socket_call(gateway: GatewayProcess, binary: str) -> list[dict[str, Any]]:
    async with open_websocket(f"{gateway.ws_url}/call?binary={binary}") as socket:
        client = Recorder(socket)
        await client.send(commands.Start(option=option(codec="pcmu")), commands.Tts(text="a", auto_hangup=True))
        await client.until("hangup")
        return client.seen


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Events of four calls, by name."""

    async def all_calls(gateway: GatewayProcess, hook: Hook) -> list[dict[str, Any]]:
        return [
            *await telephone_call(gateway),
            *await refused_call(gateway),
            *await inbound_call(gateway, hook),
            *await socket_call(gateway, "json"),
        ]

    directory: Path = tmp_path_factory.mktemp("gateway")
    with Hook() as hook, GatewayProcess(directory, arguments=("--handler", hook.url)) as gateway:
        events = run(all_calls(gateway, hook))
    by_name = defaultdict[str, list[dict[str, Any]]](list)
    for event in events:
        by_name[event["event"]].append(event)
    return by_name


@pytest.mark.parametrize("name", sorted(set(EVENTS) - PLUGINS_ONLY))
def test_emitted_events_have_the_fields_of_the_example(
    emitted: dict[str, list[dict[str, Any]]], name: str
) -> None:
    example = {"event": name, **EVENTS[name]}
    wanted = set(example)
    assert emitted[name], f"never emitted: {name}"
    fullest = max(emitted[name], key=lambda event: len(wanted & set(event)))
    assert wanted <= set(fullest)
    for field in wanted:
        assert type(fullest[field]) is type(example[field]), field


def test_all_that_is_emitted_is_what_the_models_say(emitted: dict[str, list[dict[str, Any]]]) -> None:
    for events in emitted.values():
        for event in events:
            assert parse_event(json.dumps(event)).dump() == event


def test_transcript_follows_its_final_and_end_comes_right_before_hangup(
    emitted: dict[str, list[dict[str, Any]]],
) -> None:
    assert [event["text"] for event in emitted["transcript"]] == [
        event["text"] for event in emitted["asrFinal"]
    ]
    assert len(emitted["end"]) == len(emitted["hangup"]) == 4


def test_the_times_of_speech_are_unix_milliseconds(emitted: dict[str, list[dict[str, Any]]]) -> None:
    (final,) = emitted["asrFinal"]
    assert final["startTime"] < final["endTime"] <= final["timestamp"]
    assert final["timestamp"] - final["startTime"] < 5_000
    assert {event["completed"] for event in emitted["eou"]} == {event["complete"] for event in emitted["eou"]}


def test_timestamps_of_a_call_never_go_back(emitted: dict[str, list[dict[str, Any]]]) -> None:
    for events in emitted.values():
        stamps = [event["timestamp"] for event in events]
        assert stamps == sorted(stamps)
