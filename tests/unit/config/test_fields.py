import pytest

from active_call.config.fields import split_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
    ],
)
def test_ip_and_port(text: str, address: tuple[str, int]) -> None:
    assert split_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        ":8080",
        "0.0.0.0",
        "0.0.0.0:",
        "0.0.0.0:65536",
        "localhost:80",
        "::1:80",
        "[127.0.0.1]:80",
        "0.0.0.0:-1",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="write IP:port"):
        split_address(text)
