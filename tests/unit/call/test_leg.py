"""What a leg agrees on with its peer, and what its lane is told of that."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from active_call.call.dialing.plan import DialPlan
from active_call.call.info import InfoKeys
from active_call.call.leg import AudioLeg, KeyMode, MediaPolicy, SipLeg
from active_call.core.errors import MediaError, RemoteProtocolError
from active_call.lanes.messages import PCMA, PCMU, TELEPHONE_EVENT, ConfigureLane, SendDigits
from active_call.media.supervisor import MediaPlane
from active_call.sdp.negotiate import LocalMedia, answer_offer, make_offer
from active_call.sip.agent import SipAgent, SipCall
from active_call.sip.events import Ended
from tests.unit.call.fakes import HOLD, OFFER, NotingSip
from tests.unit.media.fakes import NotingPlane

PEER = LocalMedia("192.0.2.7", 4000, ("pcma", "pcmu"), session_id=1)
PLAIN = OFFER.replace(b" 101", b"").replace(b"a=rtpmap:101 telephone-event/8000\r\n", b"")
ZERO = OFFER.replace(b"c=IN IP4 192.0.2.7", b"c=IN IP4 0.0.0.0")
PLAN = DialPlan("sip:bob@example.com", "sip:us@example.com", "192.0.2.1")


class Stage:
    """A leg, and what it does to the SIP call and the lane."""

    def __init__(self, offer: bytes | None = OFFER, policy: MediaPolicy | None = None) -> None:
        self.plane, self.sip = NotingPlane(), NotingSip(offer)
        plane = cast("MediaPlane", self.plane)
        self.leg = SipLeg.open(plane, "192.0.2.1", policy or MediaPolicy())

    @classmethod
    def called(cls, offer: bytes | None = OFFER, policy: MediaPolicy | None = None) -> "Stage":
        """The peer calls, and is answered."""
        stage = cls(offer, policy)
        stage.leg.negotiate(cast("SipCall", stage.sip))
        assert stage.leg.accept(lambda event: None)
        return stage

    @classmethod
    def calling(cls, policy: MediaPolicy | None = None) -> "Stage":
        """We call the peer, who has not answered."""
        stage = cls(policy=policy)
        agent = cast("SipAgent", stage.sip)
        stage.leg.dial(agent, PLAN, call_id="c1", listener=lambda event: None)
        return stage

    @property
    def lane(self) -> list[ConfigureLane]:
        return self.plane.told(ConfigureLane)

    @property
    def said(self) -> str:
        return self.leg.local_sdp.decode()

    def version(self) -> int:
        return int(self.said.split("\r\n")[1].split()[2])


# --- calls that come ----------------------------------------------------------------------------------


def test_an_offer_is_answered_and_the_lane_configured() -> None:
    stage = Stage.called()
    (told,) = stage.lane
    assert (told.sends, told.receives) == (PCMU, (PCMU, TELEPHONE_EVENT))
    assert told.sends_events == TELEPHONE_EVENT
    assert told.remote == ("192.0.2.7", 4000)
    assert told.remote_rtcp == ("192.0.2.7", 4001)
    assert (told.sending, told.receiving, told.rtcp_mux, told.srtp) == (True, True, False, None)
    assert not told.inband_digits
    assert stage.sip.done == ["accept"]
    assert stage.leg.codec == "pcmu"
    assert not stage.leg.secure


def test_a_peer_without_telephone_event_is_listened_to_for_tones() -> None:
    (told,) = Stage.called(PLAIN).lane
    assert told.inband_digits
    assert told.sends_events is None


def test_early_media_are_answered_before_the_answer() -> None:
    stage = Stage()
    stage.leg.negotiate(cast("SipCall", stage.sip))
    assert stage.leg.progress()
    assert stage.leg.accept(lambda event: None)
    assert stage.sip.done == ["progress", "accept"]
    assert len(stage.lane) == 1


def test_a_caller_who_gave_up_is_not_accepted() -> None:
    stage = Stage()
    stage.leg.negotiate(cast("SipCall", stage.sip))
    stage.sip.happens(Ended("canceled", "gave up"))
    assert not stage.leg.accept(lambda event: None)
    assert stage.lane == []


def test_an_invite_without_an_offer_is_answered_with_ours_and_the_ack_has_the_answer() -> None:
    stage = Stage(None)
    stage.leg.negotiate(cast("SipCall", stage.sip))
    assert not stage.leg.progress()
    stage.leg.encrypt(True)
    assert stage.leg.accept(lambda event: None)
    assert stage.sip.done == ["ring", "accept"]
    assert "m=audio 4000 RTP/SAVP 0 8 101" in stage.said
    assert stage.lane == []
    stage.sip.remote_sdp, _ = answer_offer(stage.leg.local_sdp, PEER)
    stage.leg.acknowledged()
    (told,) = stage.lane
    assert told.receives == (PCMU, PCMA, TELEPHONE_EVENT)
    assert stage.leg.secure
    stage.leg.acknowledged()  # of a re-INVITE, later
    assert len(stage.lane) == 1


def test_an_ack_without_an_answer_is_an_error() -> None:
    stage = Stage.called(None)
    with pytest.raises(RemoteProtocolError, match="the ACK had no answer"):
        stage.leg.acknowledged()
    assert stage.leg.negotiated is None


# --- calls that we make -------------------------------------------------------------------------------


def test_t07_early_media_and_an_answer_that_differs() -> None:
    stage = Stage.calling()
    early, _ = answer_offer(stage.leg.local_sdp, PEER)
    stage.leg.early(early)
    stage.leg.early(early)
    assert [told.remote for told in stage.lane] == [("192.0.2.7", 4000)]
    other, _ = answer_offer(stage.leg.local_sdp, replace(PEER, address="192.0.2.8", codecs=("pcma",)))
    stage.leg.answered(other)
    assert stage.lane[-1].remote == ("192.0.2.8", 4000)
    assert stage.lane[-1].receives == (PCMA, TELEPHONE_EVENT)


def test_t07_an_answer_that_repeats_the_early_one_changes_nothing() -> None:
    stage = Stage.calling()
    early, _ = answer_offer(stage.leg.local_sdp, PEER)
    stage.leg.early(early)
    stage.leg.answered(early.replace(b"t=0 0", b"t=1 2"))
    assert len(stage.lane) == 1


def test_t08_a_higher_version_changes_no_audio() -> None:
    stage = Stage.calling()
    early, _ = answer_offer(stage.leg.local_sdp, PEER)
    stage.leg.early(early)
    answer, _ = answer_offer(stage.leg.local_sdp, replace(PEER, version=2))
    stage.leg.answered(answer)
    assert len(stage.lane) == 1


def test_of_two_callees_who_answer_the_last_is_heard() -> None:
    stage = Stage.calling()
    for address in ("192.0.2.8", "192.0.2.9"):
        stage.leg.answered(answer_offer(stage.leg.local_sdp, replace(PEER, address=address))[0])
    assert [told.remote for told in stage.lane] == [("192.0.2.8", 4000), ("192.0.2.9", 4000)]


def test_a_bad_answer_leaves_early_media_as_they_are() -> None:
    stage = Stage.calling()
    stage.leg.early(answer_offer(stage.leg.local_sdp, PEER)[0])
    with pytest.raises(RemoteProtocolError):
        stage.leg.answered(b"nonsense")
    assert len(stage.lane) == 1


# --- hold ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offer", [HOLD, OFFER + b"a=inactive\r\n", ZERO])
def test_t04_a_holding_peer_is_silence_until_it_comes_back(offer: bytes) -> None:
    stage = Stage.called()
    assert stage.leg.reoffered(offer)
    held = stage.lane[-1]
    assert not held.sending
    assert not held.receiving  # its music is neither recognised nor recorded
    assert held.sends == PCMU
    assert not stage.leg.reoffered(OFFER)
    assert stage.lane[-1] == stage.lane[0]
    assert stage.sip.done == ["accept", "answer offer 200", "answer offer 200"]


def test_t04_a_peer_that_only_listens_does_not_hold() -> None:
    stage = Stage.called()
    assert not stage.leg.reoffered(OFFER + b"a=recvonly\r\n")
    assert stage.lane[-1].sending


def test_an_offer_that_the_peer_took_back_changes_nothing() -> None:
    stage = Stage.called()
    stage.sip.offer_waits = False
    assert not stage.leg.reoffered(HOLD)
    assert (stage.version(), len(stage.lane), stage.sip.done) == (1, 1, ["accept"])


def test_the_version_rises_only_with_news() -> None:
    stage = Stage.called()
    assert stage.version() == 1
    stage.leg.reoffered(OFFER)
    assert stage.version() == 1
    assert len(stage.lane) == 1
    stage.leg.reoffered(HOLD)
    assert stage.version() == 2
    stage.leg.reoffered(HOLD)
    assert stage.version() == 2
    stage.leg.reoffered(OFFER)
    assert stage.version() == 3


def test_what_cant_be_taken_is_refused_and_the_session_stays() -> None:
    stage = Stage.called()
    assert stage.leg.reoffered(HOLD)
    assert stage.leg.reoffered(OFFER.replace(b"AVP 0", b"AVP 99"))  # still held
    assert stage.sip.done[-1] == "answer offer 488"
    assert len(stage.lane) == 2


def test_t06_a_reinvite_without_an_offer_gets_ours_and_the_ack_has_the_answer() -> None:
    stage = Stage.called()
    stage.leg.reoffered(None)
    assert stage.sip.done[-1] == "answer offer 200"
    assert "m=audio 4000 RTP/AVP 0 8 101" in stage.said
    assert stage.version() == 2
    stage.sip.remote_sdp, _ = answer_offer(stage.leg.local_sdp, replace(PEER, port=6000))
    stage.leg.acknowledged()
    assert stage.lane[-1].remote == ("192.0.2.7", 6000)


def test_an_update_before_our_offer_is_answered_has_to_wait() -> None:
    stage = Stage.calling()
    assert not stage.leg.reoffered(OFFER)
    assert stage.sip.done[-1] == "answer offer 491"


def test_we_can_hold_the_peer_and_take_it_back() -> None:
    stage = Stage.called()
    stage.leg.hold(True)
    assert "a=sendonly" in stage.said
    answer, _ = answer_offer(stage.leg.local_sdp, PEER)
    assert not stage.leg.offer_answered(answer)
    assert (stage.lane[-1].sending, stage.lane[-1].receiving) == (True, False)
    stage.leg.hold(True)  # it is
    stage.leg.hold(False)
    assert "a=sendrecv" in stage.said
    stage.leg.offer_answered(answer_offer(stage.leg.local_sdp, PEER)[0])
    assert (stage.lane[-1].sending, stage.lane[-1].receiving) == (True, True)
    assert stage.sip.done == ["accept", "offer", "offer"]
    assert stage.version() == 3


def test_a_change_of_mind_waits_for_the_answer() -> None:
    stage = Stage.called()
    stage.leg.hold(True)
    stage.leg.hold(False)
    assert stage.sip.done == ["accept", "offer"]
    stage.leg.offer_answered(answer_offer(stage.leg.local_sdp, PEER)[0])
    assert stage.sip.done == ["accept", "offer", "offer"]
    assert "a=sendrecv" in stage.said


def test_a_hold_that_gave_way_to_the_peers_offer_is_made_anew_after_it() -> None:
    stage = Stage.called()
    stage.leg.hold(True)
    stage.leg.reoffered(OFFER)
    assert stage.sip.done == ["accept", "offer", "answer offer 200", "offer"]
    assert "a=sendonly" in stage.said
    assert stage.version() == 4  # a description older than the last one would be ignored


def test_a_hold_during_an_exchange_that_the_peer_began_comes_after_it() -> None:
    stage = Stage.called()
    stage.leg.reoffered(None)
    stage.leg.hold(True)
    stage.sip.remote_sdp, _ = answer_offer(stage.leg.local_sdp, PEER)
    stage.leg.acknowledged()
    assert stage.sip.done == ["accept", "answer offer 200", "offer"]
    assert "a=sendonly" in stage.said


def test_a_refused_hold_leaves_all_as_it_was() -> None:
    stage = Stage.called()
    stage.leg.hold(True)
    stage.leg.offer_refused()
    assert len(stage.lane) == 1
    stage.leg.reoffered(OFFER)
    assert "a=sendrecv" in stage.said
    stage.leg.hold(True)
    assert stage.sip.done[-1] == "offer"


def test_an_unanswered_call_cant_be_held() -> None:
    with pytest.raises(MediaError, match="not answered"):
        Stage.calling().leg.hold(True)


# --- encryption ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "option", "offered"),
    [
        (False, None, "RTP/AVP"),
        (False, False, "RTP/AVP"),
        (False, True, "RTP/SAVP"),
        (False, "require", "RTP/SAVP"),
        (True, None, "RTP/SAVP"),
        (True, False, "RTP/AVP"),
        (True, True, "RTP/SAVP"),
        (True, "require", "RTP/SAVP"),
        ("require", None, "RTP/SAVP"),
        ("require", False, "RTP/SAVP"),
        ("require", True, "RTP/SAVP"),
    ],
)
def test_t28_the_option_then_the_configuration_decide_what_is_offered(
    config: bool, option: bool | None, offered: str
) -> None:
    stage = Stage.calling(MediaPolicy(srtp=config).encrypting(option))
    assert f"m=audio 4000 {offered} " in stage.said
    assert ("a=crypto" in stage.said) is (offered == "RTP/SAVP")


@pytest.mark.parametrize("config", [False, True])
@pytest.mark.parametrize("offered", [False, True])
def test_t28_what_is_offered_is_answered(config: bool, offered: bool) -> None:
    stage = Stage.called(make_offer(replace(PEER, srtp=offered)), MediaPolicy(srtp=config))
    assert stage.leg.secure is offered
    assert (stage.lane[0].srtp is not None) is offered


def test_keys_stay_until_the_peer_changes_its_own() -> None:
    caller = replace(PEER, srtp=True)
    stage = Stage.called(make_offer(caller))
    stage.leg.reoffered(make_offer(replace(caller, version=2)))
    assert len(stage.lane) == 1
    stage.leg.reoffered(make_offer(replace(caller, port=6000)))
    stage.leg.reoffered(make_offer(LocalMedia("192.0.2.7", 4000, ("pcmu",), session_id=1, srtp=True)))
    first, second, third = (told.srtp for told in stage.lane)
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.send, first.receive) == (second.send, second.receive)
    assert third.send == first.send
    assert third.receive != first.receive


def test_plain_audio_is_refused_where_encryption_is_required() -> None:
    stage = Stage(OFFER, MediaPolicy(srtp="require"))
    with pytest.raises(RemoteProtocolError, match="encryption is required here") as error:
        stage.leg.negotiate(cast("SipCall", stage.sip))
    assert error.value.status == 488


def test_plain_audio_is_refused_where_the_call_itself_requires_encryption() -> None:
    stage = Stage(OFFER)
    stage.leg.negotiate(cast("SipCall", stage.sip))
    with pytest.raises(
        RemoteProtocolError, match=r"of this call \(enableSrtp = require\), and plain RTP"
    ) as error:
        stage.leg.encrypt("require")
    assert error.value.status == 488
    assert stage.sip.done == []


# --- keys ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "mode", "way"),
    [
        (OFFER, "auto", "rfc4733"),
        (OFFER, "rfc4733", "rfc4733"),
        (OFFER, "inband", "inband"),
        (OFFER, "info", "info"),
        (PLAIN, "auto", "inband"),
    ],
)
def test_keys_go_the_way_that_is_asked_for_or_possible(offer: bytes, mode: KeyMode, way: str) -> None:
    stage = Stage.called(offer)
    pressed: list[str] = []
    keys = stage.leg._info_keys = InfoKeys(lambda kind, body: None)
    keys.press = lambda digits, **_: pressed.append(digits)  # type: ignore[method-assign]
    assert stage.leg.press("12#", mode=mode, duration_ms=100, gap_ms=80) == way
    sent = stage.plane.told(SendDigits)
    if way == "info":
        assert (pressed, sent) == (["12#"], [])
    else:
        assert [(one.digits, one.duration_ms, one.gap_ms, one.tones) for one in sent] == [
            ("12#", 100, 80, way == "inband")
        ]


def test_keys_that_cant_be_pressed() -> None:
    with pytest.raises(MediaError, match="takes no telephone-event"):
        Stage.called(PLAIN).leg.press("1", mode="rfc4733")
    with pytest.raises(MediaError, match="no audio yet"):
        Stage.calling().leg.press("1")


def test_a_clients_audio_has_tones_only() -> None:
    plane = NotingPlane()
    leg = AudioLeg.open(cast("MediaPlane", plane), "pcm", 16_000)
    assert leg.press("5") == "inband"
    assert plane.told(SendDigits)[0].tones
    with pytest.raises(MediaError, match="tones only"):
        leg.press("5", mode="info")


# --- evidence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sip", "media", "private"),
    [
        ("8.8.8.8", "192.168.1.7", True),
        ("8.8.8.8", "100.64.0.7", True),
        ("8.8.8.8", "9.9.9.9", False),
        ("10.0.0.1", "192.168.1.7", False),
        ("pbx.example", "192.168.1.7", False),
    ],
)
def test_a_private_address_behind_a_public_one_is_noticed(sip: str, media: str, private: bool) -> None:
    stage = Stage.called(OFFER.replace(b"192.0.2.7", media.encode()))
    stage.sip.peer = (sip, 5060)
    assert stage.leg.remote_is_private is private
    assert ("(private)" in stage.leg.describe()) is private


def test_a_leg_in_one_line() -> None:
    assert Stage.calling().leg.describe() == "nothing agreed on yet"
    assert Stage.called().leg.describe() == "pcmu as 0, 20 ms, to 192.0.2.7:4000, keys as 101, not encrypted"


SIX = OFFER.replace(b"c=IN IP4 192.0.2.7", b"c=IN IP6 2001:db8::8")


@pytest.mark.parametrize(
    ("sip", "offer", "addresses", "ours"),
    [
        ("192.0.2.99", OFFER, {}, "192.0.2.1"),
        ("192.0.2.99", None, {}, "192.0.2.1"),
        ("192.0.2.99", ZERO, {}, "192.0.2.1"),
        ("2001:db8::7", OFFER, {}, "192.0.2.1"),
        ("192.0.2.99", SIX, {}, "2001:db8::1"),
        ("192.0.2.99", SIX, {"2001:db8::8": "::1"}, "192.0.2.1"),  # no route
        ("192.0.2.99", SIX, {"2001:db8::8": "203.0.113.5"}, "192.0.2.1"),  # external_ip
    ],
)
def test_the_audio_decides_the_address_family(
    sip: str, offer: bytes | None, addresses: dict[str, str], ours: str
) -> None:
    class Agent:
        def advertised_host(self, peer: str) -> str:
            return addresses.get(peer) or ("2001:db8::1" if ":" in peer else "192.0.2.1")

    plane, call = NotingPlane(), NotingSip(offer)
    call.peer = (sip, 5060)
    leg = SipLeg.of_invite(
        cast("MediaPlane", plane), cast("SipAgent", Agent()), cast("SipCall", call), MediaPolicy()
    )
    assert leg.local.address == ours


def test_a_preferred_codec_comes_first() -> None:
    policy = MediaPolicy(codecs=("pcmu", "pcma"))
    assert policy.preferring("PCMA").codecs == ("pcma", "pcmu")
    assert policy.preferring("pcm").codecs == ("pcm", "pcmu", "pcma")
    assert policy.preferring("opus") is policy
    assert policy.preferring(None) is policy


def test_an_outbound_offer_may_turn_out_to_need_another_address() -> None:
    stage = Stage.calling()
    describe = cast("Callable[[str], bytes]", stage.sip.dialled["describe"])
    assert "c=IN IP4 192.0.2.1" in stage.said
    assert b"c=IN IP4 198.51.100.7" in describe("198.51.100.7")
    assert describe("2001:db8::1") == stage.leg.local_sdp  # the lane's socket is of the other family
    assert "c=IN IP4 198.51.100.7" in stage.said
