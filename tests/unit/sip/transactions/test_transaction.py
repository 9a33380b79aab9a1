import pytest

from active_call.sip.hop import Hop
from active_call.sip.messages.message import Request, Response, make_response, parse_message
from active_call.sip.transactions.tables import State
from active_call.sip.transactions.timers import Timers
from active_call.sip.transactions.transaction import ClientTransaction, ServerTransaction, Transaction
from tests.unit.sip.support import ALICE, message


class FakeLayer:
    """Notes what is sent."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.sent: list[bytes] = []
        self.forgotten: list[Transaction] = []

    def send(self, data: bytes, destination: Hop) -> None:
        self.sent.append(data)

    def forget(self, transaction: Transaction) -> None:
        self.forgotten.append(transaction)


class Client:
    """A client transaction with everything around it."""

    def __init__(self, method: str, hop: Hop = ALICE) -> None:
        self.layer = FakeLayer()
        self.responses: list[int] = []
        self.reasons: list[str] = []
        request = parse_message(message(method))
        assert isinstance(request, Request)
        self.request = request
        self.transaction = ClientTransaction(request, hop, self._note, self.layer, 0.0)

    def _note(self, response: Response, now: float) -> None:
        self.responses.append(response.status)
        self.reasons.append(response.reason)

    def receive(self, status: int, now: float = 0.0) -> None:
        self.transaction.receive(make_response(self.request, status, tag="t"), now)


class Server:
    """A server transaction with everything around it."""

    def __init__(self, method: str, hop: Hop = ALICE) -> None:
        self.layer = FakeLayer()
        request = parse_message(message(method))
        ack = parse_message(message("ACK"))
        assert isinstance(request, Request)
        assert isinstance(ack, Request)
        self.request, self.ack = request, ack
        self.transaction = ServerTransaction(request, hop, self.layer)

    def respond(self, status: int, now: float = 0.0) -> None:
        self.transaction.respond(make_response(self.request, status, tag="t"), now)


def run(layer: FakeLayer, until: float) -> list[float]:
    """The times at which something is sent."""
    times = []
    while (deadline := layer.timers.next_deadline()) is not None and deadline <= until:
        before = len(layer.sent)
        for owner in layer.timers.due(deadline):
            owner.handle_timer(deadline)
        times += [deadline] * (len(layer.sent) - before)
    return times


# --- INVITE client (§17.1.1) -----------------------------------------------------------------------------


def test_invite_is_repeated_until_something_comes() -> None:
    client = Client("INVITE")
    assert run(client.layer, 2.0) == [0.5, 1.5]
    client.receive(180, 2.0)
    assert run(client.layer, 100.0) == []
    assert client.responses == [180]


def test_invite_times_out() -> None:
    client = Client("INVITE")
    assert run(client.layer, 100.0) == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert client.responses == [408]
    assert client.layer.forgotten == [client.transaction]


def test_a_failure_is_acknowledged_each_time_and_told_once() -> None:
    client = Client("INVITE")
    client.receive(486, 1.0)
    client.receive(486, 1.5)
    assert client.responses == [486]
    acks = [parse_message(data) for data in client.layer.sent[1:]]
    assert [ack.start_line for ack in acks] == ["ACK sip:bob@10.0.0.2 SIP/2.0"] * 2
    run(client.layer, 32.9)
    assert client.layer.forgotten == []
    run(client.layer, 33.0)
    assert client.layer.forgotten == [client.transaction]


def test_the_ack_of_a_failure() -> None:
    client = Client("INVITE")
    client.receive(486)
    ack = parse_message(client.layer.sent[-1])
    assert ack.via == client.request.via
    assert ack.headers.get("cseq") == "1 ACK"
    assert ack.headers.get("to") == "<sip:bob@10.0.0.2>;tag=t"
    assert ack.headers.get("from") == client.request.headers.get("from")
    assert ack.headers.get("max-forwards") == "70"
    assert "contact" not in ack.headers


def test_every_success_is_told_until_timer_m() -> None:
    client = Client("INVITE")
    client.receive(200)
    client.receive(200, 1.0)
    client.receive(486, 1.0)
    assert client.responses == [200, 200]
    assert len(client.layer.sent) == 1
    run(client.layer, 32.0)
    assert client.transaction.state is State.TERMINATED


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_a_transport_error_is_a_503(method: str) -> None:
    client = Client(method)
    client.transaction.transport_failed("refused", 0.1)
    assert client.responses == [503]
    assert run(client.layer, 100.0) == []


def test_an_abandoned_request_is_silent() -> None:
    client = Client("INVITE")
    client.transaction.abandon()
    assert run(client.layer, 100.0) == []
    assert client.responses == []


# --- other clients (§17.1.2) -----------------------------------------------------------------------------


def test_other_requests_are_repeated_up_to_every_4_seconds() -> None:
    client = Client("BYE")
    assert run(client.layer, 100.0) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert client.responses == [408]
    assert client.transaction.state is State.TERMINATED


def test_a_provisional_response_slows_them_down_but_gives_no_more_time() -> None:
    client = Client("BYE")
    run(client.layer, 0.6)
    client.receive(100, 0.6)
    assert run(client.layer, 100.0) == pytest.approx([4.6, 8.6, 12.6, 16.6, 20.6, 24.6, 28.6])
    assert client.responses == [100, 408]


def test_a_final_response_is_told_once_until_timer_k() -> None:
    client = Client("BYE")
    client.receive(200, 1.0)
    client.receive(200, 1.1)
    assert client.responses == [200]
    run(client.layer, 5.9)
    assert client.transaction.state is State.COMPLETED
    run(client.layer, 6.0)
    assert client.layer.forgotten == [client.transaction]


# --- INVITE server (§17.2.1) -----------------------------------------------------------------------------


def test_a_repeated_invite_gets_the_last_response() -> None:
    server = Server("INVITE")
    server.transaction.receive(server.request, 0.0)
    assert server.layer.sent == []
    server.respond(100)
    server.respond(180)
    server.transaction.receive(server.request, 1.0)
    assert [data[:11] for data in server.layer.sent] == [b"SIP/2.0 100", b"SIP/2.0 180", b"SIP/2.0 180"]


def test_a_failure_is_repeated_until_its_ack() -> None:
    server = Server("INVITE")
    server.respond(486)
    assert run(server.layer, 4.0) == [0.5, 1.5, 3.5]
    server.transaction.receive(server.ack, 4.0)
    assert server.transaction.state is State.CONFIRMED
    assert run(server.layer, 8.9) == []
    server.transaction.receive(server.request, 5.0)
    assert len(server.layer.sent) == 4
    run(server.layer, 9.0)
    assert server.layer.forgotten == [server.transaction]


def test_a_failure_that_nobody_acknowledges_is_given_up() -> None:
    server = Server("INVITE")
    server.respond(486)
    assert run(server.layer, 100.0) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert server.layer.forgotten == [server.transaction]


def test_after_a_success_repeated_invites_are_absorbed() -> None:
    server = Server("INVITE")
    server.respond(200)
    server.transaction.receive(server.request, 1.0)
    server.respond(486, 1.0)
    assert len(server.layer.sent) == 1
    server.transaction.repeat_success()
    assert len(server.layer.sent) == 2
    run(server.layer, 32.0)
    assert server.layer.forgotten == [server.transaction]


# --- other servers (§17.2.2) -----------------------------------------------------------------------------


def test_a_repeated_request_gets_the_same_answer_until_timer_j() -> None:
    server = Server("BYE")
    server.transaction.receive(server.request, 0.0)
    server.respond(200)
    server.respond(500)
    server.transaction.receive(server.request, 1.0)
    assert [data[:11] for data in server.layer.sent] == [b"SIP/2.0 200"] * 2
    run(server.layer, 31.9)
    assert server.layer.forgotten == []
    run(server.layer, 32.0)
    assert server.layer.forgotten == [server.transaction]


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_a_server_that_can_not_send_ends(method: str) -> None:
    server = Server(method)
    server.respond(180)
    server.transaction.transport_failed("refused", 0.0)
    assert server.layer.forgotten == [server.transaction]


# --- over TCP and TLS ------------------------------------------------------------------------------------

TCP = Hop("10.0.0.1", 5060, "tcp")


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_over_tcp_a_request_is_sent_once_and_given_up_after_32_seconds(method: str) -> None:
    client = Client(method, TCP)
    assert run(client.layer, 100.0) == []
    assert len(client.layer.sent) == 1
    assert client.responses == [408]


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_over_tcp_a_client_is_over_with_a_failure(method: str) -> None:
    client = Client(method, TCP)
    client.receive(486)
    assert client.responses == [486]
    assert client.layer.forgotten == [client.transaction]
    assert client.layer.sent[1:] == ([client.transaction._ack] if method == "INVITE" else [])


def test_over_tcp_further_2xx_are_waited_for_all_the_same() -> None:
    client = Client("INVITE", TCP)
    client.receive(200)
    client.receive(200, 31.0)
    assert client.responses == [200, 200]
    run(client.layer, 32.0)
    assert client.layer.forgotten == [client.transaction]


def test_over_tcp_a_failure_is_sent_once_and_over_with_its_ack() -> None:
    server = Server("INVITE", TCP)
    server.respond(486)
    assert run(server.layer, 31.0) == []
    assert len(server.layer.sent) == 1
    server.transaction.receive(server.ack, 31.0)
    assert server.layer.forgotten == [server.transaction]


def test_over_tcp_an_ack_is_waited_for_as_long_as_over_udp() -> None:
    server = Server("INVITE", TCP)
    server.respond(486)
    run(server.layer, 32.0)
    assert server.layer.forgotten == [server.transaction]


def test_over_tcp_an_answer_is_the_end() -> None:
    server = Server("BYE", TCP)
    server.respond(200)
    assert server.layer.forgotten == [server.transaction]
    assert server.layer.timers.next_deadline() is None


# --- a connection that breaks ------------------------------------------------------------------------


def test_a_callee_that_rang_has_32_seconds_to_connect_again() -> None:
    client = Client("INVITE", TCP)
    client.receive(180)
    client.transaction.connection_lost("the connection to 10.0.0.1:5060 over TCP was lost: closed", 10.0)
    run(client.layer, 41.9)
    assert client.responses == [180]
    run(client.layer, 42.0)
    assert client.responses == [180, 503]
    assert client.reasons[-1] == (
        "the connection to 10.0.0.1:5060 over TCP was lost: closed, after 180 Ringing; "
        "no answer came in the 32 s since"
    )


@pytest.mark.parametrize("status", [180, 200, 486])
def test_a_callee_that_connects_again_is_heard(status: int) -> None:
    client = Client("INVITE", TCP)
    client.receive(100)
    client.transaction.connection_lost("closed", 10.0)
    client.receive(status, 20.0)
    run(client.layer, 100.0)
    assert client.responses == [100, status]


def test_a_lost_connection_gives_other_requests_no_more_time() -> None:
    client = Client("BYE", TCP)
    client.receive(100)
    client.transaction.connection_lost("closed", 10.0)
    run(client.layer, 32.0)
    assert client.responses == [100, 408]


def test_who_has_left_hears_nothing_of_a_lost_connection() -> None:
    client = Client("INVITE", TCP)
    client.receive(180)
    client.transaction.connection_lost("closed", 10.0)
    client.transaction.leave(20.0)
    client.receive(180, 30.0)
    run(client.layer, 100.0)
    assert client.responses == [180, 180]
    assert client.layer.forgotten == [client.transaction]
