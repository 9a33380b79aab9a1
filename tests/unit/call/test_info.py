"""Keys in SIP INFO, as telephones in the field write them, and as we do."""

import asyncio

import pytest

from active_call.call.info import InfoKeys, KeyWays, digit_of_info
from active_call.core.errors import MediaError
from active_call.testing.clock import run


@pytest.mark.parametrize(
    ("kind", "body", "digit"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", "5"),
        ("application/dtmf-relay", b"Signal= #\r\nDuration= 160", "#"),
        ("Application/DTMF-Relay; x=y", b"Duration=100\r\nsignal=a\r\n", "A"),
        ("application/dtmf-relay", b"Signal=10\r\n", "*"),
        ("application/dtmf-relay", b"Signal=11\r\nDuration=250", "#"),
        ("application/dtmf-relay", b"signal = 5 \n duration = 160", "5"),
        ("application/dtmf-relay", b"Signal: 5\r\nDuration: 160", "5"),
        ("application/dtmf-relay", b"Signal=hf\r\n", None),
        ("application/dtmf", b"Signal=3\r\nDuration=100", "3"),
        ("", b"Signal=3", "3"),
        ("application/hook-flash", b"signal=hf", None),
        ("application/dtmf", b" d ", "D"),
        ("application/dtmf", b"7\r\n", "7"),
        ("application/dtmf", b"11", "#"),
        ("application/dtmf", b"16", None),
        ("application/dtmf", b"", None),
        ("application/dtmf-relay", b"Duration=160\r\n", None),
        ("application/media_control+xml", b"<a>\nSignal=5\n</a>", None),
        ("application/dtmf", b"\xff\xfe", None),
    ],
)
def test_t03_a_key_is_found_or_nothing(kind: str, body: bytes, digit: str | None) -> None:
    assert digit_of_info(kind, body) == digit


def test_t01_a_key_that_comes_in_two_ways_is_one_key() -> None:
    keys = KeyWays()
    came = [
        ("audio", "1", 0.0),
        ("info", "1", 0.2),
        ("audio", "1", 0.4),
        ("info", "1", 0.6),
        ("info", "1", 0.8),
    ]
    came += [
        ("info", "2", 1.0),
        ("audio", "2", 1.1),
        ("audio", "1", 1.2),
        ("info", "1", 3.0),
        ("info", "1", 3.1),
    ]
    assert [keys.is_news(*one) for one in came] == [
        *(True, False, True, False, False),
        *(True, False, True, True, True),
    ]


def test_keys_are_pressed_one_after_another() -> None:
    async def main() -> list[tuple[float, str, bytes]]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        sent: list[tuple[float, str, bytes]] = []
        keys = InfoKeys(lambda kind, body: sent.append((round(loop.time() - start, 3), kind, body)))
        keys.press("1a", duration_ms=200, gap_ms=50)
        keys.press("#", duration_ms=100, gap_ms=50)
        await asyncio.sleep(2)
        keys.press("9", duration_ms=100, gap_ms=50)
        return sent

    kind = "application/dtmf-relay"
    assert run(main()) == [
        (0.0, kind, b"Signal=1\r\nDuration=200\r\n"),
        (0.25, kind, b"Signal=A\r\nDuration=200\r\n"),
        (0.5, kind, b"Signal=#\r\nDuration=100\r\n"),
        (2.0, kind, b"Signal=9\r\nDuration=100\r\n"),
    ]


def test_keys_can_be_stopped_and_are_not_without_number() -> None:
    async def main() -> list[bytes]:
        sent: list[bytes] = []
        keys = InfoKeys(lambda kind, body: sent.append(body))
        keys.press("123", duration_ms=100, gap_ms=50)
        with pytest.raises(MediaError, match="2 keys wait"):
            keys.press("4" * 255, duration_ms=100, gap_ms=50)
        keys.stop()
        keys.stop()
        await asyncio.sleep(2)
        return sent

    assert run(main()) == [b"Signal=1\r\nDuration=100\r\n"]
