import pytest

from active_call.core.errors import LocalProtocolError, RemoteProtocolError
from active_call.sip.dialogs.refer import refer_received
from active_call.sip.events import Ended, ReferProgress, ReferReceived
from active_call.sip.messages.message import Headers, Request, Response
from tests.unit.sip.support import ALICE, BOB, Agent, Pair, message
from tests.unit.sip.talk import Dialed, Talk, only

TO_CAROL = "Refer-To: <sip:carol@10.0.0.3>\r\n"
FRAG = "Event: refer\r\nSubscription-State: {}\r\n"
ACTIVE, TERMINATED = FRAG.format("active;expires=60"), FRAG.format("terminated;reason=noresource")


def asked(**fields: str) -> ReferReceived:
    headers = Headers((name.replace("_", "-"), value) for name, value in fields.items())
    return refer_received(Request("REFER", "sip:a@b", headers))


# --- the peer asks -----------------------------------------------------------------------------------------


def test_what_a_refer_asks_for() -> None:
    assert asked(Refer_To="<sip:carol@x>", Referred_By="<sip:alice@y>") == ReferReceived(
        "sip:carol@x", "<sip:alice@y>", None
    )
    attended = asked(r='"Carol" <sip:carol@x;transport=tcp?Replaces=c1%3Bto-tag%3D1%3Bfrom-tag%3D2>')
    assert attended == ReferReceived("sip:carol@x;transport=tcp", None, "c1;to-tag=1;from-tag=2")
    assert asked(Refer_To="tel:+123").refer_to == "tel:+123"


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("<sip:a@x>, <sip:b@x>", 400),
        ("<sip:a@x", 400),
        ("<http://x/>", 416),
        ("<sip:a@x;method=BYE>", 400),
    ],
)
def test_what_can_not_be_asked_for(value: str, status: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        asked(Refer_To=value)
    assert caught.value.status == status
    with pytest.raises(RemoteProtocolError, match="exactly one"):
        asked()


def test_a_transfer_is_accepted_and_reported_on() -> None:
    talk = Talk()
    accepted, trying = talk.request("REFER", headers=TO_CAROL)
    assert accepted.start_line == "SIP/2.0 202 Accepted"
    assert isinstance(trying, Request)
    assert (trying.method, trying.headers.get("event")) == ("NOTIFY", "refer")
    assert trying.headers.get("subscription-state") == "active;expires=180"
    assert trying.headers.get("content-type") == "message/sipfrag;version=2.0"
    assert trying.body == b"SIP/2.0 100 Trying\r\n"
    assert talk.events == [ReferReceived("sip:carol@10.0.0.3", None, None)]
    talk.reply(trying, 200)
    talk.usage.transfer_asked.notify(180, "Ringing", 0.0, final=False)
    ringing = talk.said()
    assert ringing.body == b"SIP/2.0 180 Ringing\r\n"
    talk.reply(ringing, 200)
    talk.usage.transfer_asked.notify(200, "", 0.0, final=True)
    done = talk.said()
    assert done.body == b"SIP/2.0 200 OK\r\n"
    assert done.headers.get("subscription-state") == "terminated;reason=noresource"
    talk.usage.transfer_asked.notify(500, "", 0.0, final=True)
    assert talk.bob.said() == []


def test_news_waits_for_the_news_before_and_old_news_is_skipped() -> None:
    talk = Talk()
    _, trying = talk.request("REFER", headers=TO_CAROL)
    assert isinstance(trying, Request)
    notify = talk.usage.transfer_asked.notify
    notify(180, "", 0.0, final=False)
    notify(183, "", 0.0, final=False)
    notify(486, "Busy Here", 0.0, final=True)
    notify(180, "", 0.0, final=False)
    assert talk.bob.said() == []
    final = only(talk.reply(trying, 200))
    assert final.body == b"SIP/2.0 486 Busy Here\r\n"
    assert talk.reply(final, 200) == []


def test_a_peer_that_wants_no_news() -> None:
    talk = Talk()
    (accepted,) = talk.request("REFER", headers=TO_CAROL + "Refer-Sub: false\r\nSupported: norefersub\r\n")
    assert (accepted.start_line, accepted.headers.get("refer-sub")) == ("SIP/2.0 202 Accepted", "false")
    talk.usage.transfer_asked.notify(200, "", 0.0, final=True)
    assert talk.bob.said() == []
    assert talk.answer("REFER", headers=TO_CAROL + "Refer-Sub: false\r\n") == "SIP/2.0 202 Accepted"


def test_a_peer_that_does_not_listen_any_more() -> None:
    talk = Talk()
    _, trying = talk.request("REFER", headers=TO_CAROL)
    assert isinstance(trying, Request)
    talk.usage.transfer_asked.notify(180, "", 0.0, final=False)
    assert talk.reply(trying, 481) == []
    talk.usage.transfer_asked.notify(200, "", 0.0, final=True)
    assert talk.bob.said() == []


def test_one_transfer_at_a_time() -> None:
    talk = Talk()
    _, trying = talk.request("REFER", headers=TO_CAROL)
    assert talk.answer("REFER", headers=TO_CAROL) == "SIP/2.0 491 another transfer is under way"
    assert isinstance(trying, Request)
    talk.reply(trying, 200)
    talk.usage.transfer_asked.notify(486, "", 0.0, final=True)
    talk.reply(talk.said(), 200)
    accepted, second = talk.request("REFER", headers=TO_CAROL)
    assert accepted.start_line == "SIP/2.0 202 Accepted"
    assert second.headers.get("event") == f"refer;id={accepted.cseq[0]}"


def test_a_transfer_that_nobody_reports_on_expires() -> None:
    talk = Talk()
    _, trying = talk.request("REFER", headers=TO_CAROL)
    assert isinstance(trying, Request)
    talk.reply(trying, 200)
    (final, *_) = talk.bob.wait_until(180.0)
    assert final.body == b"SIP/2.0 408 the transfer took too long\r\n"


def test_the_subscription_ends_with_the_call() -> None:
    talk = Talk()
    _, trying = talk.request("REFER", headers=TO_CAROL)
    assert isinstance(trying, Request)
    talk.reply(trying, 200)
    talk.request("BYE")
    talk.usage.transfer_asked.notify(200, "", 0.0, final=True)
    assert talk.bob.said() == []


def test_a_refer_that_is_refused() -> None:
    talk = Talk()
    assert talk.answer("REFER") == "SIP/2.0 400 REFER needs exactly one Refer-To"
    bob = Agent(BOB)
    (outside,) = bob.hear(message("REFER", headers=TO_CAROL))
    assert outside.start_line == "SIP/2.0 403 REFER is only taken within a call"


# --- we ask ------------------------------------------------------------------------------------------------


def referring(refer_to: str = "sip:carol@10.0.0.3") -> tuple[Dialed, Request]:
    dialed = Dialed()
    dialed.usage.transfer.send(refer_to, "sip:alice@10.0.0.1", [("X-A", "1")], 0.0)
    return dialed, dialed.said()


def told(dialed: Dialed, number: int, headers: str, frag: bytes = b"") -> int:
    (response,) = dialed.request("NOTIFY", cseq=number, headers=headers, body=frag)
    assert isinstance(response, Response)
    return response.status


def test_our_refer() -> None:
    _, refer = referring()
    assert refer.headers.get("refer-to") == "<sip:carol@10.0.0.3>"
    assert refer.headers.get("referred-by") == "<sip:alice@10.0.0.1>"
    assert refer.headers.get("x-a") == "1"
    assert refer.headers.get("contact") == "<sip:alice@10.0.0.1:5060>"


def test_how_our_transfer_goes() -> None:
    dialed, refer = referring()
    dialed.hear(refer, 202)
    assert told(dialed, 101, ACTIVE, b"SIP/2.0 100 Trying\r\n") == 200
    assert told(dialed, 102, ACTIVE, b"SIP/2.0 180 Ringing\r\nTo: x\r\n") == 200
    assert told(dialed, 103, TERMINATED, b"SIP/2.0 200 OK\r\n") == 200
    assert told(dialed, 104, TERMINATED, b"SIP/2.0 200 OK\r\n") == 481
    assert dialed.events == [
        ReferProgress(202, "Whatever", False),
        ReferProgress(100, "Trying", False),
        ReferProgress(180, "Ringing", False),
        ReferProgress(200, "OK", True),
    ]
    dialed.usage.transfer.send("sip:dave@x", None, (), 0.0)
    assert dialed.said().method == "REFER"


def test_a_final_status_is_final_even_if_the_subscription_goes_on() -> None:
    dialed, refer = referring()
    dialed.hear(refer, 202)
    told(dialed, 101, ACTIVE, b"SIP/2.0 486 Busy Here\r\n")
    assert told(dialed, 102, TERMINATED, b"SIP/2.0 486 Busy Here\r\n") == 200
    assert dialed.events[1:] == [ReferProgress(486, "Busy Here", True)]


def test_a_notify_may_be_faster_than_the_answer() -> None:
    dialed, refer = referring()
    assert told(dialed, 101, TERMINATED, b"SIP/2.0 200 OK\r\n") == 200
    dialed.hear(refer, 202)
    assert dialed.events == [ReferProgress(200, "OK", True)]


def test_an_end_without_words_keeps_the_last_status() -> None:
    dialed, refer = referring()
    dialed.hear(refer, 202)
    told(dialed, 101, ACTIVE, b"SIP/2.0 180 Ringing\r\n")
    told(dialed, 102, TERMINATED)
    assert dialed.events[-1] == ReferProgress(180, "terminated;reason=noresource", True)


def test_a_refused_transfer() -> None:
    dialed, refer = referring()
    dialed.hear(refer, 603)
    assert dialed.events == [ReferProgress(603, "Whatever", True)]
    dialed, refer = referring()
    dialed.hear(refer, 202, headers="Refer-Sub: false\r\n")
    assert dialed.events == [ReferProgress(202, "Whatever", True)]


def test_a_peer_that_never_tells() -> None:
    dialed, refer = referring()
    dialed.hear(refer, 202)
    dialed.alice.wait_until(180.0)
    assert dialed.events[-1] == ReferProgress(408, "the peer never told how the transfer went", True)
    assert told(dialed, 101, ACTIVE, b"SIP/2.0 200 OK\r\n") == 481


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Event: presence\r\n", 489),
        ("", 489),
        ("Event: refer;id=7\r\n", 481),
        ("Event: refer;id=2\r\n", 200),
        ("Event: refer;id=x\r\n", 200),
        ('Event: refer;"\r\n', 200),
    ],
)
def test_which_notify_belongs_to_it(headers: str, status: int) -> None:
    dialed, _ = referring()
    assert told(dialed, 101, headers) == status


