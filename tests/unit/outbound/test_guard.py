from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.outbound.errors import GuardError
from active_call.outbound.guard import WEBSOCKET, Guard, Origin, OutboundPolicy, check_host_pattern, parse_ip

LOCAL = ["127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "[::1]", "[fd00::1]"]
SPECIAL = ["169.254.169.254", "[fe80::1]", "224.0.0.1", "[ff02::1]", "0.0.0.0", "[::]", "255.255.255.255"]
WRAPPED = ["[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[::127.0.0.1]"]
PUBLIC = ["93.184.216.34", "[2606:2800:220:1:248:1893:25c8:1946]", "media.example", "[64:ff9b::5db8:d822]"]


def allowed(url: str, origin: Origin, **policy: Any) -> bool:
    try:
        Guard(OutboundPolicy(**policy)).check(url, origin)
    except GuardError:
        return False
    return True


@pytest.mark.parametrize("host", LOCAL + SPECIAL + WRAPPED + PUBLIC)
def test_operators_are_free(host: str) -> None:
    assert allowed(f"http://{host}/", Origin.OPERATOR, allow_private=False, deny_hosts=("*",))


@pytest.mark.parametrize("host", PUBLIC)
@pytest.mark.parametrize("origin", list(Origin))
def test_public_hosts_are_for_all(host: str, origin: Origin) -> None:
    assert allowed(f"https://{host}:8443/a?b=c", origin, allow_private=False)


@pytest.mark.parametrize("host", LOCAL + WRAPPED)
def test_private_networks_are_for_clients_until_the_policy_says_otherwise(host: str) -> None:
    assert allowed(f"http://{host}/", Origin.CLIENT)
    assert not allowed(f"http://{host}/", Origin.CLIENT, allow_private=False)
    assert not allowed(f"http://{host}/", Origin.CALL)


@pytest.mark.parametrize("host", SPECIAL)
@pytest.mark.parametrize("origin", [Origin.CLIENT, Origin.CALL])
def test_addresses_that_are_no_hosts_are_for_operators_only(host: str, origin: Origin) -> None:
    assert not allowed(f"http://{host}/", origin)


@pytest.mark.parametrize(
    ("pattern", "host", "listed"),
    [
        ("api.example", "api.example", True),
        ("api.example", "API.Example.", True),
        ("api.example", "x.api.example", False),
        ("*.example", "api.example", True),
        ("*.example", "example", False),
        ("*.example", "myexample", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "[::ffff:10.1.2.3]", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("fd00::/8", "[fd00::1]", True),
        ("*", "anything.example", True),
    ],
)
def test_host_lists(pattern: str, host: str, listed: bool) -> None:
    pattern = check_host_pattern(pattern)
    assert allowed(f"http://{host}/", Origin.CLIENT, deny_hosts=(pattern,)) is not listed
    assert allowed(f"http://{host}/", Origin.CLIENT, deny_hosts=("*",), allow_hosts=(pattern,)) is listed


def test_what_is_allowed_by_name_may_be_private_even_for_calls() -> None:
    guard = Guard(OutboundPolicy(allow_hosts=("crm.local",)))
    guard.check_address("crm.local", "192.168.1.2", Origin.CALL)
    with pytest.raises(GuardError, match=r"other\.local: its address 192\.168\.1\.2 is in a private network"):
        guard.check_address("other.local", "192.168.1.2", Origin.CALL)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://a.example/",
        "a.example",
        "",
        "http://",
        "http:///path",
        "http://[::1/",
        "http://a.example:port/",
        "http://a.example:70000/",
        "http://a.example/a b",
        "http://a.example/\r\nX: y",
        "http://a.example/" + "x" * 9000,
    ],
)
@pytest.mark.parametrize("origin", list(Origin))
def test_not_a_url_for_anybody(url: str, origin: Origin) -> None:
    assert not allowed(url, origin)


def test_the_scheme_must_fit_the_use() -> None:
    guard = Guard(OutboundPolicy())
    guard.check("wss://media.example/", Origin.CLIENT, WEBSOCKET)
    with pytest.raises(GuardError, match="not a URL of ws:// or wss://"):
        guard.check("https://media.example/", Origin.CLIENT, WEBSOCKET)


def test_errors_hide_secrets() -> None:
    with pytest.raises(GuardError) as error:
        Guard(OutboundPolicy()).check("ftp://user:hidden@a.example/?api_key=hidden&x=seen", Origin.CALL)
    assert "hidden" not in str(error.value)
    assert "x=seen" in str(error.value)


@given(st.text(max_size=60), st.sampled_from(list(Origin)))
def test_any_text_is_checked_or_refused(text: str, origin: Origin) -> None:
    allowed(f"http://{text}", origin)
    allowed(text, origin)


@given(st.ip_addresses())
def test_an_address_reaches_the_same_host_in_every_spelling(address: Any) -> None:
    reached = parse_ip(str(address))
    assert reached is not None
    assert parse_ip(str(reached)) == reached
    if address.version == 4:
        assert parse_ip(f"::ffff:{address}") == address


@pytest.mark.parametrize(
    "host", ["[fd00:ec2::254]", "[fd20:ce::254]", "100.100.100.200", "168.63.129.16", "192.0.0.192"]
)
def test_services_that_give_credentials_to_machines_are_for_operators(host: str) -> None:
    url, guard = f"http://{host}/latest/meta-data", Guard(OutboundPolicy())
    guard.check(url, Origin.OPERATOR)
    for origin in (Origin.CLIENT, Origin.CALL):
        with pytest.raises(GuardError, match="not allowed"):
            guard.check(url, origin)
