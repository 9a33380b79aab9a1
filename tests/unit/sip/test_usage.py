import pytest

from active_call.core.errors import LocalProtocolError
from active_call.sip.events import Acknowledged, Ended, InfoReceived, OfferReceived
from active_call.sip.inbound import InboundUsage
from active_call.sip.message import Message, Request, Response
from active_call.sip.usage import TRANSITIONS, UsageState, checked_headers, usable_headers
from tests.unit.sip.support import ANSWER, BOB, OFFER, Agent, Pair, message


class Talk:
    """Bob in a confirmed call of Alice's."""

    def __init__(self) -> None:
        self.bob = Agent(BOB)
        self.bob.hear(message("INVITE", body=OFFER))
        self.usage: InboundUsage = self.bob.incoming[0]
        assert self.usage.dialog is not None
        self.tag = self.usage.dialog.local_tag
        self.usage.accept(ANSWER, 0.0)
        self.bob.said()
        self.ack(1)
        self.bob.events.clear()
        self._count = 1

    def ack(self, cseq: int, body: bytes = b"") -> list[Request | Response]:
        return self.bob.hear(message("ACK", to_tag=self.tag, cseq=cseq, branch=f"z9hG4bKack{cseq}", body=body))

    def request(self, method: str, *, cseq: int = 0, headers: str = "", body: bytes = b"") -> "list[Message]":
        """The next request within the dialog; what is answered."""
        self._count += 1
        data = message(
            method,
            to_tag=self.tag,
            cseq=cseq or self._count,
            branch=f"z9hG4bK{method}{self._count}{cseq}",
            headers=headers,
            body=body,
        )
        return [*self.bob.hear(data)]

    def answer(self, method: str, **options: object) -> str:
        (response,) = self.request(method, **options)  # type: ignore[arg-type]
        return response.start_line


def test_every_state_leads_to_ended() -> None:
    assert set(TRANSITIONS) == set(UsageState)
    for state, targets in TRANSITIONS.items():
        assert state is UsageState.ENDED or UsageState.ENDED in targets
        assert state not in targets
    assert not TRANSITIONS[UsageState.ENDED]


def test_a_call_from_end_to_end() -> None:
    pair = Pair()
    out, into = pair.connected()
    assert (out.state, into.state) == (UsageState.CONFIRMED, UsageState.CONFIRMED)
    into.hangup(pair.net.now)
    pair.net.run(0.1)
    assert pair.alice.events_of(out)[-1] == Ended("peer", "BYE")
    assert pair.bob.events_of(into)[-1] == Ended("local", "hung up")
    pair.net.run(40.0)
    assert pair.alice.stack.transactions == pair.bob.stack.transactions == 0


def test_bye_ends_the_call_with_its_reason() -> None:
    talk = Talk()
    assert talk.answer("BYE", headers="Reason: Q.850;cause=16\r\n") == "SIP/2.0 200 OK"
    assert talk.bob.events_of(talk.usage) == [Ended("peer", "BYE (Q.850;cause=16)")]
    assert talk.answer("BYE") == "SIP/2.0 481 Call/Transaction Does Not Exist"


def test_both_may_hang_up_at_once() -> None:
    pair = Pair()
    out, into = pair.connected()
    out.hangup(pair.net.now)
    into.hangup(pair.net.now)
    pair.net.run(40.0)
    assert pair.alice.events_of(out)[-1] == Ended("local", "hung up")
    assert pair.bob.events_of(into)[-1] == Ended("local", "hung up")
    assert pair.alice.kinds_of(out).count("Ended") == 1


def test_hanging_up_twice_sends_one_bye() -> None:
    talk = Talk()
    talk.usage.hangup(0.0)
    talk.usage.hangup(0.0)
    assert [one.start_line[:3] for one in talk.bob.said()] == ["BYE"]


def test_a_bye_that_nobody_answers() -> None:
    talk = Talk()
    talk.usage.hangup(0.0)
    talk.bob.wait_until(32.0)
    assert talk.bob.events_of(talk.usage) == [Ended("local", "hung up")]


