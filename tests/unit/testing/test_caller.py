"""A simulated telephone, with the other side played by the test."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from active_call.call.dialing.plan import DialPlan
from active_call.call.leg import MediaPolicy, SipLeg
from active_call.core.errors import ActiveCallError
from active_call.lanes.messages import ConfigureLane, DigitReceived, SendDigits
from active_call.media.supervisor import MediaPlane
from active_call.sdp.negotiate import LocalMedia, answer_offer
from active_call.sip.agent import SipAgent, SipCall
from active_call.sip.events import (
    Acknowledged,
    Answered,
    Ended,
    InfoReceived,
    OfferAnswered,
    OfferReceived,
    OfferRefused,
    Rejected,
    Ringing,
)
from active_call.testing.caller import CallRefused, Phone
from active_call.testing.clock import run
from tests.unit.call.fakes import HOLD, OFFER, NotingSip
from tests.unit.media.fakes import NotingPlane

PEER = LocalMedia("192.0.2.7", 4000, ("pcmu",), session_id=1)
PLAN = DialPlan("sip:bob@example.com", "sip:us@example.com", "192.0.2.1")


class Stage:
    """A phone that dials, or is dialled."""

    def __init__(self, offer: bytes | None = OFFER) -> None:
        self.plane, self.sip = NotingPlane(), NotingSip(offer)
        self.leg = SipLeg.open(cast("MediaPlane", self.plane), "192.0.2.1", MediaPolicy())
        self.phone = Phone(self.leg)
        self.leg.lane.listener = self.phone.on_lane

    def dial(self) -> None:
        self.leg.dial(cast("SipAgent", self.sip), PLAN, call_id="c1", listener=self.phone.on_sip)

    def called(self) -> None:
        self.leg.negotiate(cast("SipCall", self.sip))

    def answer(self, **changes: object) -> bytes:
        return answer_offer(self.leg.local_sdp, replace(PEER, **changes))[0]  # type: ignore[arg-type]

    def remotes(self) -> list[tuple[str, int] | None]:
        return [told.remote for told in self.plane.told(ConfigureLane)]


def play(script: Callable[[Stage], Awaitable[None]], offer: bytes | None = OFFER) -> Stage:
    async def main() -> Stage:
        stage = Stage(offer)
        async with asyncio.timeout(100):
            await script(stage)
        return stage

    return run(main())


def test_early_media_are_heard_and_the_answer_counts() -> None:
    async def script(stage: Stage) -> None:
        stage.dial()
        stage.sip.happens(Ringing(183, "Session Progress", stage.answer()))
        assert stage.leg.lane.listening
        assert not stage.phone.answered.is_set()
        stage.sip.happens(Answered(stage.answer(port=6000)))
        await stage.phone.wait_answered()
        assert stage.phone.status == 200

    assert play(script).remotes() == [("192.0.2.7", 4000), ("192.0.2.7", 6000)]


def test_a_refusal_is_raised_where_the_answer_is_awaited() -> None:
    async def script(stage: Stage) -> None:
        stage.dial()
        stage.sip.happens(Rejected(486, "Busy Here", {}))
        with pytest.raises(CallRefused, match="486 Busy Here"):
            await stage.phone.wait_answered()
        assert stage.phone.ended_by == "rejected"
        assert stage.leg.lane.closing

    play(script)


@pytest.mark.parametrize(
    ("act", "done"),
    [
        (Phone.ring, "ring"),
        (Phone.progress, "progress"),
        (Phone.answer, "accept"),
        (lambda phone: phone.reject(486, "Busy"), "reject 486 Busy"),
    ],
)
def test_what_a_called_phone_does(act: Callable[[Phone], None], done: str) -> None:
    async def script(stage: Stage) -> None:
        stage.called()
        act(stage.phone)
        assert stage.sip.done == [done]
        assert stage.leg.lane.listening is (done in ("progress", "accept"))
        assert stage.phone.answered.is_set() is (done == "accept")

    play(script)


def test_a_call_without_an_offer_is_answered_by_its_ack() -> None:
    async def script(stage: Stage) -> None:
        stage.called()
        stage.phone.answer()
        assert not stage.phone.answered.is_set()
        stage.sip.remote_sdp = stage.answer()
        stage.sip.happens(Acknowledged())
        await stage.phone.wait_answered()

    assert play(script, offer=None).remotes() == [("192.0.2.7", 4000)]


def test_hold_of_either_side() -> None:
    async def script(stage: Stage) -> None:
        stage.called()
        stage.phone.answer()
        stage.sip.happens(OfferReceived(HOLD))
        await stage.phone.wait_held()
        stage.sip.happens(OfferReceived(OFFER))
        await stage.phone.wait_held(False)
        stage.phone.hold()
        stage.sip.happens(OfferAnswered(stage.answer()))
        assert not stage.plane.told(ConfigureLane)[-1].receiving
        stage.phone.hold(False)
        stage.sip.happens(OfferRefused(488, "No"))
        stage.phone.hold(False)

    assert play(script).sip.done == [
        "accept",
        "answer offer 200",
        "answer offer 200",
        "offer",
        "offer",
        "offer",
    ]


def test_keys_both_ways() -> None:
    async def script(stage: Stage) -> None:
        stage.called()
        stage.phone.answer()
        assert stage.phone.press("12") == "rfc4733"
        assert stage.phone.press("3", mode="inband") == "inband"
        assert [one.digits for one in stage.plane.told(SendDigits)] == ["12", "3"]
        stage.phone.on_lane(DigitReceived(0, 7, 1, "4", 100))
        stage.sip.happens(InfoReceived("application/dtmf-relay", b"Signal=5\r\nDuration=160"))
        stage.sip.happens(InfoReceived("text/plain", b"hello"))
        assert stage.phone.digits == "45"

    play(script)


def test_what_is_heard_is_noted() -> None:
    async def script(stage: Stage) -> None:
        stage.called()
        stage.phone.answer()
        loud, quiet = np.full(3200, 5000, np.int16), np.zeros(8000, np.int16)
        position = 0
        for pcm in (quiet, loud, quiet, loud, quiet):
            stage.phone._listen(pcm, position)
            position += len(pcm)
        assert [(one.start, one.end) for one in stage.phone.heard] == [(8000, 11_200), (19_200, 22_400)]
        assert (await stage.phone.wait_heard(2)).start == 19_200
        await stage.phone.wait_quiet(0.4)

    play(script)


def test_waiting_ends_with_the_call() -> None:
    async def script(stage: Stage) -> None:
        stage.called()
        stage.phone.answer()
        stage.sip.happens(Ended("peer", "BYE"))
        await stage.phone.wait_ended()
        with pytest.raises(ActiveCallError, match=r"ended \(peer\) before"):
            await stage.phone.wait_heard()

    play(script)
