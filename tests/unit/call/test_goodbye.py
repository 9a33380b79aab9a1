"""The last words of a call, to its peer and to its clients."""

from collections.abc import Callable
from typing import Any

import pytest

from active_call.call.reasons import CLIENT_GONE, KILLED, SHUTDOWN, Ending, failed, inactive
from active_call.wire import events
from active_call.wire.commands import Hangup
from tests.unit.call.scene import Scene


def ends(ending: Ending) -> Callable[[Scene], Any]:
    async def script(scene: Scene) -> None:
        scene.call.end(ending)

    return script


def test_the_peer_is_told_why_we_end_the_call() -> None:
    scene = Scene().play(ends(inactive("no RTP arrived for 8 s")))
    assert scene.sip.sent_headers == {"Reason": 'SIP;cause=408;text="no RTP arrived for 8 s"'}
    assert scene.told(events.Hangup).detail == "no RTP arrived for 8 s"


def test_what_an_operator_does_needs_no_reason() -> None:
    scene = Scene().play(ends(KILLED))
    assert scene.sip.sent_headers == {}
    assert scene.told(events.Hangup).detail == "killed by request"


def test_the_clients_own_reason_stays() -> None:
    async def script(scene: Scene) -> None:
        await scene.give(Hangup(headers={"reason": "SIP;cause=200", "X-Queue": "7"}))

    assert Scene().play(script).sip.sent_headers == {"reason": "SIP;cause=200", "X-Queue": "7"}


@pytest.mark.parametrize(
    ("ending", "answer"),
    [
        (failed("the voice is hoarse"), "reject 500 the voice is hoarse"),
        (SHUTDOWN, "reject 503 the gateway is shutting down"),
        (CLIENT_GONE, "reject 603 handler disconnected"),
    ],
)
def test_a_caller_that_waits_is_refused_with_the_reason(ending: Ending, answer: str) -> None:
    assert Scene("waiting").play(ends(ending)).sip.done[0] == answer
