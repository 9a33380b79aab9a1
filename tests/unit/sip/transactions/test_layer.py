import pytest

from active_call.core.tokens import token_source
from active_call.sip.hop import Hop, Target
from active_call.sip.messages.message import Request, Response, make_response, parse_message
from active_call.sip.transactions import layer
from active_call.sip.transactions.layer import TransactionLayer
from tests.unit.sip.support import ALICE, BOB, OFFER, Agent, message, reply


def request(data: bytes) -> Request:
    parsed = parse_message(data)
    assert isinstance(parsed, Request)
    return parsed


@pytest.fixture
def transactions() -> TransactionLayer:
    return TransactionLayer(lambda _: BOB[:2], token_source(1), "test")


@pytest.mark.parametrize("branch", ["z9hG4bK1", "1", "z9hG4bK", ""])
def test_repetitions_acks_and_cancels_find_the_invite(transactions: TransactionLayer, branch: str) -> None:
    transaction = transactions.open_server(request(message("INVITE", branch=branch)), ALICE)
    assert transactions.find_server(request(message("INVITE", branch=branch))) is transaction
    assert transactions.find_server(request(message("ACK", branch=branch, to_tag="x"))) is transaction
    assert transactions.find_canceled(request(message("CANCEL", branch=branch))) is transaction
    assert transactions.find_server(request(message("CANCEL", branch=branch))) is None


@pytest.mark.parametrize(
    "other",
    [
        message("INVITE", branch="z9hG4bK2"),
        message("INVITE", via="SIP/2.0/UDP 10.0.0.1:5061"),
        message("OPTIONS"),
    ],
)
def test_others_do_not(transactions: TransactionLayer, other: bytes) -> None:
    transactions.open_server(request(message("INVITE")), ALICE)
    assert transactions.find_server(request(other)) is None


def test_a_response_needs_branch_and_method(transactions: TransactionLayer) -> None:
    heard: list[int] = []
    invite = request(message("INVITE"))
    sent = transactions.request(invite, BOB, lambda response, now: heard.append(response.status), 0.0).request
    for status, old, new in (
        (180, b"", b""),
        (181, sent.via.branch.encode(), b"z9hG4bKx"),
        (182, b"1 INVITE", b"1 BYE"),
    ):
        response = parse_message(reply(sent, status).replace(old, new) if old else reply(sent, status))
        assert isinstance(response, Response)
        transactions.receive_response(response, 0.0)
    assert heard == [180]


def test_nothing_is_kept_of_what_has_ended() -> None:
    bob = Agent(BOB)
    bob.hear(message("OPTIONS"))
    bob.hear(message("INVITE", body=OFFER, call_id="c2", branch="z9hG4bK2"))
    bob.incoming[0].reject(486, "", 0.0)
    assert bob.stack.transactions == 2
    bob.wait_until(40.0)
    assert bob.stack.transactions == 0
    assert not bob.stack._layer._unmerged
    assert not bob.stack._core.dialogs


# --- connections -----------------------------------------------------------------------------------------

CONNECTION = Hop("10.0.0.1", 40000, "tcp")
LISTENING = Hop("10.0.0.1", 5060, "tcp")


def found(transactions: TransactionLayer, hop: Hop) -> list[Hop]:
    hops: list[Hop] = []
    transactions.find(hop, lambda found, reason, now: hops.extend(found), 0.0)
    return hops


def test_who_listens_where_a_connection_comes_from_is_reached_over_that(transactions: TransactionLayer) -> None:
    transactions.open_server(request(message("INVITE", via="SIP/2.0/TCP 10.0.0.1:5060")), CONNECTION)
    assert found(transactions, LISTENING) == [CONNECTION, LISTENING]
    transactions.connection_closed(CONNECTION, "closed", 0.0)
    assert found(transactions, LISTENING) == [LISTENING]


def test_the_connection_of_a_dialog_is_tried_before_its_contact(transactions: TransactionLayer) -> None:
    hops: list[Hop] = []
    target = Target("10.0.0.1", 5080, "tcp", CONNECTION)
    transactions.find(target, lambda found, reason, now: hops.extend(found), 0.0)
    assert hops == [CONNECTION, Hop("10.0.0.1", 5080, "tcp")]


def test_nobody_can_have_what_is_meant_for_others(transactions: TransactionLayer) -> None:
    transactions.open_server(request(message("INVITE", via="SIP/2.0/TCP 10.0.0.7:5060")), CONNECTION)
    assert found(transactions, Hop("10.0.0.7", 5060, "tcp")) == [Hop("10.0.0.7", 5060, "tcp")]


def test_a_response_goes_to_where_the_peer_listens_if_its_connection_is_gone(
    transactions: TransactionLayer,
) -> None:
    invite = request(message("INVITE", via="SIP/2.0/TCP 10.0.0.1:5060"))
    server = transactions.open_server(invite, CONNECTION)
    server.respond(make_response(invite, 486), 0.0)
    transactions.transport_failed(CONNECTION, "closed", 0.0)
    assert [hop for _, hop in transactions.outbox] == [CONNECTION, LISTENING]
    transactions.transport_failed(LISTENING, "refused", 0.0)
    assert len(transactions) == 0


def test_a_closed_connection_ends_only_requests_that_nobody_answered(transactions: TransactionLayer) -> None:
    heard: list[tuple[int, str]] = []
    hop = Hop("10.0.0.2", 5060, "tcp")
    for answered in (True, False):
        sent = transactions.request(
            request(message("INVITE")), hop, lambda one, now: heard.append((one.status, one.reason)), 0.0
        ).request
        if answered:
            ringing = parse_message(reply(sent, 180))
            assert isinstance(ringing, Response)
            transactions.receive_response(ringing, 0.0)
    transactions.connection_closed(hop, "the connection was lost", 0.0)
    assert heard == [(180, "Whatever"), (503, "the connection was lost")]


def test_an_ack_waits_for_its_name(transactions: TransactionLayer) -> None:
    again = transactions.acknowledge(request(message("ACK")), Target("x.example"), 0.0)
    again()
    assert not transactions.outbox
    transactions.looked_up(Target("x.example"), [BOB], "", 0.0)
    again()
    assert [hop for _, hop in transactions.outbox] == [BOB, BOB]


def test_a_flood_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "MAX_SERVER_TRANSACTIONS", 2)
    bob = Agent(BOB)
    answers = [bob.statuses(message("OPTIONS", branch=f"z9hG4bK{n}", call_id=str(n))) for n in range(4)]
    assert answers == [[200], [200], [], []]
    bob.wait_until(40.0)
    assert bob.statuses(message("OPTIONS", branch="z9hG4bK9"), 40.0) == [200]


def test_only_servers_that_we_called_tell_us_where_we_are() -> None:
    seen: list[str | None] = []
    learning = TransactionLayer(
        lambda _: BOB[:2], token_source(1), "test", lambda _, via: seen.append(via.params.get("received"))
    )
    for tag, received in [("", "8.8.8.8"), ("t1", "6.6.6.6")]:
        sent = learning.request(request(message("INVITE", to_tag=tag)), BOB, lambda *_: None, 0.0).request
        response = parse_message(reply(sent, 200).replace(b";rport", f";rport=1;received={received}".encode()))
        assert isinstance(response, Response)
        response.source = BOB
        learning.receive_response(response, 0.0)
    assert seen == ["8.8.8.8"]
