from active_call.sip.dialogs.inbound import InboundUsage
from active_call.sip.events import Acknowledged, Ended, OfferReceived
from active_call.sip.messages.message import Request, Response
from tests.unit.sip.support import ANSWER, BOB, OFFER, Agent, message

INSISTS = "Require: 100rel\r\n"
IS_ABLE = "Supported: 100rel\r\n"
LATER = ANSWER.replace(b"5000", b"5002")


class Early:
    """Bob, called by Alice, who hasn't got an answer."""

    def __init__(self, headers: str, body: bytes = OFFER) -> None:
        self.bob = Agent(BOB)
        assert self.bob.statuses(message("INVITE", headers=headers, body=body)) == [100]
        self.usage: InboundUsage = self.bob.incoming[0]
        assert self.usage.dialog is not None
        self.tag = self.usage.dialog.local_tag
        self._count = 1

    def said(self) -> list[Response]:
        return [one for one in self.bob.said() if isinstance(one, Response)]

    def prack(
        self, to: Response, *, number: int = 0, body: bytes = b"", now: float = 0.0
    ) -> list[Request | Response]:
        self._count += 1
        rseq = number or int(to.headers.get("rseq") or "0")
        return self.bob.hear(
            message(
                "PRACK",
                to_tag=self.tag,
                cseq=self._count,
                branch=f"z9hG4bKp{self._count}",
                headers=f"RAck: {rseq} 1 INVITE\r\n",
                body=body,
            ),
            now,
        )


def test_a_caller_that_insists_gets_reliable_responses() -> None:
    early = Early(INSISTS)
    early.usage.ring(0.0)
    (ringing,) = early.said()
    assert ringing.headers.get("require") == "100rel"
    assert 1 <= int(ringing.headers.get("rseq") or 0) < 2**31
    assert [one.start_line for one in early.prack(ringing)] == ["SIP/2.0 200 OK"]
    assert early.bob.wait_until(59.0) == []


def test_a_caller_that_is_able_gets_them_for_descriptions_only() -> None:
    early = Early(IS_ABLE)
    early.usage.ring(0.0)
    early.usage.progress(ANSWER, 0.0)
    ringing, progress = early.said()
    assert "rseq" not in ringing.headers
    assert "rseq" in progress.headers
    assert progress.body == ANSWER
    early.prack(progress)


def test_repeated_until_prack_with_growing_pauses() -> None:
    early = Early(INSISTS)
    early.usage.ring(0.0)
    first = early.said()
    assert early.bob.wait_until(15.5) == first * 5  # at 0.5, 1.5, 3.5, 7.5 and 15.5
    early.prack(first[0], now=15.6)
    assert early.bob.wait_until(59.0) == []


def test_without_prack_the_call_is_given_up() -> None:
    early = Early(INSISTS)
    early.usage.ring(0.0)
    said = early.bob.wait_until(32.0)
    assert said[-1].start_line == "SIP/2.0 504 no PRACK came"
    assert early.bob.events_of(early.usage) == [Ended("local", "rejected with 504 no PRACK came")]


def test_one_after_the_other_with_rising_numbers() -> None:
    early = Early(INSISTS)
    early.usage.ring(0.0)
    early.usage.progress(ANSWER, 0.0)
    (ringing,) = early.said()
    ok, progress = early.prack(ringing)
    assert isinstance(progress, Response)
    assert progress.status == 183
    assert int(progress.headers.get("rseq") or 0) == int(ringing.headers.get("rseq") or 0) + 1
    early.prack(progress)


def test_a_prack_for_something_else() -> None:
    early = Early(INSISTS)
    early.usage.ring(0.0)
    (ringing,) = early.said()
    for rack in (
        "",
        "x",
        "1 1",
        f"{ringing.headers.get('rseq')} 2 INVITE",
        f"{ringing.headers.get('rseq')} 1 BYE",
    ):
        early._count += 1
        data = message(
            "PRACK",
            to_tag=early.tag,
            cseq=early._count,
            branch=f"z9hG4bKq{early._count}",
            headers=f"RAck: {rack}\r\n",
        )
        assert early.bob.statuses(data) == [481]
    assert early.prack(ringing, number=1)[0].start_line.startswith("SIP/2.0 481")
    assert [one.start_line for one in early.prack(ringing)] == ["SIP/2.0 200 OK"]
    assert early.prack(ringing)[0].start_line.startswith("SIP/2.0 481")


