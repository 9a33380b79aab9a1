"""Requests and what their answers mean, without a network."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import httpx
import pytest

from active_call.client.errors import ClientError, ConnectionLost, Refused
from active_call.client.rest import Rest
from active_call.wire import commands, events
from active_call.wire.options import CallOption

T = TypeVar("T")
Handler = Callable[[httpx.Request], httpx.Response]


def ask(handler: Handler, question: Callable[[Rest], Coroutine[Any, Any, T]]) -> T:
    async def asked() -> T:
        async with Rest("http://gateway") as rest:
            rest._http = httpx.AsyncClient(base_url="http://gateway", transport=httpx.MockTransport(handler))
            return await question(rest)

    return asyncio.run(asked())


def answering(status: int, body: Any = None, text: str = "") -> tuple[list[httpx.Request], Handler]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, json=body) if body is not None else httpx.Response(status, text=text)

    return seen, handle


def test_dialling_sends_the_option_and_gives_the_session_id() -> None:
    seen, handler = answering(200, {"session_id": "s.1"})
    assert ask(handler, lambda rest: rest.dial(CallOption(callee="sip:b@c", playbook="a.md"))) == "s.1"
    assert (seen[0].method, seen[0].url.path) == ("POST", "/call")
    assert seen[0].read() == b'{"callee":"sip:b@c","playbook":"a.md"}'


def test_session_ids_are_one_part_of_the_path() -> None:
    seen, handler = answering(200, True)
    ask(handler, lambda rest: rest.kill("a/b?c@d"))
    assert seen[0].url.raw_path == b"/call/kill/a%2Fb%3Fc@d"


def test_commands_are_posted_as_json() -> None:
    seen, handler = answering(200, {"status": "sent"})
    ask(handler, lambda rest: rest.command("s", commands.Pause()))
    assert (seen[0].url.path, seen[0].read()) == ("/command/s", b'{"command": "pause"}')
    assert seen[0].headers["content-type"] == "application/json"


def test_playbooks_are_posted_as_text() -> None:
    seen, handler = answering(200)
    ask(handler, lambda rest: rest.save_playbook("a.md", "---\ngreeting: hi\n---\n"))
    assert seen[0].read() == b"---\ngreeting: hi\n---\n"


@pytest.mark.parametrize(
    ("asked", "sent"), [({"playbook": "a.md"}, b'{"playbook":"a.md"}'), ({"content": "x"}, b'{"content":"x"}')]
)
def test_running_a_playbook_by_name_or_as_text(asked: dict[str, str], sent: bytes) -> None:
    seen, handler = answering(200, {"session_id": "s.2"})
    assert ask(handler, lambda rest: rest.run(**asked)) == "s.2"
    assert seen[0].read() == sent


@pytest.mark.parametrize(
    ("question", "body", "found"),
    [
        (lambda rest: rest.calls(), {"calls": [{"id": "a"}]}, [{"id": "a"}]),
        (lambda rest: rest.playbooks(), [{"name": "a.md"}], [{"name": "a.md"}]),
        (lambda rest: rest.records(), [], []),
        (lambda rest: rest.ice_servers(), [{"urls": []}], [{"urls": []}]),
        (lambda rest: rest.precache(commands.Tts(text="x")), {"status": "cached"}, {"status": "cached"}),
    ],
)
def test_lists(question: Callable[[Rest], Coroutine[Any, Any, Any]], body: Any, found: Any) -> None:
    assert ask(answering(200, body)[1], question) == found


def test_an_unhealthy_gateway_still_says_why() -> None:
    _, handler = answering(503, {"status": "unavailable", "reasons": ["draining"]})
    assert ask(handler, lambda rest: rest.health())["reasons"] == ["draining"]


def test_a_refusal_carries_the_gateways_words() -> None:
    with pytest.raises(Refused, match="HTTP 404: Playbook not found") as refused:
        ask(answering(404, text="Playbook not found")[1], lambda rest: rest.playbook("a.md"))
    assert refused.value.status == 404


def test_other_answers_than_json_are_named() -> None:
    with pytest.raises(ClientError, match="/call/lists did not answer with JSON"):
        ask(answering(200, text="<html>")[1], lambda rest: rest.calls())


def test_an_unreachable_gateway_is_named() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ClientError, match="GET /call/lists failed: refused"):
        ask(broken, lambda rest: rest.calls())


STREAM = """: keep-alive

event: event
data: {"event":"ping","timestamp":1}

event: command
data: {"command":"pause"}

"""


async def follow(rest: Rest) -> list[Any]:
    return [message async for message in rest.follow("s")]


def test_following_a_call() -> None:
    found = ask(answering(200, text=STREAM)[1], follow)
    assert found == [events.Ping(timestamp=1), commands.Pause()]


def test_following_an_unknown_call() -> None:
    with pytest.raises(Refused, match="404: no such call"):
        ask(answering(404, text="no such call")[1], follow)


def test_a_broken_stream_is_named() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset", request=request)

    with pytest.raises(ConnectionLost, match="broke off: reset"):
        ask(broken, follow)
