import pytest

from active_call.core.errors import RemoteProtocolError
from active_call.sip.hop import Hop
from active_call.sip.messages.via import Via

SOURCE = Hop("203.0.113.9", 40000)


@pytest.mark.parametrize(
    ("text", "via"),
    [
        ("SIP/2.0/UDP h", Via("UDP", "h")),
        ("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKx", Via("UDP", "10.0.0.1", 5070, {"branch": "z9hG4bKx"})),
        ("SIP/2.0/UNKNOWN [::1]:5;rport", Via("UNKNOWN", "[::1]", 5, {"rport": None})),
    ],
)
def test_parse_value_string(text: str, via: Via) -> None:
    assert Via.parse(text) == via
    assert str(via) == text


def test_space_is_allowed_everywhere() -> None:
    via = Via.parse("SIP  /   2.0 /UDP    192.0.2.2 : 5 ; branch = z")
    assert via == Via("UDP", "192.0.2.2", 5, {"branch": "z"})


@pytest.mark.parametrize(
    "text", ["", "SIP/2.0/UDP", "SIP/3.0/UDP h", "SIP/2.0/UDP h:0", "SIP/2.0/UDP h;;", "h"]
)
def test_malformed(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Via.parse(text)


def test_a_broken_via_still_shows_the_way_back() -> None:
    via = Via.parse("SIP/2.0/UDP 192.0.2.15;;,;branch=a,,", lenient=True)
    assert via == Via("UDP", "192.0.2.15", None, {"branch": "a"})


def test_without_rport_responses_go_to_the_port_in_via() -> None:
    via = Via.parse("SIP/2.0/UDP 203.0.113.9:5070").stamped(SOURCE)
    assert str(via) == "SIP/2.0/UDP 203.0.113.9:5070"
    assert via.response_address(SOURCE) == Hop("203.0.113.9", 5070)
    assert Via.parse("SIP/2.0/UDP 203.0.113.9").response_address(SOURCE) == Hop("203.0.113.9", 5060)


def test_a_foreign_host_in_via_is_corrected_by_received() -> None:
    via = Via.parse("SIP/2.0/UDP pc.example.com:5070;branch=b").stamped(SOURCE)
    assert via.params["received"] == "203.0.113.9"
    assert via.response_address(SOURCE) == Hop("203.0.113.9", 5070)


def test_rport_is_filled_in_and_followed() -> None:
    via = Via.parse("SIP/2.0/UDP 10.0.0.1:5060;rport;branch=b").stamped(SOURCE)
    assert str(via) == "SIP/2.0/UDP 10.0.0.1:5060;rport=40000;branch=b;received=203.0.113.9"
    assert via.response_address(SOURCE) == SOURCE


@pytest.mark.parametrize("host", ["10.0.0.1", "100.64.0.9"])
def test_behind_a_nat_the_port_in_via_leads_nowhere(host: str) -> None:
    outside = Hop("8.8.8.8", 40000)
    assert Via.parse(f"SIP/2.0/UDP {host}:5060;branch=b").stamped(outside).response_address(outside) == outside


def test_maddr_can_not_aim_our_responses_at_others() -> None:
    via = Via.parse("SIP/2.0/UDP 203.0.113.9;maddr=198.51.100.1")
    assert via.response_address(SOURCE) == Hop("203.0.113.9", 5060)
