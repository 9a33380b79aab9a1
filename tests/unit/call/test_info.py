"""Keys in SIP INFO, as telephones in the field write them."""

import pytest

from active_call.call.info import digit_of_info


@pytest.mark.parametrize(
    ("kind", "body", "digit"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", "5"),
        ("application/dtmf-relay", b"Signal= #\r\nDuration= 160", "#"),
        ("Application/DTMF-Relay; x=y", b"Duration=100\r\nsignal=a\r\n", "A"),
        ("application/dtmf-relay", b"Signal=10\r\n", "*"),
        ("application/dtmf", b"7\r\n", "7"),
        ("application/dtmf", b"11", "#"),
        ("application/dtmf", b"16", None),
        ("application/dtmf", b"", None),
        ("application/dtmf-relay", b"Duration=160\r\n", None),
        ("application/media_control+xml", b"<a>\nSignal=5\n</a>", None),
        ("application/dtmf", b"\xff\xfe", None),
    ],
)
def test_a_key_is_found_or_nothing(kind: str, body: bytes, digit: str | None) -> None:
    assert digit_of_info(kind, body) == digit
