"""All calls: who is let in, how they end, and that none can harm another."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from active_call.call import goodbye
from active_call.call.call import Call
from active_call.call.manager import CallManager, ManagerSettings
from active_call.call.reasons import CLIENT_GONE, KILLED
from active_call.call.recording import RecordingPolicy
from active_call.call.refusals import Refused
from active_call.call.services import Announce, CallServices, Lead
from active_call.core.errors import ActiveCallError, LocalProtocolError, PlaybookError
from active_call.lanes.messages import CloseLane
from active_call.media.supervisor import MediaPlane
from active_call.records.cdr import CallRecord
from active_call.sip.agent import SipAgent, SipCall
from active_call.sip.events import Answered, Declined, Ended, Rejected
from active_call.sip.hop import Hop
from active_call.testing.clock import run
from active_call.wire.commands import Accept, Bridge, Hangup, Start
from active_call.wire.options import CallOption, RecorderOption, SipOption
from tests.unit.call.fakes import OFFER, LoopClock, NotingDialogue, NotingSip
from tests.unit.media.fakes import NotingPlane

PEER = Hop("10.0.0.1", 5060)
Script = Callable[["House"], Coroutine[Any, Any, None]]


class House:
    """A manager with everything around it."""

    def __init__(self, root: Path, *, recording: dict[str, Any] | None = None) -> None:
        self.plane, self.agent = NotingPlane(), NotingSip()
        self.dialogue = NotingDialogue()
        self.variables: dict[str, Any] = {}
        self.ended: list[Call] = []
        self.refusal: Exception | None = None
        self.option = CallOption()
        """Of playbooks that clients name."""
        self.lead: Lead | Announce = Lead(self.dialogue, CallOption())
        self.asked: list[str] = []
        """Names of playbooks."""
        services = CallServices(
            plane=cast("MediaPlane", self.plane),
            agent=lambda: cast("SipAgent", self.agent),
            clock=LoopClock(),
            find_playbook=self._find_playbook,
            recording=RecordingPolicy(root / "recorders", **(recording or {})),
        )
        settings = ManagerSettings(root / "recorders", root / "cdr")
        self.calls = CallManager(services, self._route, settings)
        self.calls.on_record = lambda call, path: self.ended.append(call)

    def _route(self, caller: str, callee: str, variables: dict[str, Any]) -> Lead | Announce:
        self.variables = variables
        if self.refusal is not None:
            raise self.refusal
        return self.lead

    def _find_playbook(self, name: str, variables: dict[str, Any]) -> Lead:
        self.asked.append(name)
        if self.refusal is not None:
            raise self.refusal
        return Lead(self.dialogue, self.option)

    def rings(self, offer: bytes | None = OFFER, dialog_id: str = "dialog-1") -> NotingSip:
        """An INVITE comes in."""
        sip = NotingSip(offer)
        sip.dialog_id = dialog_id
        self.calls.on_call(cast("SipCall", sip))
        return sip

    def dial(self, call_id: str | None = None) -> Call:
        def find_lead(variables: dict[str, Any]) -> Lead:
            self.variables = dict(variables)
            return Lead(self.dialogue, CallOption())

        return self.calls.dial(CallOption(callee="sip:bob@b.example"), find_lead=find_lead, call_id=call_id)


def live(root: Path, script: Script, **settings: Any) -> House:
    house = House(root, **settings)

    async def main() -> None:
        async with asyncio.timeout(1000), house.calls:
            await script(house)

    run(main())
    return house


def records(root: Path) -> list[CallRecord]:
    return [CallRecord.load(path) for path in sorted((root / "cdr").glob("*/*.json"))]


# --- inbound --------------------------------------------------------------------------------------------


def test_an_inbound_call_lives_and_leaves_a_record(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        sip = house.rings()
        assert list(house.calls.calls) == ["dialog-1"]
        await asyncio.sleep(5)
        sip.happens(Ended("peer", "BYE"))
        assert await house.calls.drain(1)

    house = live(tmp_path, script)
    assert (house.calls.calls, house.calls.total, house.calls.failed) == ({}, 1, 0)
    assert house.variables["X-Account"] == "7"
    assert house.variables["session_id"] == "dialog-1"
    (record,) = records(tmp_path)
    assert (record.call_id, record.hangup_reason, record.codec) == ("dialog-1", "byCaller", "pcmu")
    assert (tmp_path / "recorders" / "dialog-1.events.jsonl").is_file()


def test_an_ended_call_is_given_back_without_a_garbage_collection(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        house.calls.on_record = None
        sip = house.rings()
        call = weakref.ref(house.calls.calls["dialog-1"])
        await asyncio.sleep(5)
        gc.disable()
        try:
            sip.happens(Ended("peer", "BYE"))
            sip.forget()
            assert await house.calls.drain(1)
            await asyncio.sleep(1)
            assert call() is None
        finally:
            gc.enable()

    live(tmp_path, script)


@pytest.mark.parametrize(
    ("refusal", "answer", "header"),
    [
        (Refused(404, 'no "bot"'), 'reject 404 no "bot"', r'SIP;cause=404;text="no \"bot\""'),
        (Refused(503, "a\\b"), "reject 503 a\\b", r'SIP;cause=503;text="a\\b"'),
    ],
)
def test_the_router_refuses_with_a_reason(tmp_path: Path, refusal: Refused, answer: str, header: str) -> None:
    async def script(house: House) -> None:
        house.refusal = refusal
        sip = house.rings()
        assert sip.done == [answer]
        assert sip.sent_headers == {"Reason": header}

    house = live(tmp_path, script)
    assert house.plane.lanes == []


def test_out_of_capacity_is_worth_another_try(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        house.plane.overloaded = True
        sip = house.rings()
        assert sip.done == ["reject 503 out of media capacity"]
        assert sip.sent_headers["Retry-After"] == "5"
        assert "0 of 4 lanes are in use" in sip.sent_headers["Reason"]

    live(tmp_path, script)


def test_a_refused_call_leaves_a_record_and_a_dump(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        house.refusal = Refused(503, "Playbook Not Found", detail="Playbook Not Found: there is no file a.md")
        house.calls.on_sip_message("<", b"INVITE sip:bot SIP/2.0", 0.0, "dialog-1", PEER)
        sip = house.rings()
        assert sip.done == ["reject 503 Playbook Not Found"]
        house.calls.on_sip_message("<", b"ACK sip:bot SIP/2.0", 0.0, "dialog-1", PEER)
        await asyncio.sleep(2)

    house = live(tmp_path, script)
    assert (house.calls.total, house.calls.refused) == (0, 1)
    (record,) = records(tmp_path)
    assert (record.caller, record.callee) == ("sip:alice@example.com", "sip:bot@example.com")
    assert (record.status_code, record.hangup_reason, record.hangup_by) == (503, "serverUnavailable", "system")
    assert record.hangup_detail == "Playbook Not Found: there is no file a.md"
    dump = Path(record.dump_event_file or "").read_text()
    assert all(word in dump for word in ("INVITE sip:bot", record.hangup_detail, "ACK sip:bot"))
    assert '"udp 10.0.0.1:5060"' in dump


def test_an_invite_that_never_was_a_call_leaves_a_record_too(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        house.calls.on_declined(Declined(503, "Server shutting down", "c1", "c1-a-b", "sip:a@x", "sip:b@x"))

    assert live(tmp_path, script).calls.refused == 1
    (record,) = records(tmp_path)
    assert (record.call_id, record.hangup_detail) == ("c1-a-b", "Server shutting down")


def test_failures_are_counted(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        house.dial("one")
        await asyncio.sleep(0.01)
        house.agent.happens(Rejected(503, "no response", {}, ours=True))
        await house.calls.drain(5)

    assert live(tmp_path, script).calls.failed == 1


def test_an_offer_that_cant_be_met_gives_its_lane_back(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        assert house.rings(b"v=0 nonsense").done[0].startswith("reject 4")
        assert house.rings(OFFER.replace(b"AVP 0", b"AVP 99")).done[0].startswith("reject 488")

    house = live(tmp_path, script)
    assert len(house.plane.told(CloseLane)) == 2


def test_a_bug_while_a_call_is_taken_gives_its_lane_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(house: House) -> None:
        monkeypatch.setattr(CallManager, "_call", lambda *anything, **more: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            house.rings()

    house = live(tmp_path, script)
    assert len(house.plane.told(CloseLane)) == 1


# --- outbound -------------------------------------------------------------------------------------------


def test_an_outbound_call_is_refused(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        house.dial("mine")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        house.agent.happens(Rejected(486, "Busy Here", {}))
        await house.calls.drain(5)

    house = live(tmp_path, script)
    assert house.agent.done == ["invite sip:bob@b.example", "hangup"]
    (record,) = records(tmp_path)
    assert (record.call_id, record.status_code, record.answer_time) == ("mine", 486, None)
    assert house.dialogue.names() == ["trackStart", "reject", "trackEnd", "hangup"]


def test_a_call_id_is_used_once_at_a_time(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        first = house.dial("mine")
        with pytest.raises(LocalProtocolError, match='"mine"'):
            house.dial("mine")
        assert house.calls.calls == {"mine": first}
        first.send(Hangup())
        await house.calls.drain(5)

    house = live(tmp_path, script)
    assert len(house.plane.lanes) == 1


def test_no_lane_is_an_error(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        house.plane.lanes = [house.plane.lane()] * house.plane.table.capacity
        house.dial()
        await house.calls.drain(5)

    house = live(tmp_path, script)
    assert house.dialogue.names() == ["error", "hangup"]
    assert records(tmp_path)[0].hangup_reason == "failed"


def test_a_call_that_comes_back_to_us_keeps_its_own_dump(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        out = house.dial("dialog-1")  # the Call-ID that NotingSip comes with
        await asyncio.sleep(1)
        back = house.rings(dialog_id="back")
        house.agent.happens(Answered(OFFER))
        await asyncio.sleep(1)
        out.send(Hangup())
        await asyncio.sleep(1)
        house.calls.on_sip_message("<", b"BYE sip:x SIP/2.0", 0.0, "dialog-1", PEER)
        back.happens(Ended("peer", "BYE"))
        await house.calls.drain(5)

    live(tmp_path, script)
    assert "BYE sip:x" in (tmp_path / "recorders" / "back.events.jsonl").read_text()


# --- faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observer", ["on_start", "on_record"])
def test_an_observer_that_fails_harms_no_other_call(
    tmp_path: Path, observer: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(call: Call, *rest: object) -> None:
        if call.id == "bad":
            raise ValueError("oops")

    async def script(house: House) -> None:
        house.rings(dialog_id="good")
        await asyncio.sleep(1)
        setattr(house.calls, observer, fail)
        house.rings(dialog_id="bad").happens(Ended("peer", "BYE"))
        await asyncio.sleep(5)
        assert list(house.calls.calls) == ["good"]

    with caplog.at_level(logging.CRITICAL):
        house = live(tmp_path, script)
    assert len(house.plane.told(CloseLane)) == 2


def test_a_call_that_crashes_leaves_a_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **more: object) -> None:
        raise ZeroDivisionError("oops")

    async def script(house: House) -> None:
        sip = house.rings()
        await asyncio.sleep(1)
        monkeypatch.setattr(goodbye, "hangup", fail)
        sip.happens(Ended("peer", "BYE"))
        assert await house.calls.drain(5)

    with caplog.at_level(logging.CRITICAL):
        house = live(tmp_path, script)
    assert house.calls.failed == 1
    assert [record.hangup_reason for record in records(tmp_path)] == ["failed"]


def test_a_call_that_cant_be_recorded_is_over_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(house: House) -> None:
        sip = house.rings()
        await asyncio.sleep(1)
        house.calls.calls["dialog-1"].variables["odd"] = object()
        sip.happens(Ended("peer", "BYE"))
        assert await house.calls.drain(5)

    house = live(tmp_path, script)
    assert [call.id for call in house.ended] == ["dialog-1"]
    assert house.dialogue.names()[-1] == "hangup"
    assert "there can't be a record" in caplog.text
    assert records(tmp_path) == []


def test_leaving_hangs_all_calls_up(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        house.rings(dialog_id="one")
        house.rings(dialog_id="two")
        await asyncio.sleep(1)
        assert not await house.calls.drain(1)

    house = live(tmp_path, script)
    assert [call.ending and call.ending.record for call in house.ended] == ["bySystem"] * 2


# --- dumps and recordings -------------------------------------------------------------------------------


def test_messages_before_the_call_are_in_its_dump(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        house.calls.on_sip_message("<", b"INVITE sip:bot SIP/2.0", 0.0, "dialog-1", PEER)
        house.rings().happens(Ended("peer", "BYE"))
        await house.calls.drain(5)

    live(tmp_path, script)
    assert "INVITE sip:bot" in (tmp_path / "recorders" / "dialog-1.events.jsonl").read_text()


def test_of_the_dialogs_of_one_call_the_latest_are_known(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        house.rings()
        await asyncio.sleep(1)
        for number in range(101):
            house.calls.calls["dialog-1"].on_dialog(f"party-{number}")
        for number in (0, 1, 100):
            house.calls.on_sip_message("<", f"NOTIFY {number}".encode(), 0, f"party-{number}", PEER)

    live(tmp_path, script)
    dump = (tmp_path / "recorders" / "dialog-1.events.jsonl").read_text()
    assert [f"NOTIFY {number}" in dump for number in (0, 1, 100)] == [False, True, True]


def test_messages_of_no_call_are_not_kept_for_ever(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        for number in range(1000):
            house.calls.on_sip_message("<", b"OPTIONS", 0.0, "keep-alive", PEER)
            house.calls.on_sip_message("<", b"OPTIONS", 0.0, f"scan-{number}", PEER)
        kept = house.calls._early
        assert len(kept) <= 64
        assert max(map(len, kept.values())) <= 16

    live(tmp_path, script)


def test_every_call_is_recorded_if_so_configured(tmp_path: Path) -> None:
    option = RecorderOption(recorder_file="day/{id}", samplerate=8000, ptime=0)

    async def script(house: House) -> None:
        sip = house.rings(dialog_id="a/b")
        await asyncio.sleep(1)
        sip.happens(Ended("peer", "BYE"))
        await house.calls.drain(5)

    (call,) = live(tmp_path, script, recording={"every_call": True, "option": option}).ended
    recording = call.effects.recording
    assert recording is not None
    assert recording.path == str(tmp_path / "recorders" / "day" / "a%2Fb.wav")
    assert (recording.rate_hz, recording.flush_ms) == (8000, 200)


def test_an_outbound_playbook_is_rendered_with_the_calls_variables(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        house.dial("out-1")

    variables = live(tmp_path, script).variables
    assert variables["session_id"] == "out-1"
    assert variables["callee"] == "sip:bob@b.example"
    assert variables["caller"].startswith("sip:active-call@")


# --- clients --------------------------------------------------------------------------------------------


def test_a_client_gets_a_fresh_call(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        named, unnamed = house.calls.open("webSocket", "mine"), house.calls.open("sip")
        assert house.calls.calls == {"mine": named, unnamed.id: unnamed}
        assert unnamed.id.startswith("s.")
        assert named.variables["call_type"] == "websocket"
        with pytest.raises(LocalProtocolError, match='"mine" already'):
            house.calls.open("webSocket", "mine")
        named.end(CLIENT_GONE)
        await asyncio.sleep(1)
        assert house.calls.calls == {unnamed.id: unnamed}
        house.calls.open("webSocket", "quiet", dump=False).end(KILLED)

    live(tmp_path, script)
    record, _, other = sorted(records(tmp_path), key=lambda record: record.call_type == "sip")
    assert (record.call_type, record.hangup_reason) == ("webSocket", "bySystem")
    assert other.call_type == "sip"
    assert not (tmp_path / "recorders" / "quiet.events.jsonl").exists()


@pytest.mark.parametrize("closed", [True, False])
def test_a_client_is_refused_when_no_calls_are_taken(tmp_path: Path, closed: bool) -> None:
    async def script(house: House) -> None:
        house.calls.accepting = not closed
        house.plane.overloaded = not closed
        with pytest.raises(Refused) as refused:
            house.calls.open("sip")
        assert refused.value.status == 503
        with pytest.raises(Refused):
            house.dial()
        assert house.rings().done[0].startswith("reject 503")

    live(tmp_path, script)


def test_a_client_takes_the_call_that_was_announced(tmp_path: Path) -> None:
    bodies: list[dict[str, Any]] = []
    seen: list[str] = []

    async def tell(body: dict[str, Any]) -> None:
        bodies.append(body)

    async def script(house: House) -> None:
        house.lead = Announce(tell)
        sip = house.rings()
        await asyncio.sleep(1)
        assert bodies[0]["dialogId"] == sip.dialog_id
        with pytest.raises(LocalProtocolError):
            house.calls.open("webSocket", sip.dialog_id)
        call = house.calls.open("sip", sip.dialog_id, server_side_track="agent")
        call.follow(lambda event: seen.append(event.event))
        with pytest.raises(LocalProtocolError):
            house.calls.open("sip", sip.dialog_id)
        await call.submit(Accept())
        await asyncio.sleep(1)
        call.end(CLIENT_GONE)
        await house.calls.drain(5)
        assert sip.done == ["accept", "hangup"]

    live(tmp_path, script)
    assert seen == ["incoming", "trackStart", "answer", "trackEnd", "hangup"]


def test_a_client_that_leaves_before_it_accepts_declines(tmp_path: Path) -> None:
    async def tell(body: dict[str, Any]) -> None:
        await asyncio.sleep(100)

    async def script(house: House) -> None:
        house.lead = Announce(tell)
        sip = house.rings()
        house.calls.open("sip", sip.dialog_id).end(CLIENT_GONE)
        await house.calls.drain(5)
        assert sip.done[0] == "reject 603 handler disconnected"

    live(tmp_path, script)


def test_a_pending_playbook_leads_the_call_of_its_session(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        session = house.calls.pending_playbooks.add("talk.md")
        call = house.calls.open("webSocket", session)
        await call.submit(Start())
        await asyncio.sleep(1)
        call.end(CLIENT_GONE)

    house = live(tmp_path, script)
    assert house.asked == ["talk.md"]
    assert house.dialogue.names()[-1] == "hangup"


def test_a_call_without_a_client_is_led_by_its_playbook(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        option = CallOption(callee="1001", sip=SipOption(realm="pbx.example"), playbook="talk.md", volume=2)
        call = house.calls.dial(option)
        await asyncio.sleep(1)
        assert (call.callee, call.option.volume) == ("sip:1001@pbx.example", 2)
        house.refusal = PlaybookError("no such playbook")
        for wrong in (CallOption(callee="sip:x@y", playbook="missing.md"), CallOption(playbook="talk.md")):
            with pytest.raises(ActiveCallError):
                house.calls.dial(wrong)
        assert list(house.calls.calls) == [call.id]

    house = live(tmp_path, script)
    assert house.dialogue.names() == ["trackStart", "trackEnd", "hangup"]


def test_many_clients_come_and_go_and_nothing_stays(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        before = len(asyncio.all_tasks())
        for number in range(500):
            call = house.calls.open("webSocket", dump=False)
            if number % 2:
                await call.submit(Start())
                await asyncio.sleep(0.001)
            call.end(CLIENT_GONE)
            await house.calls.drain(5)
            house.plane.lanes.clear()
        await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) == before
        assert (house.calls.calls, house.calls._by_sip_id) == ({}, {})

    house = live(tmp_path, script)
    assert len(house.plane.told(CloseLane)) == 250
    assert house.calls.failed == 0


def test_a_playbook_written_by_a_client_records_below_the_root(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "a.wav"

    async def script(house: House) -> None:
        house.option = CallOption(recorder=RecorderOption(recorder_file=str(elsewhere)))
        call = house.calls.dial(CallOption(callee="sip:bob@example.com", playbook="---\n---\n"))
        await asyncio.sleep(0.01)
        call.on_sip(Answered(sdp=OFFER))
        await asyncio.sleep(0.01)
        plan = call.effects.recording
        assert plan is not None
        assert str(plan.path).startswith(str(tmp_path / "recorders"))

    live(tmp_path, script)


# --- further dialogs ------------------------------------------------------------------------------------


def test_somebody_may_take_a_call_over(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        first = house.rings()
        await asyncio.sleep(1)
        second = NotingSip()
        second.dialog_id, second.call_id, second.replaces = "dialog-2", "sip-2", first
        house.calls.on_sip_message("<", b"INVITE sip:a SIP/2.0\r\n\r\n", 0, "sip-2", PEER)
        house.calls.on_call(cast("SipCall", second))
        house.calls.on_sip_message(">", b"SIP/2.0 200 OK\r\n\r\n", 0, "sip-2", PEER)
        assert second.done == ["accept"]
        assert first.done == ["accept", "hangup"]
        assert list(house.calls.calls) == ["dialog-1"]
        second.happens(Ended("peer", "BYE"))
        assert await house.calls.drain(1)
        assert not house.calls._by_sip_id
        assert not house.calls._further

    live(tmp_path, script)
    assert len(records(tmp_path)) == 1
    dump = (tmp_path / "recorders" / "dialog-1.events.jsonl").read_text()
    assert ["< INVITE" in dump, "> SIP/2.0 200" in dump] == [True, True]


def test_a_call_that_is_over_cant_be_taken_over(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        late = NotingSip()
        late.replaces = NotingSip()
        house.calls.on_call(cast("SipCall", late))
        assert late.done == ["reject 481 the call to be replaced is over"]

    live(tmp_path, script)


@pytest.mark.parametrize("offer", [OFFER, b"v=0\r\n"])
def test_who_cant_take_over_is_refused_and_its_lane_given_back(tmp_path: Path, offer: bytes) -> None:
    async def script(house: House) -> None:
        house.rings()
        await asyncio.sleep(1)
        other = NotingSip(offer)
        other.replaces = NotingSip()  # of our call's Call-ID, and none of its dialogs
        house.calls.on_call(cast("SipCall", other))
        assert [other.done[0][:10]] == ["reject 481" if offer == OFFER else "reject 400"]
        assert house.plane.lanes[1].closing
        assert len(house.calls.calls) == 1

    live(tmp_path, script)


def test_calls_find_each_other(tmp_path: Path) -> None:
    async def script(house: House) -> None:
        house.rings()
        other = house.calls.open("webSocket", "client")
        await other.submit(Start())
        await other.submit(Bridge(target_session_id="dialog-1"))
        await asyncio.sleep(1)
        assert other.bridge.partner is house.calls.calls["dialog-1"]

    live(tmp_path, script)
