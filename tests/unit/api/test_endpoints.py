import asyncio

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from active_call.api.access_log import AccessLog
from active_call.api.endpoints import Endpoints
from active_call.api.query import Query
from active_call.api.socket import CallSocket, NotAdmitted
from active_call.call.refusals import Refused
from active_call.testing.clock import run
from active_call.wire.dialogue import CallType
from tests.unit.api.fakes import FakeCall, FakeCalls
from tests.unit.api.test_socket import Transport


def admit(calls: FakeCalls, target: str) -> tuple[FakeCall, Query]:
    call, query = Endpoints(calls, AccessLog()).admit(Request(target, Headers()), "192.0.2.1")
    assert isinstance(call, FakeCall)
    return call, query


@pytest.mark.parametrize(
    ("path", "call_type"),
    [
        ("/call", "webSocket"),
        ("/call/", "webSocket"),
        ("/call/sip", "sip"),
        ("/call/sip/", "sip"),
        ("/call/webrtc", "webrtc"),
    ],
)
def test_the_path_says_how_the_audio_travels(path: str, call_type: CallType) -> None:
    call, _ = admit(FakeCalls(), f"{path}?id=a@b/c+d")
    assert call.call_type == call_type
    assert call.id == "a@b/c+d"


def test_the_query_is_passed_on() -> None:
    calls = FakeCalls()
    _, query = admit(calls, "/call?dump=false&server_side_track=agent&ping=0")
    assert calls.opened == [{"dump": False, "track": "agent"}]
    assert query.ping_seconds == 0


def refusal(calls: FakeCalls, target: str) -> NotAdmitted:
    with pytest.raises(NotAdmitted) as caught:
        admit(calls, target)
    return caught.value


def test_a_wrong_parameter_is_400_and_opens_nothing() -> None:
    calls = FakeCalls()
    error = refusal(calls, "/call?dump=perhaps")
    assert (error.status, str(error)) == (400, 'dump: "perhaps" is neither true nor false')
    assert calls.opened == []


def test_an_id_in_use_is_409() -> None:
    calls = FakeCalls()
    first, _ = admit(calls, "/call?id=a")
    assert refusal(calls, "/call/sip?id=a").status == 409
    assert calls.calls == {"a": first}


def test_no_room_is_503_with_a_time_to_try_again() -> None:
    error = refusal(FakeCalls(refusal=Refused(503, "out of media capacity", retry=True)), "/call")
    assert (error.status, str(error)) == (503, "out of media capacity")
    assert "Retry-After" in error.headers


def test_other_paths_are_404() -> None:
    assert refusal(FakeCalls(), "/callsip").status == 404


def test_clients_and_what_they_were_too_slow_for_are_counted() -> None:
    async def scene() -> None:
        async with Endpoints(FakeCalls(), AccessLog()) as endpoints:
            socket = CallSocket(endpoints, set())
            socket.connection_made(Transport())
            call, query = endpoints.admit(Request("/call", Headers()), "-")
            session = endpoints.begin(call, socket, query)
            assert endpoints.status() == {"clients": 1, "audioDropped": 0}
            socket.pause_writing()
            for _ in range(60):
                socket._outbox.audio(b"")
            assert endpoints.status() == {"clients": 1, "audioDropped": 10}
            socket.connection_lost(None)
            session.disconnected()
            assert endpoints.status() == {"clients": 0, "audioDropped": 10}

    run(scene())


def test_a_session_s_defect_ends_its_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> None:
        raise RuntimeError("a defect")

    async def scene() -> None:
        async with Endpoints(FakeCalls(), AccessLog()) as endpoints:
            socket = CallSocket(endpoints, set())
            socket.connection_made(Transport())
            call, query = endpoints.admit(Request("/call", Headers()), "-")
            assert isinstance(call, FakeCall)
            call.hold_up = broken
            session = endpoints.begin(call, socket, query)
            session.receive_text(b'{"command": "pause"}')
            await asyncio.sleep(0.1)
            assert call.ending is not None

    run(scene())
    assert "a defect" in caplog.text
