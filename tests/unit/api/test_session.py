import asyncio
import json
from typing import Any

from active_call.api.query import Query
from active_call.api.session import ApiSession
from active_call.call.reasons import CLIENT_GONE
from active_call.testing.clock import run
from active_call.wire import events
from active_call.wire.commands import Hangup, Pause, Resume, Tts
from tests.unit.api.fakes import NOW_MS, FakeCall, dtmf, hangup


class Client:
    """Notes what it is sent."""

    def __init__(self) -> None:
        self.texts: list[dict[str, Any]] = []
        self.audio: list[str | bytes] = []
        self.closed = False
        self.reading = True

    def send_text(self, text: str) -> None:
        self.texts.append(json.loads(text))

    def send_audio(self, data: str | bytes) -> None:
        self.audio.append(data)

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    @property
    def names(self) -> list[str]:
        return [text["event"] for text in self.texts]


DEFAULT = Query()


def play(scene: Any, query: Query = DEFAULT) -> tuple[FakeCall, Client]:
    """Run `scene(session, call, client)`, then let the client leave."""
    call, client = FakeCall("c"), Client()

    async def whole() -> None:
        session = ApiSession(call, client, query)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(session.run())
            await asyncio.sleep(0)
            await scene(session, call, client)
            await asyncio.sleep(0.1)
            session.disconnected()

    run(whole())
    return call, client


def test_commands_and_audio_reach_the_call_in_order() -> None:
    async def scene(session: ApiSession, call: FakeCall, client: Client) -> None:
        session.receive_audio(b"1")
        session.receive_text(b'{"command": "pause"}')
        session.receive_audio(b"2")
        session.receive_text(b'{"command": "resume"}')
        session.receive_audio(b"3")

    call, _ = play(scene)
    assert call.heard == [b"1", Pause(), b"2", Resume(), b"3"]


def test_what_can_not_be_read_is_one_error_and_nothing_else_happens() -> None:
    async def scene(session: ApiSession, call: FakeCall, client: Client) -> None:
        for text in (b"{", b"\xff", b'{"command": "nope"}', b'{"command": "tts"}', b'{"command": "pause"}'):
            session.receive_text(text)

    call, client = play(scene)
    errors = [text for text in client.texts if text["event"] == "error"]
    assert len(errors) == 4
    assert {error["sender"] for error in errors} == {"command"}
    assert errors[-1]["error"] == "tts.text: is missing"
    assert call.commands == [Pause()]


def test_a_client_that_leaves_ends_its_call_after_its_last_words() -> None:
    async def scene(session: ApiSession, call: FakeCall, client: Client) -> None:
        session.receive_text(b'{"command": "tts", "text": "bye"}')
        session.disconnected()

    call, _ = play(scene)
    assert call.commands == [Tts(text="bye")]
    assert call.ending is CLIENT_GONE
    assert call.followers == []
    assert call.on_audio is None


def test_a_call_that_takes_no_commands_does_not_outlive_its_client() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    async def scene(session: ApiSession, call: FakeCall, client: Client) -> None:
        call.hold_up = forever
        session.receive_text(b'{"command": "pause"}')
        await asyncio.sleep(0)
        session.disconnected()
        await asyncio.sleep(1.5)
        assert call.ending is CLIENT_GONE

    play(scene)


def test_a_busy_call_stops_the_reading_until_it_has_caught_up() -> None:
    async def slow() -> None:
        await asyncio.sleep(0.01)

    async def scene(session: ApiSession, call: FakeCall, client: Client) -> None:
        call.hold_up = slow
        for _ in range(100):
            session.receive_text(b'{"command": "pause"}')
        reading = [client.reading]
        await asyncio.sleep(1.1)
        assert [*reading, client.reading] == [False, True]
        assert len(call.commands) == 100

    play(scene)


def test_the_last_event_is_hangup_and_then_the_socket_closes() -> None:
    async def scene(session: ApiSession, call: FakeCall, client: Client) -> None:
        call.emit(dtmf("c"))
        call.emit(hangup("c").model_copy(update={"refer": True}))
        assert not client.closed
        call.end(CLIENT_GONE)
        session.receive_text(b'{"command": "pause"}')
        session.receive_audio(b"late")

    call, client = play(scene)
    assert client.names == ["dtmf", "hangup", "end", "hangup"]
    assert client.closed
    assert call.heard == []


def test_canonical_events_are_the_call_s_own() -> None:
    async def scene(session: ApiSession, call: FakeCall, client: Client) -> None:
        call.emit(events.AsrFinal(track_id="c", timestamp=1, index=0, start_time=0, end_time=1, text="hi"))
        call.emit(hangup("c"))

    assert play(scene, Query(canonical=True))[1].names == ["asrFinal", "hangup"]
    assert play(scene)[1].names == ["asrFinal", "transcript", "end", "hangup"]


def test_audio_is_sent_as_it_is_and_with_its_track_when_subscribed() -> None:
    async def scene(session: ApiSession, call: FakeCall, client: Client) -> None:
        assert call.on_audio is not None
        call.on_audio(None, b"abc")
        call.on_audio(1, b"xy")

    assert play(scene)[1].audio == [b"abc", b"\x01xy"]


def test_audio_as_json_names_the_track() -> None:
    async def scene(session: ApiSession, call: FakeCall, client: Client) -> None:
        assert call.on_audio is not None
        call.on_audio(0, b"\x01")
        call.on_audio(None, b"\x02")

    sent = play(scene, Query(binary="json", server_side_track="agent"))[1].audio
    assert [json.loads(text) for text in sent] == [
        {"event": "binary", "trackId": "c", "timestamp": NOW_MS, "data": [1]},
        {"event": "binary", "trackId": "agent", "timestamp": NOW_MS, "data": [2]},
    ]


def test_a_ping_is_an_event_and_a_payload() -> None:
    async def scene(session: ApiSession, call: FakeCall, client: Client) -> None:
        assert session.ping() == str(NOW_MS)

    _, client = play(scene)
    assert client.texts[0] == {"event": "ping", "timestamp": NOW_MS, "payload": str(NOW_MS)}


def test_a_hangup_command_is_not_overtaken_by_the_client_s_leaving() -> None:
    async def scene(session: ApiSession, call: FakeCall, client: Client) -> None:
        session.receive_text(b'{"command": "hangup", "reason": "done"}')
        session.disconnected()

    call, _ = play(scene)
    assert call.commands == [Hangup(reason="done")]
