"""Texts within a call."""

import asyncio

from active_call.sip.events import MessageAnswered, MessageReceived
from active_call.wire import events
from active_call.wire.commands import Hangup, Message
from tests.unit.call.scene import Scene, transferred


def test_a_text_of_either_party_is_told() -> None:
    async def script(scene: Scene) -> None:
        party = await transferred(scene)
        scene.sip.happens(MessageReceived("text/plain", "grüß Gott".encode()))
        party.happens(MessageReceived("text/plain", b"\xff"))
        await asyncio.sleep(0.01)
        await scene.give(Hangup())

    told = [(text.track_id, text.body, text.refer) for text in Scene().play(script).all(events.Message)]
    assert told == [("c1", "grüß Gott", None), ("serverSideTrack", "\N{REPLACEMENT CHARACTER}", True)]


def test_only_failures_are_told_of_ours() -> None:
    async def script(scene: Scene) -> None:
        await scene.give(Message(body="hi", content_type="text/html", headers={"Subject": "x"}))
        assert scene.sip.done[-1] == "message hi text/html"
        assert scene.sip.sent_headers == {"Subject": "x"}
        for method, status in (("MESSAGE", 200), ("INFO", 200), ("MESSAGE", 415), ("INFO", 501)):
            scene.sip.happens(MessageAnswered(method, status, "so"))
        await asyncio.sleep(0.01)
        await scene.give(Hangup())

    assert Scene().play(script).errors() == [
        ("message", "the other side answered 415 so"),
        ("sendDtmf", "the other side answered 501 so"),
    ]