def test_the_answer_waits_for_the_prack_of_a_description() -> None:
    early = Early(IS_ABLE)
    early.usage.progress(ANSWER, 0.0)
    (progress,) = early.said()
    early.usage.accept(ANSWER, 0.0)
    early.usage.ring(0.0)
    assert early.said() == []
    assert str(early.usage.state) == "early"
    prack_ok, ok = early.prack(progress)
    assert [prack_ok.start_line, ok.start_line] == ["SIP/2.0 200 OK"] * 2
    assert (ok.cseq[1], ok.body) == ("INVITE", b"")  # the description was said reliably before
    assert str(early.usage.state) == "confirmed"


def test_the_answer_does_not_wait_for_the_prack_of_a_ringing() -> None:
    early = Early(INSISTS)
    early.usage.ring(0.0)
    (ringing,) = early.said()
    early.usage.accept(ANSWER, 0.0)
    (ok,) = early.said()
    assert (ok.status, ok.body) == (200, ANSWER)
    assert early.prack(ringing)[0].start_line == "SIP/2.0 200 OK"
    early.bob.hear(message("ACK", to_tag=early.tag, branch="z9hG4bKa"))
    assert early.bob.wait_until(59.0) == []


def test_a_failure_waits_for_nothing() -> None:
    early = Early(INSISTS)
    early.usage.ring(0.0)
    early.said()
    early.usage.reject(486, "", 0.0)
    assert [one.status for one in early.said()] == [486]
    early.bob.hear(message("ACK", to_tag=early.tag))
    assert early.bob.wait_until(59.0) == []


def test_a_caller_that_gives_up_meanwhile() -> None:
    early = Early(IS_ABLE)
    early.usage.progress(ANSWER, 0.0)
    early.usage.accept(ANSWER, 0.0)
    early.said()
    assert early.bob.statuses(message("CANCEL")) == [200, 487]
    early.bob.hear(message("ACK", to_tag=early.tag))
    assert early.bob.wait_until(59.0) == []
    assert early.bob.kinds_of(early.usage) == ["Ended"]


def test_after_the_prack_the_session_may_be_changed_before_the_answer() -> None:
    early = Early(IS_ABLE)
    early.usage.progress(ANSWER, 0.0)
    (progress,) = early.said()
    early.prack(progress)
    early.bob.hear(message("UPDATE", to_tag=early.tag, cseq=3, branch="z9hG4bKu", body=OFFER))
    assert early.bob.events_of(early.usage) == [OfferReceived(OFFER)]
    early.usage.remote_offer.answer(ANSWER, 200, "", 0.0)
    assert [one.body for one in early.said()] == [ANSWER]


def test_a_prack_may_bring_an_offer() -> None:
    early = Early(IS_ABLE)
    early.usage.progress(ANSWER, 0.0)
    (progress,) = early.said()
    assert early.prack(progress, body=OFFER) == []
    assert early.bob.events_of(early.usage) == [OfferReceived(OFFER)]
    early.usage.remote_offer.answer(ANSWER, 200, "", 0.0)
    (ok,) = early.said()
    assert (ok.cseq[1], ok.body) == ("PRACK", ANSWER)


def test_an_offer_in_a_prack_is_answered_there_and_not_in_the_200() -> None:
    early = Early(IS_ABLE)
    early.usage.progress(ANSWER, 0.0)
    (progress,) = early.said()
    early.usage.accept(ANSWER, 0.0)
    said = early.prack(progress, body=OFFER)
    early.usage.remote_offer.answer(LATER, 200, "", 0.0)
    said += early.said()
    found = {(one.cseq[1], one.status): one.body for one in said if isinstance(one, Response)}
    assert found == {("PRACK", 200): LATER, ("INVITE", 200): b""}
    assert early.usage.local_sdp == LATER


def test_without_an_offer_the_prack_brings_the_answer_to_ours() -> None:
    early = Early(IS_ABLE, b"")
    early.usage.progress(OFFER, 0.0)
    (progress,) = early.said()
    early.prack(progress, body=ANSWER)
    assert early.usage.remote_sdp == ANSWER
    early.usage.accept(OFFER, 0.0)
    (ok,) = early.said()
    assert ok.body == b""
    early.bob.hear(message("ACK", to_tag=early.tag, branch="z9hG4bKa"))
    assert early.bob.events_of(early.usage) == [Acknowledged()]
    assert early.usage.remote_sdp == ANSWER


def test_a_body_of_something_else() -> None:
    early = Early(IS_ABLE)
    early.usage.progress(ANSWER, 0.0)
    (progress,) = early.said()
    rack = f"RAck: {progress.headers.get('rseq')} 1 INVITE\r\n"
    data = message("PRACK", to_tag=early.tag, cseq=2, branch="z9hG4bKx", headers=rack, body=b"x")
    assert early.bob.statuses(data.replace(b"application/sdp", b"text/plain")) == [415]
