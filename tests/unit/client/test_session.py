"""A session on a pretended socket."""

import asyncio
from typing import cast

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError

from active_call.client.errors import ConnectionLost
from active_call.client.session import Session
from active_call.testing.clock import run
from active_call.wire import events
from active_call.wire.commands import parse_command
from active_call.wire.events import Event
from active_call.wire.options import CallOption

ANSWER = events.Answer(track_id="s", timestamp=1, sdp="")
PING = events.Ping(timestamp=2)
HANGUP = events.Hangup(track_id="s", timestamp=3, reason="busy", start_time="a", hangup_time="b")


class Socket:
    """Gives what it was filled with, then waits, or breaks."""

    def __init__(self, *frames: Event | bytes | str, broken: bool = False) -> None:
        self.sent: list[str | bytes] = []
        self._frames = [frame if isinstance(frame, str | bytes) else frame.dump_json() for frame in frames]
        self._broken = broken

    async def recv(self) -> str | bytes:
        await asyncio.sleep(0.001)
        if self._frames:
            return self._frames.pop(0)
        if self._broken:
            raise ConnectionClosedError(None, None)
        return await asyncio.Event().wait() and ""

    async def send(self, data: str | bytes) -> None:
        if self._broken:
            raise ConnectionClosedError(None, None)
        self.sent.append(data)


def session(socket: Socket, audio_frames: int = 10) -> Session:
    return Session(cast("ClientConnection", socket), audio_frames)


def test_events_end_with_the_hangup() -> None:
    async def read() -> list[Event]:
        return [event async for event in session(Socket(ANSWER, HANGUP))]

    assert run(read()) == [ANSWER, HANGUP]


def test_a_lost_connection_is_not_taken_for_a_hangup() -> None:
    call = session(Socket(ANSWER, broken=True))

    async def read() -> list[Event]:
        return [event async for event in call]

    seen: list[Event] = []
    call.on_event = seen.append
    with pytest.raises(ConnectionLost, match="lost"):
        run(read())
    assert seen == [ANSWER]


def test_until_passes_over_others_but_all_are_seen() -> None:
    call = session(Socket(PING, ANSWER, HANGUP))
    seen: list[Event] = []
    call.on_event = seen.append
    assert run(call.until(events.Answer)) == ANSWER
    assert seen == [PING, ANSWER]


def test_until_can_be_choosy() -> None:
    first, second = (
        events.TrackEnd(track_id="t", timestamp=n, duration=1, ssrc=1, play_id=str(n)) for n in (1, 2)
    )
    call = session(Socket(first, second))
    assert run(call.until(events.TrackEnd, where=lambda end: end.play_id == "2")) == second


def test_until_says_how_the_call_ended_instead() -> None:
    with pytest.raises(ConnectionLost, match="ended before Answer: busy"):
        run(session(Socket(HANGUP)).until(events.Answer))
    told = HANGUP.model_copy(update={"detail": "the callee answered 486 Busy Here"})
    with pytest.raises(ConnectionLost, match="ended before Answer: the callee answered 486 Busy Here"):
        run(session(Socket(told)).until(events.Answer))


def test_until_gives_up_in_time() -> None:
    with pytest.raises(TimeoutError):
        run(session(Socket(PING)).until(events.Answer, timeout=3))


def test_audio_and_events_are_read_by_two() -> None:
    async def both() -> tuple[list[Event], list[bytes]]:
        call = session(Socket(b"1", ANSWER, b"2", b"3", HANGUP))

        async def listen() -> list[bytes]:
            return [frame async for frame in call.audio()]

        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(listen())
            seen = [event async for event in call]
        return seen, listening.result()

    assert run(both()) == ([ANSWER, HANGUP], [b"1", b"2", b"3"])


def test_audio_that_nobody_takes_is_dropped_oldest_first_and_counted() -> None:
    async def late() -> tuple[list[bytes], int]:
        call = session(Socket(b"1", b"2", b"3", HANGUP), audio_frames=2)
        await call.until(events.Hangup)
        return [frame async for frame in call.audio()], call.audio_dropped

    assert run(late()) == ([b"2", b"3"], 1)


def test_a_callback_takes_audio_in_place_of_the_iterator() -> None:
    call = session(Socket(b"1", HANGUP))
    taken: list[bytes] = []
    call.on_audio = taken.append
    run(call.until(events.Hangup))
    assert taken == [b"1"]


def test_events_of_another_version_are_passed_over() -> None:
    assert run(session(Socket('{"event":"tomorrow"}', ANSWER)).until(events.Answer)) == ANSWER


def test_the_hangup_of_a_transferred_leg_is_not_the_end() -> None:
    refer = HANGUP.model_copy(update={"refer": True})

    async def read() -> list[Event]:
        return [event async for event in session(Socket(refer, ANSWER, HANGUP))]

    assert run(read()) == [refer, ANSWER, HANGUP]


async def every_command(call: Session) -> None:
    await call.invite(CallOption(callee="sip:b@c"))
    await call.start(CallOption(codec="pcm"))
    await call.accept()
    await call.reject(486, "busy")
    await call.ringing(early_media=True)
    await call.tts("hi", play_id="1", end_of_stream=True)
    await call.play("a.wav", offset_ms=100)
    await call.interrupt(graceful=True)
    await call.pause()
    await call.resume()
    await call.mute("t")
    await call.unmute()
    await call.refer("sip:d@e")
    await call.bridge("other")
    await call.unbridge("other")
    await call.send_dtmf("1#", mode="info", duration=100)
    await call.message("hi", content_type="text/html", headers={"X-A": "1"}, refer=True)
    await call.history("user", "hi")
    await call.custom({"a": 1})
    await call.hangup("done")


def test_commands_are_what_the_gateway_reads() -> None:
    socket = Socket()
    run(every_command(session(socket)))
    names = [parse_command(text).command for text in socket.sent]
    assert " ".join(names) == (
        "invite start accept reject ringing tts play interrupt pause resume "
        "mute unmute refer bridge unbridge sendDtmf message history custom hangup"
    )


def test_commands_to_a_closed_connection_fail() -> None:
    with pytest.raises(ConnectionLost, match="closed"):
        run(session(Socket(broken=True)).pause())


def test_audio_goes_out_as_it_is_and_may_come_too_late() -> None:
    socket = Socket()
    run(session(socket).send_audio(b"123"))
    run(session(Socket(broken=True)).send_audio(b"123"))
    assert socket.sent == [b"123"]
