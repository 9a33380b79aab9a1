import pytest

from active_call.core.errors import RemoteProtocolError
from active_call.sip.dialogs.dialog import Dialog, check_routes
from active_call.sip.hop import Hop, Target
from active_call.sip.messages.message import Request, Response, parse_message
from tests.unit.sip.support import ALICE, BOB, message, reply

ROUTES = "Record-Route: <sip:p2;lr>, <sip:p1:5070;lr>\r\n"


CONNECTION = Hop("10.0.0.1", 40000, "tcp")


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
    assert dialog.destination() == Target("p2", fallback=ALICE)


def test_the_clients_dialog_turns_the_route_round() -> None:
    dialog = Dialog.of_response(request(), response(headers=ROUTES), BOB)
    assert dialog.id == ("c1", "f1", "b1")
    assert dialog.route_set == ("<sip:p1:5070;lr>", "<sip:p2;lr>")
    assert dialog.destination() == Target("p1", 5070, fallback=BOB)
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
    assert dialog.destination() == Target("p1", fallback=ALICE)


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
    outside = Hop("8.8.8.8", 1234)
    assert Dialog.of_invite(request(), "b1", outside).destination() == outside
    assert Dialog.of_invite(request(), "b1", ALICE).destination() == Target("10.0.0.1", 5060)


def test_a_contact_within_a_providers_nat_is_reached_where_it_came_from() -> None:
    invite = request()
    invite.headers.replace_first("contact", "<sip:alice@100.64.0.9:5060>")
    outside, neighbour = Hop("8.8.8.8", 1234), Hop("100.64.0.1", 1234)
    assert Dialog.of_invite(invite, "b1", outside).destination() == outside
    assert Dialog.of_invite(invite, "b1", neighbour).destination() == Target("100.64.0.9", 5060)


def test_a_private_route_behind_a_nat_leads_to_where_it_came_from() -> None:
    source = Hop("198.51.99.9", 6000)
    route = "Record-Route: <sip:192.168.0.5;lr>\r\n"
    assert Dialog.of_invite(request(headers=route), "b1", source).destination() == source
    assert Dialog.of_invite(request(headers=route), "b1", ALICE).destination() == Target("192.168.0.5")


def test_the_target_can_be_refreshed() -> None:
    dialog = Dialog.of_invite(request(), "b1", ALICE)
    update = request()
    update.headers.replace_first("contact", "<sip:alice@10.0.0.7>")
    dialog.refresh(update)
    assert dialog.destination() == Target("10.0.0.7")


def test_useless_routes_are_named() -> None:
    with pytest.raises(RemoteProtocolError, match="Record-Route"):
        check_routes(request(headers="Record-Route: <tel:1>\r\n"))


def test_what_a_request_will_be_addressed_to() -> None:
    loose = Dialog.of_invite(request(headers="Record-Route: <sip:p1;lr>\r\n"), "b1", ALICE)
    strict = Dialog.of_invite(request(headers="Record-Route: <sip:p1>\r\n"), "b1", ALICE)
    for dialog in (loose, strict):
        assert dialog.request_uri() == dialog.request("INFO").uri
    assert (loose.request_uri(), strict.request_uri()) == ("sip:alice@10.0.0.1:5060", "sip:p1")


def test_nobody_has_an_open_offer_at_first() -> None:
    assert Dialog.of_invite(request(), "b1", ALICE).offers.open == "nobody"


@pytest.mark.parametrize(
    ("contact", "destination"),
    [
        ("sip:alice@10.0.0.1:5070;transport=tcp", Target("10.0.0.1", 5070, "tcp", CONNECTION)),
        ("sip:alice@10.0.0.1", Target("10.0.0.1", None, None, CONNECTION)),
        ("sip:alice@10.0.0.1;transport=udp", Target("10.0.0.1", None, "udp")),
        ("sip:alice@10.0.0.7;transport=tcp", Target("10.0.0.7", None, "tcp")),
    ],
)
def test_a_peer_that_has_a_connection_is_reached_over_it(contact: str, destination: Target) -> None:
    invite = request()
    invite.headers.replace_first("contact", f"<{contact}>")
    assert Dialog.of_invite(invite, "b1", CONNECTION).destination() == destination


def test_a_name_that_leads_nowhere_is_given_up_for_where_the_peer_is() -> None:
    invite = request()
    invite.headers.replace_first("contact", "<sip:alice@pbx.internal>")
    assert Dialog.of_invite(invite, "b1", ALICE).destination() == Target("pbx.internal", fallback=ALICE)
    invite.headers.replace_first("contact", "<sip:alice@pbx.internal;transport=tls>")
    secure = ALICE._replace(transport="tls")
    assert Dialog.of_invite(invite, "b1", ALICE).destination() == Target("pbx.internal", None, "tls")
    expected = Target("pbx.internal", None, "tls", fallback=secure)
    assert Dialog.of_invite(invite, "b1", secure).destination() == expected


def test_a_route_without_brackets_is_a_loose_one_all_the_same() -> None:
    route = "Record-Route: sip:10.0.0.9:5054;transport=tcp;lr\r\n"
    dialog = Dialog.of_invite(request(headers=route), "b1", ALICE)
    assert dialog.request("BYE").headers.all("route") == ["<sip:10.0.0.9:5054;transport=tcp;lr>"]
    assert dialog.request_uri() == "sip:alice@10.0.0.1:5060"
    assert dialog.destination() == Target("10.0.0.9", 5054, "tcp")


def test_the_proxy_next_to_us_is_reached_over_the_connection_it_has() -> None:
    """And if that is gone, at the address that its certificate was checked for."""
    proxy = Hop("8.8.8.8", 5061, "tls", "sip.trunk.example")
    invite = request(headers="Record-Route: <sip:8.8.8.8:5061;transport=tls;lr>, <sip:10.0.0.9;lr>\r\n")
    expected = Target("8.8.8.8", 5061, "tls", connection=proxy)
    assert Dialog.of_invite(invite, "b1", proxy).destination() == expected
