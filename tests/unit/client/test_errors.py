import pytest

from active_call.client.errors import Refused, reason_of


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"detail": "the id is in use"}', "the id is in use"),
        ('{"status": "unavailable", "reasons": ["draining", "full"]}', "draining; full"),
        (b'{"status": "not_found"}', '{"status": "not_found"}'),
        (b"Playbook not found\n", "Playbook not found"),
        (b"[1, 2]", "[1, 2]"),
        (b"\xff", "\ufffd"),
        (b"", ""),
    ],
)
def test_the_gateways_own_words(body: bytes | str, reason: str) -> None:
    assert reason_of(body) == reason


def test_a_refusal_says_status_and_reason() -> None:
    assert str(Refused(409, "the id is in use")) == "HTTP 409: the id is in use"
    assert str(Refused(404, "")) == "HTTP 404"