def test_a_new_offer_is_answered_by_the_owner() -> None:
    talk = Talk()
    assert talk.request("INVITE", body=OFFER) == []
    assert talk.bob.events_of(talk.usage) == [OfferReceived(OFFER)]
    talk.usage.answer_offer(ANSWER, 200, "OK", 0.0)
    (ok,) = talk.bob.said()
    assert (ok.start_line, ok.body) == ("SIP/2.0 200 OK", ANSWER)
    assert len(talk.bob.wait_until(1.5)) == 2
    talk.ack(2)
    assert talk.bob.wait_until(31.0) == []
    assert Acknowledged() not in talk.bob.events_of(talk.usage)


def test_a_new_offer_may_be_refused() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    talk.usage.answer_offer(None, 488, "no common codec", 0.0)
    assert [one.start_line for one in talk.bob.said()] == ["SIP/2.0 488 no common codec"]
    assert talk.usage.state is UsageState.CONFIRMED


def test_a_reinvite_without_offer_brings_the_answer_in_its_ack() -> None:
    talk = Talk()
    talk.request("INVITE")
    talk.usage.answer_offer(OFFER, 200, "OK", 0.0)
    talk.bob.said()
    talk.ack(2, ANSWER)
    assert talk.bob.events_of(talk.usage) == [OfferReceived(None), Acknowledged()]
    assert talk.usage.remote_sdp == ANSWER


def test_an_answer_to_a_reinvite_that_nobody_acknowledges_ends_the_call() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    talk.usage.answer_offer(ANSWER, 200, "OK", 0.0)
    talk.bob.wait_until(32.0)
    assert talk.bob.events_of(talk.usage)[-1] == Ended("timeout", "no ACK came")


def test_a_reinvite_can_be_canceled() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    cancel = message("CANCEL", to_tag=talk.tag, cseq=2, branch="z9hG4bKINVITE20")
    assert talk.bob.statuses(cancel) == [200, 487]
    talk.usage.answer_offer(ANSWER, 200, "OK", 0.0)
    assert talk.bob.said() == []
    assert talk.usage.state is UsageState.CONFIRMED


def test_a_late_cancel_does_not_touch_the_next_offer() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    talk.usage.answer_offer(None, 488, "", 0.0)
    talk.request("UPDATE", body=OFFER)
    talk.bob.said()
    cancel = message("CANCEL", to_tag=talk.tag, cseq=2, branch="z9hG4bKINVITE20")
    assert talk.bob.statuses(cancel) == [200]
    talk.usage.answer_offer(ANSWER, 200, "OK", 0.0)
    assert [one.body for one in talk.bob.said()] == [ANSWER]


def test_an_offer_that_is_open_when_we_hang_up_is_closed() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    talk.usage.hangup(0.0)
    assert [one.start_line.split()[0] for one in talk.bob.said()] == ["BYE"]
    talk.usage.answer_offer(ANSWER, 200, "OK", 0.0)
    assert [one.start_line for one in talk.bob.said()] == ["SIP/2.0 487 Request Terminated"]
    assert not [one for one in talk.ack(2) if isinstance(one, Request)]


def test_an_update_with_an_offer_must_wait_for_our_answer() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER))
    usage = bob.incoming[0]
    assert usage.dialog is not None
    update = message("UPDATE", to_tag=usage.dialog.local_tag, cseq=2, branch="z9hG4bK2", body=OFFER)
    (refused,) = bob.hear(update)
    assert refused.start_line.startswith("SIP/2.0 500")
    assert "retry-after" in refused.headers
    assert bob.kinds_of(usage) == []


def test_one_offer_at_a_time() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    (refused,) = talk.request("UPDATE", body=OFFER)
    assert refused.start_line == "SIP/2.0 500 an offer is open"
    assert refused.headers.get("retry-after") == "1"


