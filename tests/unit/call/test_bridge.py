"""Bridges between two calls."""

import asyncio
from typing import Any

from active_call.sip.events import OfferReceived
from active_call.wire import events
from active_call.wire.commands import Bridge, Hangup, Unbridge
from tests.unit.call.fakes import HOLD, OFFER
from tests.unit.call.scene import Kind, Scene


class Pair:
    """Two calls on one media plane, `one` and `two`, each with a client."""

    def __init__(self, first: Kind = "inbound", second: Kind = "audio") -> None:
        self.one, self.two = Scene(first), Scene(second)
        self.two.plane = self.one.plane
        self.scenes = {"one": self.one, "two": self.two}
        for name, scene in self.scenes.items():
            scene.call_id = name
            scene.find_call = lambda call_id: found.call if (found := self.scenes.get(call_id)) else None

    def play(self, script: Any) -> "Pair":
        async def outer(scene: Scene) -> None:
            done = asyncio.Event()

            async def inner(other: Scene) -> None:
                await other.start()
                await script(self)
                for each in (self.one, self.two):
                    if not each.call.over:
                        await each.give(Hangup())
                done.set()

            await self.two.perform(inner)

        self.one.play(outer)
        return self

    def heard(self, scene: Scene) -> list[list[int]]:
        return self.one.mixed(scene.lane)


def tracks(scene: Scene) -> list[tuple[str, str]]:
    return [
        (event.event, event.track_id)
        for event in scene.events
        if isinstance(event, events.TrackStart | events.TrackEnd) and event.track_id.startswith("bridge:")
    ]


def test_both_peers_hear_each_other_until_they_are_taken_apart() -> None:
    async def script(pair: Pair) -> None:
        await pair.one.give(Bridge(target_session_id="two"))
        await asyncio.sleep(3)
        await pair.two.give(Unbridge(target_session_id="one"))
        assert not pair.one.call.over
        assert not pair.two.call.over
        assert pair.heard(pair.one) == [[1], []]
        assert pair.heard(pair.two) == [[0], []]

    pair = Pair().play(script)
    assert tracks(pair.one) == [("trackStart", "bridge:two:to:one"), ("trackEnd", "bridge:two:to:one")]
    assert tracks(pair.two) == [("trackStart", "bridge:one:to:two"), ("trackEnd", "bridge:one:to:two")]
    (end,) = [end for end in pair.one.all(events.TrackEnd) if end.track_id.startswith("bridge:")]
    assert 3_000 <= end.duration < 3_100
    assert pair.one.errors() == pair.two.errors() == []


def test_one_ends_and_the_other_lives() -> None:
    async def script(pair: Pair) -> None:
        await pair.two.give(Bridge(target_session_id="one"))
        await pair.one.give(Hangup())
        assert not pair.two.call.over
        assert pair.heard(pair.two) == [[0], []]
        await pair.two.give(Unbridge(target_session_id="one"))

    pair = Pair().play(script)
    assert pair.one.names()[-3:] == ["trackEnd", "trackEnd", "hangup"]
    assert pair.two.errors() == [("command", 'unbridge: the call is not bridged with "one"')]


def test_the_same_bridge_again_replaces_it() -> None:
    async def script(pair: Pair) -> None:
        await pair.one.give(Bridge(target_session_id="two"), Bridge(target_session_id="two"))
        assert pair.heard(pair.one) == [[1], [], [1]]

    pair = Pair().play(script)
    assert [name for name, _ in tracks(pair.two)] == ["trackStart", "trackEnd", "trackStart", "trackEnd"]


def test_hold_of_a_side_pauses_it() -> None:
    async def script(pair: Pair) -> None:
        await pair.one.give(Bridge(target_session_id="two"))
        pair.one.sip.happens(OfferReceived(HOLD))
        await asyncio.sleep(0.01)
        assert pair.heard(pair.one) == [[1], []]
        assert pair.heard(pair.two) == [[0], []]
        pair.one.sip.happens(OfferReceived(OFFER))
        await asyncio.sleep(0.01)
        assert pair.heard(pair.two) == [[0], [], [0]]

    Pair().play(script)


def test_a_call_that_is_not_answered_cant_be_bridged() -> None:
    async def script(pair: Pair) -> None:
        await pair.two.give(Bridge(target_session_id="one"))

    pair = Pair("waiting").play(script)
    assert pair.two.errors() == [("command", 'bridge: the call "one" is new; both must be answered')]
