"""What the peer does to the call: how it ends is told in its words."""

import asyncio

import pytest

from active_call.sip.events import Ended
from tests.unit.call.scene import Kind, Scene


@pytest.mark.parametrize(
    ("kind", "event", "record", "detail"),
    [
        ("inbound", Ended("peer", "BYE"), "byCaller", "the caller hung up"),
        (
            "inbound",
            Ended("peer", "BYE (Q.850;cause=41)"),
            "byCaller",
            "the caller hung up: BYE (Q.850;cause=41)",
        ),
        ("inbound", Ended("timeout", "no ACK in 32 s"), "failed", "no ACK in 32 s"),
        (
            "waiting",
            Ended("canceled", "the caller gave up before the answer"),
            "canceled",
            "the caller gave up before the answer, after 2.0 s",
        ),
        (
            "waiting",
            Ended("local", "rejected with 504 no PRACK came"),
            "failed",
            "rejected with 504 no PRACK came",
        ),
    ],
)
def test_how_it_ends_the_call(kind: Kind, event: Ended, record: str, detail: str) -> None:
    async def script(scene: Scene) -> None:
        await asyncio.sleep(2)
        scene.sip.happens(event)

    ending = Scene(kind).play(script).ending
    assert (ending.record, ending.detail) == (record, detail)
