import pytest

from active_call.core.errors import RemoteProtocolError
from active_call.sip.dialog import Dialog, check_routes
from active_call.sip.message import Request, Response, parse_message
from tests.unit.sip.support import ALICE, BOB, message, reply

ROUTES = "Record-Route: <sip:p2;lr>, <sip:p1:5070;lr>\r\n"


def request(**options: str) -> Request:
    parsed = parse_message(message("INVITE", **options))  # type: ignore[arg-type]
    assert isinstance(parsed, Request)
    return parsed


def response(**options: str) -> Response:
    parsed = parse_message(reply(request(), 200, **options))  # type: ignore[arg-type]
    assert isinstance(parsed, Response)
    return parsed


def test_the_servers_dialog() -> None:
    dialog = Dialog.of_invite(request(headers=ROUTES), "b1", ALICE)
    assert dialog.id == ("c1", "b1", "f1")
    bye = dialog.request("BYE")
    assert bye.start_line == "BYE sip:alice@10.0.0.1:5060 SIP/2.0"
    assert bye.headers.get("from") == "<sip:bob@10.0.0.2>;tag=b1"
    assert bye.headers.get("to") == "<sip:alice@10.0.0.1>;tag=f1"
    assert bye.headers.all("route") == ["<sip:p2;lr>", "<sip:p1:5070;lr>"]
    assert dialog.destination() == ("p2", 5060)


def test_the_clients_dialog_turns_the_route_round() -> None:
    dialog = Dialog.of_response(request(), response(headers=ROUTES), BOB)
    assert dialog.id == ("c1", "f1", "b1")
    assert dialog.route_set == ("<sip:p1:5070;lr>", "<sip:p2;lr>")
    assert dialog.destination() == ("p1", 5070)
    assert dialog.ack(1).start_line == "ACK sip:bob@10.0.0.2:5060 SIP/2.0"


def test_requests_are_numbered() -> None:
    dialog = Dialog.of_response(request(), response(), BOB)
    assert [dialog.request("INFO").cseq, dialog.request("BYE").cseq] == [(2, "INFO"), (3, "BYE")]
    assert dialog.ack(1).cseq == (1, "ACK")


def test_a_strict_router_takes_the_request_uri() -> None:
    dialog = Dialog.of_invite(request(headers="Record-Route: <sip:p1>, <sip:p2;lr>\r\n"), "b1", ALICE)
    bye = dialog.request("BYE")
    assert bye.uri == "sip:p1"
    assert bye.headers.all("route") == ["<sip:p2;lr>", "<sip:alice@10.0.0.1:5060>"]
    assert dialog.destination() == ("p1", 5060)


def test_an_old_peer_without_contact_is_reached_at_its_from() -> None:
    data = message("INVITE").replace(b"Contact: <sip:alice@10.0.0.1:5060>\r\n", b"").replace(b";tag=f1", b"")
    old = parse_message(data)
    assert isinstance(old, Request)
    assert str(Dialog.of_invite(old, "b1", ALICE).remote_target) == "sip:alice@10.0.0.1"


def test_a_new_peer_without_contact_is_refused() -> None:
    data = message("INVITE").replace(b"Contact: <sip:alice@10.0.0.1:5060>\r\n", b"")
    new = parse_message(data)
    assert isinstance(new, Request)
    with pytest.raises(RemoteProtocolError, match="Contact is missing"):
        Dialog.of_invite(new, "b1", ALICE)


@pytest.mark.parametrize("contact", ["*", "<tel:+12>", '"Joe" <sip:joe@example.org>;;;;'])
def test_a_useless_contact_is_refused(contact: str) -> None:
    parsed = request()
    parsed.headers.replace_first("contact", contact)
    with pytest.raises(RemoteProtocolError, match="Contact:"):
        Dialog.of_invite(parsed, "b1", ALICE)


def test_a_private_contact_behind_a_nat_is_reached_where_it_came_from() -> None:
    outside = ("8.8.8.8", 1234)
    assert Dialog.of_invite(request(), "b1", outside).destination() == outside
    assert Dialog.of_invite(request(), "b1", ALICE).destination() == ("10.0.0.1", 5060)


def test_the_target_can_be_refreshed() -> None:
    dialog = Dialog.of_invite(request(), "b1", ALICE)
    update = request()
    update.headers.replace_first("contact", "<sip:alice@10.0.0.7>")
    dialog.refresh(update)
    assert dialog.destination() == ("10.0.0.7", 5060)


def test_useless_routes_are_named() -> None:
    with pytest.raises(RemoteProtocolError, match="Record-Route"):
        check_routes(request(headers="Record-Route: <tel:1>\r\n"))
