"""Requests that go from one address to the next."""

from collections.abc import Callable

import pytest

from active_call.core.tokens import token_source
from active_call.sip.hop import Hop, Target
from active_call.sip.messages.message import Request, Response, parse_message
from active_call.sip.transactions.delivery import PATIENCE, Delivery
from active_call.sip.transactions.layer import TransactionLayer
from tests.unit.sip.support import ALICE, message, reply

FIRST, SECOND = Hop("192.0.2.1", 5060, "udp", "x.example"), Hop("192.0.2.2", 5060, "udp", "x.example")
TARGET = Target("x.example")


class World:
    """A request of ours, and what became of it."""

    def __init__(
        self, method: str = "INVITE", target: Target = TARGET, *, body: bytes = b"", tcp: bool = False
    ) -> None:
        self.layer = TransactionLayer(lambda _: ALICE[:2], token_source(1), "test")
        self.layer.tcp = tcp
        self.heard: list[tuple[int, str]] = []
        request = parse_message(
            message(method, body=body).replace(b"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1\r\n", b"")
        )
        assert isinstance(request, Request)
        self.delivery: Delivery = self.layer.request(
            request, target, self._on_response, 0.0, contact=lambda hop: f"<sip:a@me;to={hop.host}>"
        )

    def _on_response(self, response: Response, now: float) -> None:
        self.heard.append((response.status, response.reason))

    def found(self, *hops: Hop, reason: str = "") -> "World":
        self.layer.lookups.clear()
        self.layer.looked_up(TARGET, list(hops), reason, 0.0)
        return self

    def sent(self) -> list[tuple[str, Hop]]:
        """Methods and destinations since the last look; the messages themselves are in `messages`."""
        out = [(parse_message(data), hop) for data, hop in self.layer.outbox]
        self.messages = [one for one, _ in out if isinstance(one, Request)]
        self.layer.outbox.clear()
        return [(one.method, hop) for one, hop in out if isinstance(one, Request)]

    def hear(self, request: Request, status: int, now: float = 0.0) -> None:
        response = parse_message(reply(request, status))
        assert isinstance(response, Response)
        self.layer.receive_response(response, now)

    def wait_until(self, now: float) -> None:
        while (deadline := self.layer.timers.next_deadline()) is not None and deadline <= now:
            for owner in self.layer.timers.due(deadline):
                owner.handle_timer(deadline)


def test_nothing_is_sent_before_the_name_is_looked_up() -> None:
    world = World()
    assert list(world.layer.lookups) == [TARGET]
    assert world.sent() == []
    assert world.layer.busy
    assert world.found(FIRST).sent() == [("INVITE", FIRST)]


def test_via_and_contact_suit_where_it_goes() -> None:
    over_tcp = FIRST._replace(transport="tcp")
    world = World().found(over_tcp)
    world.sent()
    (invite,) = world.messages
    assert str(invite.via).startswith("SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bK")
    assert "rport" not in invite.via.params
    assert invite.headers.get("contact") == "<sip:a@me;to=192.0.2.1>"


def test_a_name_that_leads_nowhere_is_a_503_with_the_reason() -> None:
    assert World().found(reason="DNS: no address").heard == [(503, "DNS: no address")]


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
@pytest.mark.parametrize(
    "fail",
    [
        lambda world: world.layer.transport_failed(FIRST, "refused", 0.0),
        lambda world: world.layer.connection_closed(FIRST, "closed", 0.0),
        lambda world: world.hear(world.messages[0], 503),
        lambda world: world.wait_until(PATIENCE),
    ],
)
def test_the_next_address_is_tried_under_a_new_branch(method: str, fail: Callable[[World], None]) -> None:
    world = World(method).found(FIRST, SECOND)
    assert world.sent() == [(method, FIRST)]
    branch = world.messages[0].via.branch
    fail(world)
    assert world.sent()[-1] == (method, SECOND)
    assert world.messages[-1].via.branch != branch
    world.hear(world.messages[-1], 200)
    assert [status for status, _ in world.heard] == [200]


@pytest.mark.parametrize("status", [486, 404, 500, 408, 200])
def test_other_answers_are_final(status: int) -> None:
    world = World().found(FIRST, SECOND)
    world.sent()
    world.hear(world.messages[0], status)
    world.wait_until(100.0)
    assert [status for status, _ in world.heard] == [status]
    assert SECOND not in {hop for _, hop in world.sent()}


def test_who_rings_is_waited_for() -> None:
    world = World().found(FIRST, SECOND)
    world.sent()
    world.hear(world.messages[0], 180)
    world.wait_until(100.0)
    assert [status for status, _ in world.heard] == [180]