def test_a_notify_for_nothing() -> None:
    assert told(Dialed(), 101, ACTIVE) == 481


def test_what_can_not_be_sent() -> None:
    dialed, _ = referring()
    with pytest.raises(LocalProtocolError, match="under way"):
        dialed.usage.transfer.send("sip:dave@x", None, (), 0.0)
    dialed = Dialed()
    for target, by, headers in (("a b", None, {}), ("sip:a@b", "a b", {}), ("sip:a@b", None, {"Via": "x"})):
        with pytest.raises(LocalProtocolError):
            dialed.usage.transfer.send(target, by, headers.items(), 0.0)
    assert dialed.alice.said() == []


def test_a_call_that_is_not_answered_can_not_be_transferred() -> None:
    pair = Pair()
    out, _ = pair.ringing()
    out.transfer.send("sip:carol@x", None, (), pair.net.now)
    assert pair.alice.events_of(out)[-1] == ReferProgress(481, "the call is not answered", True)
    alice = Agent(ALICE)
    alice.hear(message("INVITE"))
    tag = alice.incoming[0].dialog.local_tag  # type: ignore[union-attr]
    (refused,) = alice.hear(message("REFER", to_tag=tag, cseq=2, branch="z9hG4bK2", headers=TO_CAROL))
    assert refused.start_line == "SIP/2.0 491 the call is not answered"


def test_the_call_may_end_meanwhile() -> None:
    dialed, refer = referring()
    dialed.hear(refer, 202)
    dialed.request("BYE")
    assert dialed.events[1:] == [Ended("peer", "BYE")]
    assert told(dialed, 101, ACTIVE) == 481


def test_after_the_call_nobody_waits_for_news() -> None:
    dialed, refer = referring()
    assert len(dialed.request("BYE")) == 1
    dialed.hear(refer, 202)
    dialed.alice.wait_until(40.0)
    assert dialed.alice.next_deadline() is None
