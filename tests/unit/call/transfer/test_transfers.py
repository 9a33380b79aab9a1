"""The transfers of one call, and its peer's wishes for some."""

import asyncio

import pytest

from active_call.call.dialing.trunks import Trunks
from active_call.call.record import record_of
from active_call.call.transfer import transfers
from active_call.config.trunks import PartyRewrite, TrunkRewrite, TrunkRule
from active_call.sip.events import Ended, ReferProgress, ReferReceived, Rejected
from active_call.wire import events
from active_call.wire.commands import Hangup, Message
from tests.unit.call.scene import Scene, refers, transferred

ASKED = ReferReceived("sip:carol@example.com", "<sip:alice@example.com>", None)


async def asked(scene: Scene, request: ReferReceived = ASKED) -> None:
    scene.sip.happens(request)
    await asyncio.sleep(0.01)


def test_a_wish_is_told_and_declined_if_nobody_cares() -> None:
    async def script(scene: Scene) -> None:
        await asked(scene)
        await asyncio.sleep(61)
        await scene.give(Hangup())

    scene = Scene(accept_seconds=60).play(script)
    told = scene.told(events.TransferRequest)
    assert (told.track_id, told.refer_to, told.referred_by, told.refer) == (
        "c1",
        "sip:carol@example.com",
        "<sip:alice@example.com>",
        None,
    )
    assert scene.sip.done == ["accept", "notify 603 Decline final", "hangup"]


@pytest.mark.parametrize("end", [Hangup(), None])
def test_a_wish_that_is_open_is_declined_by_a_later_one_and_at_the_end(end: Hangup | None) -> None:
    async def script(scene: Scene) -> None:
        await asked(scene)
        await asked(scene, ReferReceived("sip:dave@example.com", None, None))
        assert scene.sip.done == ["accept", "notify 603 Decline final"]
        if end is None:
            scene.sip.happens(Ended("peer", "BYE"))
        else:
            await scene.give(end)

    scene = Scene().play(script)
    assert scene.sip.done == ["accept", "notify 603 Decline final", "notify 603 Decline final", "hangup"]


def test_a_transfer_to_somebody_else_is_not_what_was_wished() -> None:
    async def script(scene: Scene) -> None:
        await asked(scene)
        await scene.give(refers("sip:dave@example.com"))
        assert "Referred-By" not in scene.sip.parties[0].dialled["headers"]
        assert scene.sip.done == ["accept"]
        await scene.give(Hangup())

    Scene().play(script)


def test_a_wish_hears_of_failure() -> None:
    async def script(scene: Scene) -> None:
        await asked(scene)
        await scene.give(refers())
        scene.sip.parties[0].happens(Rejected(486, "Busy Here", {}))
        await asyncio.sleep(61)
        await scene.give(Hangup())

    scene = Scene(accept_seconds=60).play(script)
    assert scene.sip.done == ["accept", "notify 486 Busy Here final", "hangup"]


def test_the_record_has_all_parties_and_the_last_once_more() -> None:
    async def script(scene: Scene) -> None:
        await scene.give(refers())
        scene.sip.parties[0].happens(Rejected(486, "Busy Here", {}))
        await asyncio.sleep(0.01)
        await transferred(scene, "sip:dave@example.com")
        await transferred(scene, "sip:erin@example.com")
        await scene.give(Hangup(reason="done"))

    record = record_of(Scene().play(script).call)
    parties = record.refer_callrecords or []
    assert [(each.callee, each.status_code, each.hangup_reason) for each in parties] == [
        ("sip:carol@example.com", 486, "rejected"),
        ("sip:dave@example.com", 200, "byRefer"),
        ("sip:erin@example.com", 200, "done"),
    ]
    assert len({each.call_id for each in parties}) == 3
    assert record.refer_callrecord == parties[-1]


def test_of_a_call_that_is_transferred_for_ever_the_latest_parties_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfers, "PARTIES_KEPT", 2)

    async def script(scene: Scene) -> None:
        for name in ("carol", "dave", "erin"):
            await transferred(scene, f"sip:{name}@example.com")
        await scene.give(Hangup())

    parties = Scene().play(script).call.transfer.parties
    assert [party.callee for party in parties] == ["sip:dave@example.com", "sip:erin@example.com"]


def test_a_call_that_is_never_transferred_has_no_parties() -> None:
    async def script(scene: Scene) -> None:
        await scene.give(refers(mode="blind"), Hangup())

    record = record_of(Scene().play(script).call)
    assert (record.refer_callrecord, record.refer_callrecords) == (None, None)


def test_the_transferred_party_may_wish_too() -> None:
    async def script(scene: Scene) -> None:
        party = await transferred(scene)
        party.happens(ReferReceived("sip:dave@example.com", None, None))
        await asyncio.sleep(61)
        assert party.done[-1] == "notify 603 Decline final"
        await scene.give(Hangup())

    told = Scene(accept_seconds=60).play(script).told(events.TransferRequest)
    assert (told.track_id, told.refer) == ("serverSideTrack", True)


def test_texts_go_to_either_party() -> None:
    async def script(scene: Scene) -> None:
        party = await transferred(scene)
        await scene.give(Message(body="to caller"), Message(body="to party", refer=True))
        assert scene.sip.done[-1] == "message to caller text/plain;charset=utf-8"
        assert party.done[-1] == "message to party text/plain;charset=utf-8"
        await scene.give(Hangup())

    assert Scene().play(script).errors() == []


def test_progress_of_no_transfer_is_ignored() -> None:
    async def script(scene: Scene) -> None:
        scene.sip.happens(ReferProgress(200, "OK", True))
        await transferred(scene)
        scene.sip.happens(ReferProgress(200, "OK", True))
        await asyncio.sleep(0.01)
        assert not scene.call.over
        await scene.give(Hangup())

    Scene().play(script)


def test_a_wish_is_known_whatever_rules_make_of_its_target() -> None:
    async def script(scene: Scene) -> None:
        await asked(scene)
        await scene.give(refers())
        assert scene.sip.parties[0].done == ["invite sip:carol@pbx.example"]
        assert "Referred-By" in scene.sip.parties[0].dialled["headers"]
        await scene.give(Hangup())

    rule = TrunkRule(rewrite=TrunkRewrite(to=PartyRewrite(host="pbx.example")))
    Scene(trunks=Trunks(rules=[rule])).play(script)