def test_the_last_failure_is_told() -> None:
    world = World().found(FIRST, SECOND)
    world.layer.transport_failed(FIRST, "refused", 0.0)
    world.layer.transport_failed(SECOND, "no route", 0.0)
    assert world.heard == [(503, "no route")]
    assert len(world.layer) == 0


def test_the_last_address_has_the_time_of_timer_b() -> None:
    world = World().found(FIRST, SECOND)
    world.wait_until(PATIENCE + 31.9)
    assert world.heard == []
    world.wait_until(PATIENCE + 32.0)
    assert world.heard == [(408, "no response from 192.0.2.2:5060 in 32 s")]
    world.wait_until(100.0)
    assert len(world.layer) == 0


def test_a_late_ringing_gets_cancel_and_a_late_answer_is_handed_on() -> None:
    world = World().found(FIRST, SECOND)
    world.sent()
    (first,) = world.messages
    world.wait_until(PATIENCE)
    world.sent()
    world.hear(first, 180, PATIENCE + 1)
    world.hear(first, 180, PATIENCE + 1)
    assert world.sent() == [("CANCEL", FIRST)]
    assert world.messages[0].via.branch == first.via.branch
    world.hear(first, 200, PATIENCE + 2)
    assert [status for status, _ in world.heard] == [200]


# --- giving up -------------------------------------------------------------------------------------------


def test_cancel_goes_where_the_invite_went() -> None:
    world = World().found(FIRST)
    world.sent()
    world.hear(world.messages[0], 180)
    world.layer.cancel(world.delivery, lambda *_: None, 0.0)
    assert world.sent() == [("CANCEL", FIRST)]


def test_cancel_waits_for_the_first_provisional_response() -> None:
    world = World().found(FIRST, SECOND)
    world.sent()
    world.layer.cancel(world.delivery, lambda *_: None, 0.0)
    assert world.sent() == []
    world.hear(world.messages[0] if world.messages else world.delivery.request, 100)
    assert world.sent() == [("CANCEL", FIRST)]


def test_who_hangs_up_before_the_lookup_ends_gets_487_at_once() -> None:
    world = World()
    world.delivery.settle(0.0)
    assert world.heard == [(487, "Request Terminated")]
    assert world.found(FIRST).sent() == []


def test_after_hanging_up_no_other_address_is_tried() -> None:
    world = World().found(FIRST, SECOND)
    world.sent()
    world.delivery.settle(0.0)
    world.layer.transport_failed(FIRST, "refused", 0.0)
    assert world.sent() == []
    assert world.heard == [(503, "refused")]


def test_an_abandoned_request_is_silent() -> None:
    world = World()
    world.delivery.abandon()
    world.found(FIRST)
    assert world.sent() == []
    world = World().found(FIRST, SECOND)
    world.delivery.abandon()
    world.wait_until(100.0)
    assert world.heard == []
    assert len(world.layer) == 0


# --- large requests --------------------------------------------------------------------------------------

BIG = b"x" * 1300
TCP_FIRST = FIRST._replace(transport="tcp")


def test_large_requests_go_over_tcp() -> None:
    assert World(body=BIG, tcp=True).found(FIRST).sent() == [("INVITE", TCP_FIRST)]
    assert World(body=BIG, tcp=False).found(FIRST).sent() == [("INVITE", FIRST)]
    assert World(body=b"small", tcp=True).found(FIRST).sent() == [("INVITE", FIRST)]


def test_a_transport_that_the_uri_names_is_kept() -> None:
    world = World(target=Target("192.0.2.1", 5060, "udp"), body=BIG, tcp=True)
    assert world.sent() == [("INVITE", Hop("192.0.2.1", 5060))]


def test_where_tcp_fails_udp_is_used_and_remembered() -> None:
    world = World(body=BIG, tcp=True).found(FIRST)
    world.sent()
    world.layer.transport_failed(TCP_FIRST, "refused", 0.0)
    assert world.sent() == [("INVITE", FIRST)]
    assert world.layer.refuses_tcp(TCP_FIRST, 1.0)
    assert not world.layer.refuses_tcp(TCP_FIRST, 1000.0)


def test_a_tcp_that_answers_is_not_remembered_as_refused() -> None:
    world = World(body=BIG, tcp=True).found(FIRST)
    world.sent()
    world.hear(world.messages[0], 503)
    assert not world.layer.refuses_tcp(TCP_FIRST, 1.0)