def test_update_with_an_offer() -> None:
    talk = Talk()
    talk.request("UPDATE", body=OFFER)
    talk.usage.answer_offer(ANSWER, 200, "OK", 0.0)
    assert [one.body for one in talk.bob.said()] == [ANSWER]
    assert talk.bob.wait_until(31.0) == []


def test_update_without_offer_only_moves_the_target() -> None:
    talk = Talk()
    data = message("UPDATE", to_tag=talk.tag, cseq=2, branch="z9hG4bKu").replace(
        b"<sip:alice@10.0.0.1:5060>", b"<sip:alice@10.0.0.7>"
    )
    assert talk.bob.statuses(data) == [200]
    talk.usage.hangup(0.0)
    assert talk.bob.said()[0].start_line == "BYE sip:alice@10.0.0.7 SIP/2.0"


def test_an_open_offer_is_closed_with_the_call() -> None:
    talk = Talk()
    talk.request("INVITE", body=OFFER)
    assert [one.start_line for one in talk.request("BYE")] == [
        "SIP/2.0 200 OK",
        "SIP/2.0 487 Request Terminated",
    ]


def test_a_reinvite_replaces_a_lost_ack() -> None:
    bob = Agent(BOB)
    bob.hear(message("INVITE", body=OFFER))
    bob.incoming[0].accept(ANSWER, 0.0)
    tag = bob.said()[0].to.tag
    bob.hear(message("INVITE", body=OFFER, to_tag=tag, cseq=2, branch="z9hG4bK2"))
    assert bob.kinds_of(bob.incoming[0]) == ["OfferReceived"]
    assert bob.wait_until(31.0) == []


def test_info() -> None:
    talk = Talk()
    headers = "Content-Type: application/dtmf-relay\r\n"
    data = message("INFO", to_tag=talk.tag, cseq=2, branch="z9hG4bKi", headers=headers)
    data = data.replace(b"Content-Length: 0\r\n\r\n", b"Content-Length: 8\r\n\r\nSignal=5")
    assert talk.bob.statuses(data) == [200]
    assert talk.bob.events_of(talk.usage) == [InfoReceived("application/dtmf-relay", b"Signal=5")]


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("OPTIONS", "SIP/2.0 200 OK"),
        ("MESSAGE", "SIP/2.0 405 Method Not Allowed"),
        ("FOO", "SIP/2.0 501 Not Implemented"),
    ],
)
def test_other_requests_within_a_call(method: str, answer: str) -> None:
    assert Talk().answer(method) == answer


def test_requests_from_the_past_are_refused() -> None:
    talk = Talk()
    talk.answer("OPTIONS", cseq=9)
    assert talk.answer("BYE", cseq=8) == "SIP/2.0 500 CSeq is lower than before"
    assert talk.usage.state is UsageState.CONFIRMED


def test_an_offer_of_something_else_gets_415() -> None:
    talk = Talk()
    data = message("INVITE", to_tag=talk.tag, cseq=2, branch="z9hG4bKx", body=b"x").replace(
        b"application/sdp", b"application/foo"
    )
    (response,) = talk.bob.hear(data)
    assert response.start_line.startswith("SIP/2.0 415")
    assert response.headers.get("accept") == "application/sdp"


def test_headers_that_carry_the_protocol_are_ours() -> None:
    assert checked_headers([("X-A", "b\r\nc")]) == (("X-A", "b c"),)
    for name in ("Via", "CSeq", "content-length", "A B", ""):
        with pytest.raises(LocalProtocolError):
            checked_headers([(name, "x")])


def test_no_header_keeps_a_call_from_ending() -> None:
    assert usable_headers([("To", "x"), ("X-A", "1")]) == (("X-A", "1"),)
    talk = Talk()
    talk.usage.hangup(0.0, [("Via", "x"), ("X-Why", "done")])
    (bye,) = talk.bob.said()
    assert bye.headers.get("x-why") == "done"
    assert len(bye.headers.all("via")) == 1
